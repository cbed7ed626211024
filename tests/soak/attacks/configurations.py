"""The configurations that are attacked. Each knows the good client's user."""

import random
from collections.abc import Sequence
from pathlib import Path

PORT = 79  # of a network namespace of the attack's own
HTTP_PORT = 80  # of the attacks on HTTP
READ_SECONDS = 2.0
WRITE_SECONDS = 3.0
ANSWER_SECONDS = 4.0
SEED = 1288

GOOD_NETWORK = "127.0.99"  # of the good client; nobody else has an address in it
QUERY, ANSWER = b"moshez\r\n", b"Happy and well\r\n"
REQUEST = b"GET /~moshez/text HTTP/1.0\r\n\r\n"  # for the same answer
GOOD_USER = {"moshez": "Happy and well"}
REPLY_BYTES = 256 * 1024
LONG_USER = {"long": "All work and no play makes Jack a dull boy.\n" * 6500}  # cut at REPLY_BYTES
# 27 KB: the kernel takes all of it for a client that reads nothing. 3.5 KB: still more than such a client takes.
PARKED_USERS = {
    "parked": "All work and no play makes Jack a dull boy.\n" * 600,
    "small": "All work and no play.\n" * 160,
}

SEARCHED_PEOPLE = 10_000
LISTED_PEOPLE = 5_000
PEOPLE_WITH_FILES = 2_000
DENIED_NETWORKS, RULES_WITH_ONE = 5_000, 500
SYLLABLES = ("ka", "lo", "mi", "ne", "ru", "sa", "to", "vi", "we", "zu")

# A backend that hangs as C code does which knows no deadline; `moshez` is known at once.
HANGING_MODULE = """\
import time
from dataclasses import dataclass
from fingerd.backends import Backend
from fingerd.people import Person


@dataclass(frozen=True)
class Hanging(Backend):
    "Hangs for every name but one."

    def find(self, lookup):
        if lookup.username != "moshez":
            time.sleep(3600)
        return (Person("moshez", "Happy and well\\n"),)
"""


def static(users: dict[str, object], *rules: dict[str, object], **limits: object) -> dict[str, object]:
    """A configuration of ``static`` with these rules and limits."""
    return _configuration({"type": "static", "users": {**GOOD_USER, **users}}, rules or ({"from": "any"},), limits)


def searched(_: Path) -> dict[str, object]:
    """Many people, who may be found by parts of their names, a hundred words at a time."""
    return static(people(SEARCHED_PEOPLE), {"from": "any", "match": "name", "users_per_query": 100})


def listed(_: Path) -> dict[str, object]:
    """Many people, who are listed."""
    return static(people(LISTED_PEOPLE), {"from": "any", "list": True})


def listed_anew(directory: Path) -> dict[str, object]:
    """The same, and no answer may be given to another client."""
    return {**listed(directory), "reply": {"header": "{client}"}}


def files(directory: Path) -> dict[str, object]:
    """Many people in a folder, who are listed and found by parts of their names. The good client asks for a login only.

    Its own query would read the names of all of them, too, and so measure itself.
    """
    folder, generator = directory / "people", random.Random(SEED)
    for number in range(PEOPLE_WITH_FILES):
        (folder / f"user{number}").mkdir(parents=True)
        (folder / f"user{number}" / "name").write_text(f"{name(generator)} {name(generator)}\n")
    for login, text in GOOD_USER.items():
        (folder / f"{login}.txt").write_text(f"{text}\n")
    login_only: dict[str, object] = {"from": f"{GOOD_NETWORK}.0/24", "show": ["plan", "name"]}
    config = static({}, login_only, {**login_only, "from": "any", "list": True, "match": "name"})
    return {**config, "backend": {"type": "files", "folder": str(folder)}}


def long_answers(directory: Path) -> dict[str, object]:
    """An answer of 256 KiB, of which each client gets its own."""
    config = static({**LONG_USER})
    config["listen"] = _listen(directory)
    config["reply"] = {"header": "{client}"}
    return config


def few_places(directory: Path) -> dict[str, object]:
    """The same, for no more than 1,000 clients at once."""
    config = long_answers(directory)
    config["limits"] = _limits(connections=1000)
    return config


def lingering(_: Path) -> dict[str, object]:
    """Short answers, for 1,000 clients at once."""
    return static({}, connections=1000)


def parked(_: Path) -> dict[str, object]:
    """Answers that a kernel takes as a whole."""
    return static({**PARKED_USERS})


def denied_networks(_: Path) -> dict[str, object]:
    """Many networks that are denied, by rules with one network, and by rules with many."""
    generator = random.Random(SEED)
    networks = [_network(generator) for _ in range(DENIED_NETWORKS)]
    rules: list[dict[str, object]] = [{"from": networks[RULES_WITH_ONE:], "deny": True}]
    rules += [{"from": network, "deny": True} for network in networks[:RULES_WITH_ONE]]
    return static({}, *rules, {"from": "any"})


def hanging(directory: Path) -> dict[str, object]:
    """A backend that hangs for ever; each client is told "busy" at once."""
    (directory / "hanging.py").write_text(HANGING_MODULE)
    package = directory / "fingerd_hanging-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-hanging\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[fingerd.backends]\nhanging = hanging:Hanging\n")
    limits: dict[str, object] = {"answer_seconds": 0.1, "threads": 8, "per_client": 2000}
    return _configuration({"type": "hanging"}, ({"from": "any"},), limits)


def stuck_log(_: Path) -> dict[str, object]:
    """One client may have many connections: it is the log that must bound what they cost."""
    return static({}, per_client=10_000)


def http(_: Path) -> dict[str, object]:
    """The same people by HTTP."""
    return {**static({}), "http": {"listen": f":{HTTP_PORT}"}}


def plain(_: Path) -> dict[str, object]:
    """One user."""
    return static({})


def people(count: int) -> dict[str, object]:
    """So many people with names of two words."""
    generator = random.Random(SEED)
    return {f"user{number}": {"name": f"{name(generator)} {name(generator)}"} for number in range(count)}


def name(generator: random.Random) -> str:
    """A word of 8 or 10 letters, as one of many people has it."""
    return "".join(generator.choices(SYLLABLES, k=generator.choice((4, 5)))).title()


def unix_path(directory: Path) -> Path:
    """Where the unix listener is."""
    return directory / "socket"


def _configuration(
    backend: dict[str, object], rules: Sequence[dict[str, object]], limits: dict[str, object]
) -> dict[str, object]:
    return {
        "listen": f":{PORT}",
        "backend": backend,
        "policy": list(rules),
        "log": {"to": "stderr"},
        "limits": _limits(**limits),
    }


def _limits(**changed: object) -> dict[str, object]:
    times = {"read_seconds": READ_SECONDS, "write_seconds": WRITE_SECONDS, "answer_seconds": ANSWER_SECONDS}
    return {"reply_bytes": REPLY_BYTES, **times, **changed}


def _listen(directory: Path) -> list[object]:
    return [f":{PORT}", {"unix": str(unix_path(directory)), "mode": "666"}]


def _network(generator: random.Random) -> str:
    if generator.random() < 0.5:
        return f"10.{generator.randrange(256)}.{generator.randrange(256)}.0/24"
    return f"2001:db8:{generator.randrange(0x8000, 0x10000):x}::/48"
