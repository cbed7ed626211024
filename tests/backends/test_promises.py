"""What every backend must do, checked for every built-in one; and how ``type:`` finds a backend by its name."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fingerd import backends
from fingerd.backends import Backend, Lookup, UnknownTypeError, backend_names, distribution_of, load_type
from fingerd.backends.command import Command
from fingerd.backends.empty import Empty
from fingerd.backends.static import Static
from fingerd.backends.vending import Slot
from fingerd.daemon.catalogue import catalogue
from fingerd.errors import BackendError
from fingerd.people import Person, Session
from fingerd.testing import check_backend, check_failing, make_lookup
from tests.helpers.daemons import FINGERD

ALICE = Static({"alice": "fine"})
BROKEN = Command(("sh", "-c", "exit 3"))

# Options of one backend of each type that works without a network, and of one that fails. FOLDER has alice.txt.
OPTIONS: dict[str, dict[str, Any]] = {
    "aliases": {"backend": ALICE, "names": {"root": ("alice",)}},
    "cache": {"backend": ALICE},
    "chain": {"backends": (Static({}), ALICE)},
    "command": {"argv": ("sh", "-c", '[ "$1" = alice ] && echo fine || true', "sh", "{user}")},
    "discard": {},
    "drop": {},
    "empty": {},
    "files": {"folder": "FOLDER"},
    "hold": {},
    "sql": {"url": "sqlite:///FOLDER/people.db", "query": "SELECT 'alice' AS login WHERE 'alice' = :user"},
    "ldap": {"url": ("ldap://127.0.0.1:1",), "base": "dc=example,dc=org"},
    "scenario": {"file": "FOLDER/story.toml"},
    "static": {"users": {"alice": "fine"}},
    "system": {},
    "vending": {"slots": {"alice": Slot(1)}},
    "web": {"prefix": "http://127.0.0.1:1/~"},
}
FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "aliases": ({"backend": BROKEN, "names": {}}, "command "),
    "cache": ({"backend": BROKEN}, "command "),
    "chain": ({"backends": (ALICE, BROKEN)}, "command "),
    "command": ({"argv": ("sh", "-c", "exit 3")}, "command "),
    "files": ({"folder": "FOLDER/none"}, "files "),
    "sql": ({"url": "sqlite:///FOLDER/none.db", "query": "SELECT :user AS login"}, "sql "),
    "ldap": ({"url": ("ldap://127.0.0.1:1",), "base": "dc=example,dc=org"}, "ldap "),
    "web": ({"prefix": "http://127.0.0.1:1/~"}, "web "),
}
NETWORK = {"ldap", "web"}
KNOW_ALICE = sorted(set(OPTIONS) - {"discard", "drop", "empty", "hold", "system"} - NETWORK)


def make(name: str, options: dict[str, Any], folder: Path) -> Backend:
    """A backend with these options; alice is in the directory and in a scenario, and there is an empty database."""
    (folder / "alice.txt").write_text("fine")
    (folder / "people.db").touch()
    (folder / "story.toml").write_text("[[-1s]]\ntype = 'create'\nlogin = 'alice'\n")
    paths = ("folder", "file", "url")
    filled = {
        key: value.replace("FOLDER", str(folder)) if key in paths and isinstance(value, str) else value
        for key, value in options.items()
    }
    backend: Backend = load_type(name)(**filled)
    return backend


def test_every_built_in_backend_is_tested_here() -> None:
    assert list(backend_names()) == sorted(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_backend_class_keeps_to_the_protocol(name: str, tmp_path: Path) -> None:
    kind = load_type(name)
    assert kind.__name__ == name.capitalize()
    assert kind.__doc__
    backend = make(name, OPTIONS[name], tmp_path)
    assert backend.reads in ("query", "line", "anything", "nothing")
    assert isinstance(backend.blocking, bool)
    backend.close()


NON_BLOCKING = {"aliases", "cache", "chain", "discard", "drop", "empty", "hold", "scenario", "static", "vending"}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_backend_is_blocking_unless_it_and_its_parts_answer_from_memory(name: str, tmp_path: Path) -> None:
    assert make(name, OPTIONS[name], tmp_path).blocking is (name not in NON_BLOCKING)
    if name in ("aliases", "cache", "chain"):
        assert make(name, FAILING[name][0], tmp_path).blocking is True


COUNTED = {"aliases", "cache", "chain", "scenario", "static", "vending"}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_backend_that_goes_through_people_in_memory_says_how_many(name: str, tmp_path: Path) -> None:
    assert make(name, OPTIONS[name], tmp_path).people_count == (name in COUNTED)


def test_a_backend_of_others_goes_through_the_people_of_them_all(tmp_path: Path) -> None:
    three, slots = Static(dict.fromkeys(("ann", "bob", "zoe"), "x")), load_type("vending")({"tea": Slot(1)})
    members = (ALICE, three, BROKEN, slots)
    for backend in (
        load_type("chain")(members),
        load_type("chain")(members, merge=True),
        load_type("cache")(load_type("chain")(members)),
        load_type("aliases")(load_type("chain")(members), {"root": ("ann",), "staff": ("ann", "bob")}),
    ):
        assert backend.people_count == 5


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in NETWORK])
def test_it_knows_no_hostile_name_and_finds_a_login_in_many_threads_at_once(name: str, tmp_path: Path) -> None:
    backend = make(name, OPTIONS[name], tmp_path)
    check_backend(backend, known="alice" if name in KNOW_ALICE else "")
    backend.close()


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_is_a_backend_error_with_its_cause(name: str, tmp_path: Path) -> None:
    options, beginning = FAILING[name]
    backend = make(name, options, tmp_path)
    check_failing(backend)
    with pytest.raises(BackendError) as caught:
        backend.find(make_lookup("bob"))
    assert str(caught.value).startswith(beginning)
    backend.close()


class Wrong(Empty):
    """A wrong backend; ``how`` says what is wrong with it."""

    def __init__(self, how: str) -> None:
        self.how = how

    def find(self, lookup: Lookup) -> Sequence[Person]:
        known = [Person(lookup.username)] if lookup.username == "alice" else []
        if known and self.how == "idle before the login":
            return [Person("alice", sessions=(Session("x", since=time.time() - 600, idle=1.7e9),))]
        if self.how == "finds every name":
            return [Person(lookup.username)]
        if self.how == "twice":
            return known * 2
        if self.how == "in threads only" and threading.current_thread() is not threading.main_thread():
            raise KeyError(lookup.username)
        if self.how == "not in threads" and threading.current_thread() is not threading.main_thread():
            return []
        if self.how == "in another folder" and lookup.username == "../alice":
            return [Person("alice")]
        return [] if self.how == "finds no one" else known

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        if self.how == "idle in the future":
            return iter([Person("bob", sessions=(Session("x", since=time.time() + 600, idle=60.0),))])
        if self.how == "miscounted":
            return iter([Person("alice"), Person("bob")])
        return iter([Person("alice"), Person("")]) if self.how == "nameless" else iter([Person("", "a text")])

    @property
    def people_count(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("how", "what"),
    {
        "finds every name": "'nobody' must be unknown, but is ",
        "twice": "alice must be found once, but the result is ['alice', 'alice']",
        "in another folder": "'../alice' must be unknown, but is ",
        "nameless": "in the list has neither a login nor a text",
        "miscounted": "the list has 2 people, but people_count is 1",
        "idle before the login": "alice is idle for 1700000000 s in a session of 600 s",
        "idle in the future": "bob is idle for 60 s in a session of 0 s",
        "finds no one": "alice must be found first, but the result is []",
        "in threads only": "a thread raised KeyError('alice')",
        "not in threads": "a thread found [] for alice",
    }.items(),
)
def test_check_backend_detects_a_wrong_backend(how: str, what: str) -> None:
    check_backend(Wrong("right"), known="alice")
    with pytest.raises(AssertionError, match=re.escape(what)):
        check_backend(Wrong(how), known="alice")


def test_check_failing_detects_a_backend_that_does_not_fail() -> None:
    with pytest.raises(AssertionError, match=r"bob must be a failure, but is \(\)"):
        check_failing(Empty())


def test_a_look_up_and_its_answer_import_nothing(tmp_path: Path) -> None:
    (tmp_path / "alice.txt").write_bytes("Zoë 日本".encode("utf-16"))
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "name").write_text("日本 😀")
    (tmp_path / "story.toml").write_text("[[-1s]]\ntype = 'create'\nlogin = 'alice'\n")
    code = """if True:
        import sys, time
        from fingerd.backends import Lookup, load_type
        from fingerd.people import LastLogin, Mail, Person, Session
        from fingerd.ruip.policy import Policy, Rule
        from fingerd.ruip.report import format_list, format_people
        from fingerd.ruip.ruip import AnswerContext, Ruip, ReplyOptions
        made = [load_type("static")(users={"alice": "fine"}), load_type("command")(argv=("echo", "{user}"))]
        made.append(load_type("files")(folder=sys.argv[1]))
        made.append(load_type("chain")(backends=tuple(made), merge=True))
        made.append(load_type("cache")(backend=made[-1], seconds=0))
        made.append(load_type("scenario")(file=sys.argv[1] + "/story.toml"))
        web = load_type("web")(prefix="http://127.0.0.1:1/~")
        policy = Policy((Rule(from_=("any",), list=True, match="name"),))
        class Refuse:
            def find_spec(self, name, *_):
                sys.exit(f"late import of {name}")
        sys.meta_path.insert(0, Refuse())
        for backend in made:
            for name in ("alice", "Zo\\u00eb", "", "/W bob"):
                context = AnswerContext("unix", time.monotonic() + 5, time.time())
                Ruip(backend, policy, ReplyOptions(charset="latin-1"), 1024, 65536).answer_line(name.encode(), context)
        person = Person("Zo\\u00eb", sessions=(Session("x", "y", 1.0, 1e6),), last_login=LastLogin(1.0), mail=Mail(1.0))
        format_people([person], 2.0, True, 1000), format_list([person], 2.0, 1000)
        try:
            web.find(Lookup("Zo\\u00eb", False, "unix", time.monotonic() + 5))
        except Exception as error:
            print(type(error).__name__)
        del sys.meta_path[0]
    """
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "BackendError\n", "")


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(UnknownTypeError):
        load_type("statik")
    with pytest.raises(UnknownTypeError):
        load_type("__init__")


@pytest.fixture
def weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another package, with a backend, one with a built-in name, one whose library is missing, and broken ones."""
    (tmp_path / "weather.py").write_text(
        "from fingerd.backends.empty import Empty\nclass Weather(Empty):\n    'The weather.'\n"
        "class Static(Empty):\n    ''\n"
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Counted(Empty):\n    most: int = 3\n"
    )
    (tmp_path / "broken_backend.py").write_text("import no_such_library\n")
    (tmp_path / "mangled_backend.py").write_text("class Mangled(:\n")
    (tmp_path / "raising_backend.py").write_text("1 / 0\n")
    info = tmp_path / "fingerd_weather-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-weather\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[fingerd.backends]\nweather = weather:Weather\nstatic = weather:Static\nbroken = broken_backend:Broken\n"
        "plain = builtins:object\nnothing = weather:Nothing\nmangled = mangled_backend:Mangled\n"
        "counted = weather:Counted\nraising = raising_backend:Raising\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_other_packages_add_backends_but_cannot_replace_built_in_ones(weather: Path) -> None:
    assert backend_names()[-7:] == ("broken", "counted", "mangled", "nothing", "plain", "raising", "weather")
    assert load_type("weather").__name__ == "Weather"
    assert load_type("static").__module__ == "fingerd.backends.static"
    assert distribution_of("weather") == "fingerd-weather 1.2"
    assert distribution_of("static") == "fingerd"
    with pytest.raises(ImportError):
        load_type("broken")
    assert backends.ENTRY_POINTS == "fingerd.backends"


def test_backends_lists_types_options_and_packages(weather: Path) -> None:
    listed = "".join(f"{line}\n" for line in catalogue())
    assert (
        "static (fingerd)\n    Users in the configuration, each with a text, which is the answer, or with a record.\n"
        in listed
    )
    assert "files (fingerd)\n    A directory of people: " in listed
    assert "`" not in listed
    for option in (
        "folder (path; required)",
        "file_bytes (size; default: 64KiB; from 1 to 1GiB)",
        "backends (list of backend; required)",
        "names (mapping of names to list of text; default: none)",
        "on_error (fail or skip; default: fail)",
        "merge (true or false; default: false)",
        "stale_seconds (time; default: 1h; from 0 to 8760h)",
        "timeout (time; default: 10; from 0.1 to 8760h)",
        "start (date and time; default: none)",
        "cpu_seconds (number; default: 0; from 0 to 86400; 0: no limit)",
        "auth_file (path; default: none)",
        "verify (true or false or text; default: true)",
        "users (mapping of names to text or mapping; required)\n        - name (text; default: none)",
    ):
        assert f"    - {option}\n" in listed
    assert "weather (fingerd-weather 1.2)\n    The weather.\n" in listed
    assert "plain (fingerd-weather 1.2)\n    not usable: it is not a dataclass" in listed
    assert "raising (fingerd-weather 1.2)\n    not usable: raising_backend:Raising: ZeroDivisionError(" in listed
    assert "broken (fingerd-weather 1.2)\n    not usable: No module named 'no_such_library'\n" in listed
    assert "    install the package with the Python module no_such_library, which fingerd-weather 1.2 needs\n" in listed
    assert "counted (fingerd-weather 1.2)\n    not usable: most: no option can be of type int: use Anno" in listed
    assert "nothing (fingerd-weather 1.2)\n    not usable: weather:Nothing: AttributeError(\"module 'weather'" in listed
    assert "mangled (fingerd-weather 1.2)\n    not usable: mangled_backend:Mangled: " in listed


def test_the_command_prints_that_list(weather: Path) -> None:
    environment = {"PYTHONPATH": str(weather), "PATH": "/usr/bin"}
    done = subprocess.run([*FINGERD, "--backends"], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == list(catalogue())


@pytest.mark.parametrize(
    ("name", "what"),
    {
        "broken": "the backend broken (fingerd-weather 1.2) needs something that is not installed: "
        "No module named 'no_such_library'",
        "nothing": "the backend nothing (fingerd-weather 1.2) cannot be loaded: "
        "weather:Nothing: AttributeError(\"module 'weather' has no attribute 'Nothing'\")",
        "plain": "the backend plain is not a dataclass, so it has no options",
        "counted": "the backend counted cannot be used: "
        "most: no option can be of type int: use Annotated[int, Integer()]",
    }.items(),
)
def test_an_unusable_backend_is_a_configuration_error(weather: Path, tmp_path: Path, name: str, what: str) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"backend: {{type: {name}}}\n")
    command = [*FINGERD, "--check", "-c", str(config)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(weather), "PATH": "/usr/bin"}
    )
    assert (done.returncode, done.stderr) == (78, f"{config}:1:17: backend.type: {what}\n")
