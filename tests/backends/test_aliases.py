"""``type: aliases``: what aliases stand for, in the configuration and in a file, and all errors in them."""

import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fingerd.backends import Lookup
from fingerd.backends.aliases import Aliases
from fingerd.backends.command import Command
from fingerd.backends.static import Static
from fingerd.config import system_options
from fingerd.errors import BackendError, ConfigError, OptionError
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.settings import load_config, read_config
from fingerd.testing import make_lookup
from tests.conftest import Start
from tests.helpers.calls import count_calls
from tests.helpers.daemons import Daemon

USERS = Static({"ann": "I am ann", "bob": "I am bob", "help": "I am help"})


def texts_of(backend: Aliases, name: str) -> list[str]:
    """The texts of all people that the name matches."""
    return [person.text.strip() for person in backend.find(Lookup(name, False, "unix", 0.0)) if person.text]


NAMES: dict[str, tuple[dict[str, tuple[str, ...]], str, list[str]]] = {
    "an alias": ({"root": ("ann",)}, "root", ["I am ann"]),
    "the user": ({"root": ("ann",)}, "ann", ["I am ann"]),
    "another user": ({"root": ("ann",)}, "bob", ["I am bob"]),
    "no user": ({"root": ("ann",)}, "nobody", []),
    "another case": ({"root": ("ann",)}, "Root", []),
    "an alias for an unknown user": ({"root": ("carol",)}, "root", []),
    "a list": ({"team": ("ann", "bob")}, "team", ["I am ann", "I am bob"]),
    "a list in its own order": ({"team": ("bob", "ann")}, "team", ["I am bob", "I am ann"]),
    "a list with a user twice": ({"team": ("ann", "bob", "ann")}, "team", ["I am ann", "I am bob"]),
    "a list with an unknown user": ({"team": ("ann", "carol", "bob")}, "team", ["I am ann", "I am bob"]),
    "an alias of an alias": ({"root": ("boss",), "boss": ("ann",)}, "root", ["I am ann"]),
    "a chain of aliases": ({"a": ("b",), "b": ("c",), "c": ("d",), "d": ("ann",)}, "a", ["I am ann"]),
    "lists of lists, each user once": (
        {"all": ("team", "help", "ann"), "team": ("bob", "boss"), "boss": ("ann",)},
        "all",
        ["I am bob", "I am ann", "I am help"],
    ),
    "the name of a user": ({"ann": ("bob",)}, "ann", ["I am bob"]),
    "its own name and another": ({"help": ("help", "ann")}, "help", ["I am help", "I am ann"]),
    "its own name alone": ({"help": ("help",)}, "help", ["I am help"]),
    "an alias of an alias that is its own target": (
        {"desk": ("help",), "help": ("help", "ann")},
        "desk",
        ["I am help", "I am ann"],
    ),
    "beyond ASCII": ({"größe": ("ann",)}, "größe", ["I am ann"]),
    "a name of two words": ({"ann example": ("ann",)}, "ann example", ["I am ann"]),
}


@pytest.mark.parametrize(("names", "name", "texts"), NAMES.values(), ids=NAMES.keys())
def test_an_alias_is_another_name_for_users(names: dict[str, tuple[str, ...]], name: str, texts: list[str]) -> None:
    assert texts_of(Aliases(USERS, names), name) == texts


# Errors in names of the configuration

BROKEN = {
    "a loop": ("{a: b, b: a}", "2:14: backend.names.b: alias loop: a → b → a"),
    "a loop behind an alias": ("{a: b, b: c, c: d, d: b}", "2:26: backend.names.d: alias loop: b → c → d → b"),
    "a loop in a list": ("{a: [ann, b], b: [bob, a]}", "2:21: backend.names.b: alias loop: a → b → a"),
    "a loop through its own name": ("{a: [a, b], b: a}", "2:19: backend.names.b: alias loop: a → b → a"),
    "an empty list": ("{a: []}", "2:8: backend.names.a: an alias needs a target, and none may be empty"),
    "an empty target": ("{a: ''}", "2:8: backend.names.a: an alias needs a target, and none may be empty"),
    "a target of spaces": ("{a: [ann, ' ']}", "2:8: backend.names.a: an alias needs a target, and none may be empty"),
    "nothing": ("{a: }", "2:7: backend.names.a: is empty: give a value or remove the option"),
    "a name with a host": ("{a@b: ann}", "2:10: backend.names.a@b: no query can ask for 'a@b'"),
    "an empty name": ("{'': ann}", "2:9: backend.names.: no query can ask for ''"),
    "a name with a leading space": ("{' a': ann}", "2:11: backend.names. a: no query can ask for ' a'"),
    "a name that means verbose": ("{/W: ann}", "2:9: backend.names./W: no query can ask for '/W'"),
    "a target that is a number": (
        "{a: 5}",
        "2:8: backend.names.a: YAML reads this as a number; to mean the text, put it in quotes",
    ),
    "a name that is a boolean": (
        "{no: ann}",
        "2:5: backend.names.no: YAML reads this as true or false; to mean the text, put it in quotes",
    ),
}


def problems(path: Path, text: str) -> list[str]:
    """What is wrong with the configuration, without its name."""
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


@pytest.mark.parametrize(("names", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_an_invalid_alias_is_an_error_at_its_place(names: str, problem: str, tmp_path: Path) -> None:
    text = f"backend: {{type: aliases, backend: {{type: empty}}, names:\n   {names}}}\n"
    assert problems(tmp_path / "fingerd.yaml", text) == [problem]


def test_the_other_backend_is_required_and_must_answer_queries(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    assert problems(path, "backend: {type: aliases}\n") == ["1:10: backend.backend: required, but not given"]
    for name in ("hold", "drop", "discard"):
        assert problems(path, f"backend: {{type: aliases, backend: {{type: {name}}}}}\n") == [
            "1:35: backend.backend: answers no queries, so it cannot be part of another backend"
        ]


def test_errors_in_the_other_backend_are_reported_too(tmp_path: Path) -> None:
    text = "backend:\n  type: aliases\n  backend: {type: statik}\n  nams: {}\n"
    assert problems(tmp_path / "fingerd.yaml", text) == [
        "3:19: backend.backend.type: there is no backend statik (did you mean static?)",
        "4:3: backend.nams: unknown option (did you mean names?)",
    ]


# Files in the format of finger.conf(5)

# Modelled on the example in FreeBSD's manual page: users, a text, and roles that are aliases of aliases.
FINGER_CONF = """\
# /etc/finger.conf: other names for our people
#
# alias:(user|alias)
#
# One by one
#
annie:ann
ann.example:ann
bobby:bob
gone:carol
#
# How the machines are
#
state:FOLDER/state.txt
#
# Who is in charge
#
postmaster:charge
webmaster:charge
hostmaster:charge
#
# This month it is bob.
#
charge:bob
"""
MEANT = {
    "annie": ["I am ann"],
    "ann.example": ["I am ann"],
    "bobby": ["I am bob"],
    "gone": [],
    "state": ["All is well."],
    "postmaster": ["I am bob"],
    "hostmaster": ["I am bob"],
    "charge": ["I am bob"],
    "ann": ["I am ann"],
    "#": [],
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_finger_conf_may_have_any_line_end_and_charset(end: str, charset: str, tmp_path: Path) -> None:
    (tmp_path / "state.txt").write_text("All is well.\n")
    path = tmp_path / "finger.conf"
    path.write_bytes(FINGER_CONF.replace("FOLDER", str(tmp_path)).replace("\n", end).encode(charset))
    backend = Aliases(USERS, file=str(path))
    assert {name: texts_of(backend, name) for name in MEANT} == MEANT


LINES = {
    "spaces around": (b"  root : ann \t\n", ["I am ann"]),
    "no line end": (b"root:ann", ["I am ann"]),
    "a later line wins": (b"root:bob\nroot:ann\n", ["I am ann"]),
    "an indented comment": (b"  # root:bob\nroot:ann\n", ["I am ann"]),
    "Latin-1": (b"# gr\xfc\xdfe\nroot:ann\n", ["I am ann"]),
    "empty lines": (b"\n\n \t\nroot:ann\n\n", ["I am ann"]),
    "nothing": (b"", []),
    "comments alone": (b"# root:ann\n", []),
    "a target with a colon is a name with one": (b"root:ann:bob\n", []),
}

MALFORMED = {
    "no colon": (b"# one\nroot ann\n", "2: must be alias:target"),
    "no name": (b"\n\n:ann\n", "3: must be alias:target"),
    "no target": (b"root:\n", "1: must be alias:target"),
    "spaces for a target": (b"root: \t\r\n", "1: must be alias:target"),
    "a list": (b"root:ann\nteam\tann bob\n", "2: must be alias:target"),
    "control characters": (b"ro\x1b[2Jot:ann\n", "1: no query can ask for 'ro\\x1b[2Jot'"),
    "a name with a host": (b"a@b:ann\n", "1: no query can ask for 'a@b'"),
    "a loop": (b"# loop\na:b\n\nb:a\n", "4: alias loop: a → b → a"),
    "a longer loop": (b"x:a\na:b\nb:c\nc:a\n", "4: alias loop: a → b → c → a"),
    "NUL bytes": (b"\0\0\0\0", "1: must be alias:target"),
}


@pytest.mark.parametrize(("data", "texts"), LINES.values(), ids=LINES.keys())
def test_a_line_of_a_finger_conf_is_an_alias_or_a_comment(data: bytes, texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "finger.conf"
    path.write_bytes(data)
    assert texts_of(Aliases(USERS, file=str(path)), "root") == texts


@pytest.mark.parametrize(("data", "problem"), MALFORMED.values(), ids=MALFORMED.keys())
def test_an_error_in_a_finger_conf_names_its_line(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "finger.conf"
    path.write_bytes(data)
    text = f"backend:\n  type: aliases\n  backend: {{type: empty}}\n  file: {path}\n"
    assert problems(tmp_path / "fingerd.yaml", text) == [f"4:9: backend.file: {path}:{problem}"]


def test_a_finger_conf_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    text = "backend: {type: aliases, backend: {type: empty}, file: FOLDER/none}\n".replace("FOLDER", str(tmp_path))
    assert problems(tmp_path / "fingerd.yaml", text) == [
        f"1:56: backend.file: {tmp_path}/none: No such file or directory"
    ]
    text = text.replace("/none", "")
    assert problems(tmp_path / "fingerd.yaml", text) == [f"1:56: backend.file: {tmp_path}: Is a directory"]


def test_names_override_the_file_and_both_may_refer_to_each_other(tmp_path: Path) -> None:
    path = tmp_path / "finger.conf"
    path.write_text("root:ann\nboss:chief\ntop:boss\n")
    backend = Aliases(USERS, {"root": ("bob",), "chief": ("ann",), "all": ("top", "root")}, str(path))
    assert texts_of(backend, "root") == ["I am bob"]
    assert texts_of(backend, "all") == ["I am ann", "I am bob"]


def test_a_loop_through_both_is_an_error_where_it_closes(tmp_path: Path) -> None:
    path = tmp_path / "finger.conf"
    path.write_text("a:b\n")
    with pytest.raises(OptionError, match=r"^alias loop: a → b → a$") as caught:
        Aliases(USERS, {"b": ("a",)}, str(path))
    assert caught.value.keys == ("names", "b")


# Aliases that are files


def test_an_alias_of_a_path_gives_the_current_text_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "motd"
    backend = Aliases(USERS, {"motd": (str(path),), "both": ("ann", str(path))})
    assert texts_of(backend, "motd") == []
    assert texts_of(backend, "both") == ["I am ann"]
    path.write_text("Welcome\n")
    assert texts_of(backend, "motd") == ["Welcome"]
    path.write_text("Good bye\n")
    assert texts_of(backend, "both") == ["I am ann", "Good bye"]
    assert texts_of(backend, str(path)) == []  # a path is not a username


def test_a_target_that_is_not_a_regular_file_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "motd"
    backend = Aliases(USERS, {"motd": (str(path),)})
    os.mkfifo(path)
    with pytest.raises(BackendError, match=f"^aliases {path}: is not a regular file$"):
        texts_of(backend, "motd")
    path.unlink()
    path.mkdir()
    with pytest.raises(BackendError, match=f"^aliases {path}: is not a regular file$"):
        texts_of(backend, "motd")


def test_a_path_is_relative_to_the_working_directory_and_may_be_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "motd.dynamic").write_text("Good morning\n")
    (tmp_path / "motd").symlink_to("motd.dynamic")  # as some systems have it in /etc
    monkeypatch.setattr(system_options, "_base", str(tmp_path))
    backend = Aliases(USERS, {"motd": ("./motd",)})
    assert texts_of(backend, "motd") == ["Good morning"]


def test_too_many_aliases_in_a_row_are_an_error_but_nested_lists_are_resolved_in_one_pass() -> None:
    long = {f"a{number}": (f"a{number + 1}",) for number in range(200)}
    with pytest.raises(OptionError, match="more than 100 aliases in a row"):
        Aliases(USERS, long)
    deep = {f"a{number}": (f"a{number + 1}",) * 2 for number in range(90)} | {"a90": ("ann",)}
    assert texts_of(Aliases(USERS, deep), "a0") == ["I am ann"]


def test_a_long_file_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("line\n" * 100_000)
    (text,) = texts_of(Aliases(USERS, {"log": (str(path),)}), "log")
    assert len(text) < 66_000
    assert text.endswith("line\n[answer cut]")


def test_running_out_of_descriptors_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("Welcome")
    backend = Aliases(USERS, {"motd": (str(tmp_path / "motd"),)})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(BackendError, match=r"^aliases .*Too many open files"):
            texts_of(backend, "motd")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert texts_of(backend, "motd") == ["Welcome"]


def test_a_missing_file_is_a_warning_and_in_a_chroot_an_error(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    text = f"backend: {{type: aliases, backend: {{type: empty}}, names: {{motd: [ann, {tmp_path}/motd]}}}}\n"
    path.write_text(text)
    what = f"1:10: backend: the alias motd points to {tmp_path}/motd, which is not a file"
    assert read_config(str(path), {})[1] == (f"{path}:{what}",)
    (tmp_path / "motd").touch()
    assert read_config(str(path), {})[1] == ()
    (tmp_path / "chroot").mkdir()
    assert problems(path, f"{text}process: {{chroot: {tmp_path}/chroot}}\n") == [
        what.replace(f"{tmp_path}/motd", f"{tmp_path}/chroot{tmp_path}/motd")
    ]


# What is delegated to the other backend


def test_it_is_blocking_if_the_other_backend_is_or_a_file_has_to_be_read() -> None:
    program = Command(("echo", "{user}"))
    assert not Aliases(USERS, {"root": ("ann",)}).blocking
    assert Aliases(program, {"root": ("ann",)}).blocking
    assert Aliases(USERS, {"root": ("ann", "/etc/motd")}).blocking
    assert Aliases(USERS, {"root": ("motd",), "motd": ("/etc/motd",)}).blocking


def test_the_list_is_the_list_of_the_other_backend() -> None:
    people = Aliases(USERS, {"root": ("ann",)}).list_users(Lookup("", False, "unix", 0.0))
    assert people is not None
    assert [person.login for person in people] == ["ann", "bob", "help"]


def test_it_closes_the_other_backend(tmp_path: Path) -> None:
    class Closing(Static):
        def close(self) -> None:
            closed.append(self)

    closed: list[Static] = []
    Aliases(Closing({}), {}).close()
    assert len(closed) == 1


PEOPLE = """
backend:
  type: aliases
  names: {boss: ann, team: [ann, bob]}
  backend:
    type: static
    users:
      ann: {name: Ann Example}
      bob: {name: Bob Ann}
      carol: {name: Carol Boss}
"""


@pytest.mark.parametrize(
    ("match", "name", "names"),
    [
        ("login", "boss", ["Ann Example"]),
        ("name", "boss", ["Ann Example"]),  # a target is a login, never a word of a full name
        ("unique", "boss", ["Ann Example"]),
        ("name", "carol", ["Carol Boss"]),
        ("name", "bob ann", ["Bob Ann"]),
        ("name", "team", ["Ann Example", "Bob Ann"]),
    ],
)
def test_a_target_is_an_exact_login_whatever_the_policy_matches(
    match: str, name: str, names: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"{PEOPLE}policy: [{{from: any, show: minimal, match: {match}, list: true}}]\n")
    settings = load_config(str(path))
    ruip = Ruip(settings.backend, Policy(settings.policy), ReplyOptions(), 1024, 1 << 18)
    reply = "\r\n".join(f"In real life: {full}\r\n" for full in names).encode()
    assert ruip.answer_line(f"{name}\r\n".encode(), AnswerContext("unix", 20.0, 0.0)) == Answer("answered", reply)


def test_the_answer_for_an_alias_is_the_answer_for_its_user() -> None:
    backend = Aliases(USERS, {"root": ("ann",)})
    ruip = Ruip(backend, Policy((Rule(from_=("any",)),)), ReplyOptions(), 1024, 1 << 18)
    context = AnswerContext("192.0.2.7", 20.0, 0.0)
    assert ruip.answer_line(b"root", context) == ruip.answer_line(b"ann", context)


def test_a_changed_file_is_read_at_sighup(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "finger.conf"
    path.write_text("root:ann\n")
    users = "{type: static, users: {ann: I am ann, bob: I am bob}}"
    daemon = start(f'listen: "127.0.0.1:0"\nbackend: {{type: aliases, file: {path}, backend: {users}}}\n')
    assert daemon.ask(b"root\r\n") == b"I am ann\r\n"
    path.write_text("root:bob\nboss:root\n")
    assert daemon.ask(b"root\r\n") == b"I am ann\r\n"
    send_sighup(daemon, "configuration reloaded")
    assert daemon.ask(b"root\r\n") == daemon.ask(b"boss\r\n") == b"I am bob\r\n"
    path.write_text("root:boss\nboss:root\n")
    assert send_sighup(daemon, "not reloaded").endswith(
        f"/fingerd-0.yaml:2:32: backend.file: {path}:2: alias loop: root → boss → root"
    )
    assert daemon.ask(b"boss\r\n") == b"I am bob\r\n"


def send_sighup(daemon: Daemon, word: str) -> str:
    """Send SIGHUP; the log line that has the word."""
    daemon.process.send_signal(signal.SIGHUP)
    return daemon.logged(word)


def test_an_alias_of_several_is_not_ambiguous() -> None:
    policy = Policy((Rule(from_=("any",), match="unique"),))
    ruip = Ruip(Aliases(USERS, {"both": ("ann", "bob")}), policy, ReplyOptions(), 1024, 1 << 18)
    assert ruip.answer_line(b"both\r\n", AnswerContext("192.0.2.1", 0.0, 0.0)).outcome == "answered"


def test_an_alias_of_twice_as_many_users_costs_twice_as_much() -> None:
    people = Static({f"user{number}": "x" for number in range(400)})
    aliases = Aliases(people, {"half": tuple(people.users)[:200], "all": (*people.users, "half")})
    assert [person.login for person in aliases.find(make_lookup("all"))] == list(people.users)
    half, everyone = (count_calls(partial(aliases.find, make_lookup(name))) for name in ("half", "all"))
    assert everyone < half * 2.2


# Files in directories of other users


OTHER, SECRET = 1234, "root:s3cr3t\n"


def link_to(secret: Path, path: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def link_the_directory(secret: Path, path: Path) -> None:
    (secret.parent / path.name).write_text(SECRET)
    path.parent.rename(path.parent.with_suffix(".old"))
    path.parent.symlink_to(secret.parent)


def link_a_parent(secret: Path, path: Path) -> None:
    (secret.parent / path.parent.name).mkdir()
    (secret.parent / path.parent.name / path.name).write_text(SECRET)
    path.parent.parent.rename(path.parent.parent.with_suffix(".old"))
    path.parent.parent.symlink_to(secret.parent)


def link_hard(secret: Path, path: Path) -> None:
    path.unlink()
    path.hardlink_to(secret)


def rename_a_file_of_root(secret: Path, path: Path) -> None:
    (path.parent / "kept").write_text(SECRET)
    (path.parent / "kept").chmod(0o600)
    (path.parent / "kept").rename(path)


def rename_a_file_of_another(secret: Path, path: Path) -> None:
    rename_a_file_of_root(secret, path)
    os.chown(path, OTHER + 1, OTHER + 1)


SWAPS = {
    "a link": (link_to, "is a symbolic link"),
    "a link in the place of the directory": (link_the_directory, "is not a directory"),
    "a link in the place of a parent": (link_a_parent, "is not a directory"),
    "a hard link": (link_hard, "belongs to another user"),
    "a file of root's": (rename_a_file_of_root, "belongs to another user"),
    "a file of another user's": (rename_a_file_of_another, "belongs to another user"),
}


@pytest.mark.root
@pytest.mark.parametrize(("swap", "reason"), SWAPS.values(), ids=SWAPS)
def test_the_owner_of_a_directory_cannot_publish_other_files(
    swap: Callable[[Path, Path], None], reason: str, start: Start, tmp_path: Path
) -> None:
    secret, path = tmp_path / "root" / "secret", tmp_path / "home" / "ann" / "plan"
    secret.parent.mkdir(mode=0o700)
    secret.write_text(SECRET)
    secret.chmod(0o600)
    path.parent.mkdir(parents=True)
    path.write_text("I am ann\n")
    for each in (path, path.parent, path.parent.parent):
        os.chown(each, OTHER, OTHER)
    daemon = start(
        'listen: "127.0.0.1:0"\n'
        f"backend: {{type: aliases, backend: {{type: empty}}, names: {{a: {path}, b: [{path}, b]}}}}\n"
    )
    assert f"uid {OTHER} may change {tmp_path}/home, and with it what is read there" in "\n".join(daemon.log)
    assert daemon.ask(b"a\r\n") == b"I am ann\r\n"
    swap(secret, path)
    assert daemon.ask(b"b\r\n") == b"Internal error in server\r\n"
    daemon.logged(reason)


def test_a_directory_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    for name in ("here", "there"):
        (tmp_path / name / "motd").write_text(name)
    backend = Aliases(USERS, {"motd": (f"{tmp_path}/here/motd",)})
    assert texts_of(backend, "motd") == ["here"]
    (tmp_path / "here").rename(tmp_path / "old")
    assert texts_of(backend, "motd") == []
    (tmp_path / "here").symlink_to("there")
    with pytest.raises(BackendError, match=f"^aliases {tmp_path}/here: is not a directory$"):
        texts_of(backend, "motd")
    assert texts_of(Aliases(USERS, {"motd": (f"{tmp_path}/here/motd",)}), "motd") == ["there"]
