"""What every backend promises, asked of every module in the folder; and the types by name."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fingerd import backends
from fingerd.backends import Ask, Backend, UnknownTypeError, backend_names, load_type, package_of
from fingerd.backends.command import Command
from fingerd.backends.static import Static
from fingerd.backends.vending import Slot
from fingerd.errors import BackendError
from tests.daemons import FINGERD

ALICE = Static({"alice": "fine"})
BROKEN = Command(("sh", "-c", "exit 3"))

# How to make one of each that works without a network, and one that fails where it can. FOLDER holds alice.txt.
OPTIONS: dict[str, dict[str, Any]] = {
    "aliases": {"backend": ALICE, "names": {"root": ("alice",)}},
    "chain": {"backends": (Static({}), ALICE)},
    "command": {"argv": ("sh", "-c", '[ "$1" = alice ] && echo fine || true', "sh", "{user}")},
    "discard": {},
    "drop": {},
    "empty": {},
    "files": {"folder": "FOLDER"},
    "hold": {},
    "static": {"users": {"alice": "fine"}},
    "system": {},
    "vending": {"slots": {"alice": Slot(1)}},
    "web": {"prefix": "http://127.0.0.1:1/~"},
}
FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "aliases": ({"backend": BROKEN, "names": {}}, "command "),
    "chain": ({"backends": (ALICE, BROKEN)}, "command "),
    "command": ({"argv": ("sh", "-c", "exit 3")}, "command "),
    "files": ({"folder": "FOLDER/none"}, "files "),
    "web": ({"prefix": "http://127.0.0.1:1/~"}, "web "),
}
KNOWS = sorted(set(OPTIONS) - {"discard", "drop", "empty", "hold", "system", "web"})  # alice
HOSTILE = [
    "nobody",
    "Zoë",
    "日本",
    "-l",
    "..",
    ".",
    "a/b",
    "a b",
    "%2e",
    "'; --",
    "*",
    "{user}",
    "$(id)",
    "a" * 1024,
    "\u202e",
]


def ask(username: str, seconds: float = 10, by_name: bool = False) -> Ask:
    return Ask(username, False, "192.0.2.1", time.monotonic() + seconds, by_name)


def make(name: str, options: dict[str, Any], folder: Path) -> Backend:
    """A backend with these options; alice lies in the folder."""
    (folder / "alice.txt").write_text("fine")
    filled = {key: value.replace("FOLDER", str(folder)) if key == "folder" else value for key, value in options.items()}
    backend: Backend = load_type(name)(**filled)
    return backend


def test_every_backend_in_the_folder_is_tested_here() -> None:
    assert list(backend_names()) == sorted(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_backend_is_what_it_promises(name: str, tmp_path: Path) -> None:
    kind = load_type(name)
    assert kind.__name__ == name.capitalize()
    assert kind.__doc__
    assert kind.takes in ("query", "line", "anything", "nothing")
    backend = make(name, OPTIONS[name], tmp_path)
    assert isinstance(backend.instant, bool)
    backend.close()


INSTANT = {"aliases", "chain", "discard", "drop", "empty", "hold", "static", "vending"}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_backend_is_instant_if_it_and_all_that_it_is_made_of_answer_from_memory(name: str, tmp_path: Path) -> None:
    assert make(name, OPTIONS[name], tmp_path).instant is (name in INSTANT)
    if name in ("aliases", "chain"):
        assert make(name, FAILING[name][0], tmp_path).instant is False


@pytest.mark.parametrize("by_name", [False, True], ids=["login", "name"])
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "web"])
def test_an_unknown_name_is_nobody_however_hostile(name: str, by_name: bool, tmp_path: Path) -> None:
    backend = make(name, OPTIONS[name], tmp_path)
    for username in HOSTILE:
        assert list(backend.find(ask(username, by_name=by_name))) == []


@pytest.mark.parametrize("by_name", [False, True], ids=["login", "name"])
@pytest.mark.parametrize("name", KNOWS)
def test_a_login_is_found_first_and_once(name: str, by_name: bool, tmp_path: Path) -> None:
    (person,) = make(name, OPTIONS[name], tmp_path).find(ask("alice", by_name=by_name))
    assert person.login == "alice"


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_is_a_backend_error_with_its_cause(name: str, tmp_path: Path) -> None:
    options, beginning = FAILING[name]
    backend = make(name, options, tmp_path)
    for username in ("bob", "Zoë", "a/b"):
        with pytest.raises(BackendError) as caught:
            backend.find(ask(username))
        assert str(caught.value).startswith(beginning)
        assert "0x" not in str(caught.value)
    backend.close()


@pytest.mark.parametrize("name", [*KNOWS, "empty"])
def test_thirty_two_threads_may_ask_at_once(name: str, tmp_path: Path) -> None:
    backend = make(name, OPTIONS[name], tmp_path)
    found: list[list[str]] = []

    def work() -> None:
        found.extend([person.login for person in backend.find(ask("alice"))] for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[] if name == "empty" else ["alice"]] * 160


def test_asking_and_answering_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "alice.txt").write_bytes("Zoë 日本".encode("utf-16"))
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "name").write_text("日本 😀")
    code = """if True:
        import sys, time
        from fingerd.backends import Ask, load_type
        from fingerd.people import LastLogin, Mail, Person, Session
        from fingerd.policy import Policy, Rule
        from fingerd.report import records, table
        from fingerd.ruip import Asker, Ruip, Wording
        made = [load_type("static")(users={"alice": "fine"}), load_type("command")(argv=("echo", "{user}"))]
        made.append(load_type("files")(folder=sys.argv[1]))
        made.append(load_type("chain")(backends=tuple(made)))
        web = load_type("web")(prefix="http://127.0.0.1:1/~")
        policy = Policy((Rule(from_=("any",), list=True, match="name"),))
        class Refuse:
            def find_spec(self, name, *_):
                sys.exit(f"late import of {name}")
        sys.meta_path.insert(0, Refuse())
        for backend in made:
            for name in ("alice", "Zo\\u00eb", "", "/W bob"):
                asker = Asker("unix", time.monotonic() + 5, time.time())
                Ruip(backend, policy, Wording(charset="latin-1"), 1024, 65536).answer_line(name.encode(), asker)
        person = Person("Zo\\u00eb", sessions=(Session("x", "y", 1.0, 1e6),), last_login=LastLogin(1.0), mail=Mail(1.0))
        records([person], 2.0, True, 1000), table([person], 2.0, 1000)
        try:
            web.find(Ask("Zo\\u00eb", False, "unix", time.monotonic() + 5))
        except Exception as error:
            print(type(error).__name__)
        del sys.meta_path[0]
    """
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "BackendError\n", "")


def test_a_name_that_no_backend_has() -> None:
    with pytest.raises(UnknownTypeError):
        load_type("statik")
    with pytest.raises(UnknownTypeError):
        load_type("__init__")


@pytest.fixture
def weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody else's, with a backend, one of our name, and one whose library is missing."""
    (tmp_path / "weather.py").write_text(
        "from fingerd.backends.empty import Empty\nclass Weather(Empty):\n    'The weather.'\n"
        "class Static(Empty):\n    ''\n"
    )
    (tmp_path / "broken_backend.py").write_text("import no_such_library\n")
    info = tmp_path / "fingerd_weather-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-weather\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[fingerd.backends]\nweather = weather:Weather\nstatic = weather:Static\nbroken = broken_backend:Broken\n"
        "plain = builtins:object\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_other_packages_add_backends_but_cannot_shadow_ours(weather: Path) -> None:
    assert backend_names()[-3:] == ("broken", "plain", "weather")
    assert load_type("weather").__name__ == "Weather"
    assert load_type("static").__module__ == "fingerd.backends.static"
    assert package_of("weather") == "fingerd-weather 1.2"
    assert package_of("static") == "fingerd"
    with pytest.raises(ImportError):
        load_type("broken")
    assert backends.ENTRY_POINTS == "fingerd.backends"


def test_backends_lists_types_options_and_packages(weather: Path) -> None:
    done = subprocess.run(
        [*FINGERD, "--backends"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(weather), "PATH": "/usr/bin"},
    )
    assert (
        "static (fingerd)\n    Users in the configuration, each with the text that is told of them, or" in done.stdout
    )
    assert "files (fingerd)\n    A folder of people: " in done.stdout
    assert "    - folder (required)\n    - file_bytes (default: 65536)\n" in done.stdout
    assert "    - backend (required)\n    - names (default: none)\n    - file (default: none)\n" in done.stdout
    assert "    - users (required)\n" in done.stdout
    assert "    - timeout (default: 10)\n" in done.stdout
    assert "    - headers (default: none)\n" in done.stdout
    assert "weather (fingerd-weather 1.2)\n    The weather.\n" in done.stdout
    assert "plain (fingerd-weather 1.2)\n    not usable: it is no dataclass" in done.stdout
    assert "broken (fingerd-weather 1.2)\n    not usable: No module named 'no_such_library'\n" in done.stdout


@pytest.mark.parametrize(
    ("name", "what"),
    {
        "broken": "the backend broken needs something that is not installed: No module named 'no_such_library'",
        "plain": "the backend plain is no dataclass, so it has no options",
    }.items(),
)
def test_a_backend_that_cannot_be_used_is_a_problem_of_the_configuration(
    weather: Path, tmp_path: Path, name: str, what: str
) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"backend: {{type: {name}}}\n")
    command = [*FINGERD, "--check", "-c", str(config)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(weather), "PATH": "/usr/bin"}
    )
    assert (done.returncode, done.stderr) == (78, f"{config}:1:17: backend.type: {what}\n")
