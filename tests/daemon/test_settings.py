"""Configuration files: the settings of a valid one, and every problem of an invalid one."""

import dataclasses
from pathlib import Path

import pytest

from fingerd.backends.command import Command
from fingerd.backends.empty import Empty
from fingerd.backends.static import Static
from fingerd.backends.web import Web
from fingerd.config.system_options import User
from fingerd.errors import ConfigError
from fingerd.log.writer import Log
from fingerd.net.sources import parse_source
from fingerd.ruip.policy import Rule
from fingerd.ruip.ruip import ReplyOptions
from fingerd.server.limits import Limits
from fingerd.server.listeners import TcpAddress, UnixAddress
from fingerd.settings import Process, Settings, load_config, read_config

EMPTY = "backend: {type: empty}\n"  # the shortest valid file

DEFAULTS = """\
listen: ":79"                  # one or a list: "host:port" ("[::]:79" is IPv6 alone), ":79" (all addresses, v4 and v6),
                               # "unix:/path" (with `mode`, `user`, `group` as a mapping), systemd, inetd; [] for none
backend:                       # who knows the users; see 3
  type: static
  users: {moshez: Happy and well}

policy:                        # the first rule whose `from` holds the client's address; see 4
  - from: any

process:
  user: null                   # become this user once everything is bound
  group: null                  # default: the user's own
  chroot: null
  rundir: /                    # inside the chroot
  umask: "027"
  pidfile: null

log:
  to: syslog                   # syslog | stderr | a file's path; an absent syslog is a warning, not a failure
  prefix: fingerd              # the syslog tag
  level: info
  format: text                 # text | json
  addresses: full              # full | network (/24, /48) | none: how much of a client's address is kept

limits:
  query_bytes: 1024
  reply_bytes: 256KiB          # a longer answer is cut at a line's end and closed by the line "[answer cut]"
  read_seconds: 10             # for the whole query line, however it drips
  write_seconds: 30            # for the whole answer
  answer_seconds: 20           # from query to answer, queueing included; backends' own timeouts are cut to it
  connections: 10000           # all at once; when full, the client that has been silent longest is closed
  per_client: 50               # at once from one IPv4 address or IPv6 /64; one more is closed at once
  rate: 0                      # queries a minute from one client (a bucket that holds one minute's), 0 for no limit
  threads: 32                  # answers worked on at once, started as needed; one client has at most a quarter of them
  drain_seconds: 10

reply:
  charset: utf-8               # utf-8 | ascii | latin-1, for answers; what does not fit becomes "?"
  header: null                 # text before and after every answer; {user}, {client}, {time} are replaced, nothing else
  footer: null
"""

ADDRESS_FORMS = 'must be "host:port", ":port", "[ipv6]:port", "unix:/path", systemd or inetd'
UNKNOWN_TAG = "unknown tag (quote a text that begins with !)"
NO_SOURCE = "is not an address, a network, any or local"

# What is wrong, the file, and its problems without the file's name. DIR is an empty directory.
BROKEN: dict[str, tuple[str | bytes, list[str]]] = {
    # names
    "unknown option": (EMPTY + "polcy: []\n", ["2:1: polcy: unknown option (did you mean policy?)"]),
    "unknown option without a close match": (EMPTY + "xyz: 1\n", ["2:1: xyz: unknown option"]),
    "unknown option of a section": (
        EMPTY + "limits:\n  query_byte: 5\n",
        ["3:3: limits.query_byte: unknown option (did you mean query_bytes?)"],
    ),
    "unknown option of a backend": (
        "backend:\n  type: static\n  user: {a: b}\n",
        [
            "2:3: backend.users: required, but not given",
            "3:3: backend.user: unknown option (did you mean users?)",
        ],
    ),
    "unknown option of a rule": (
        EMPTY + "policy:\n  - from: any\n    denies: true\n",
        ["4:5: policy[0].denies: unknown option (did you mean deny?)"],
    ),
    "unknown option of a socket": (
        EMPTY + "listen: {unix: DIR/s, modes: '0660'}\n",
        ["2:{}: listen.modes: unknown option (did you mean mode?)"],
    ),
    "an option in the wrong case": (EMPTY + "Log: {}\n", ["2:1: Log: unknown option (did you mean log?)"]),
    "duplicate section": (
        EMPTY + "log: {}\nlimits: {}\nlog: {}\n",
        ["4:1: log: duplicate key, first given in line 2"],
    ),
    "duplicate option": (
        EMPTY + "limits:\n  rate: 1\n  rate: 2\n",
        ["4:3: limits.rate: duplicate key, first given in line 3"],
    ),
    "duplicate user": (
        "backend:\n  type: static\n  users:\n    bob: a\n    bob: b\n",
        ["5:5: backend.users.bob: duplicate key, first given in line 4"],
    ),
    # required options
    "no backend": ("listen: ':79'\n", ["1:1: backend: required, but not given"]),
    "no type": ("backend:\n  users: {a: b}\n", ["2:3: backend.type: required, but not given"]),
    "no users": ("backend: {type: static}\n", ["1:10: backend.users: required, but not given"]),
    "no program": ("backend: {type: command}\n", ["1:10: backend.argv: required, but not given"]),
    "a rule without from": (EMPTY + "policy:\n  - list: true\n", ["3:5: policy[0].from: required, but not given"]),
    "a socket without a path": (
        EMPTY + "listen: {mode: '0660'}\n",
        ["2:9: listen.unix: required, but not given"],
    ),
    # wrong types
    "a number instead of a section": (EMPTY + "limits: 5\n", ["2:9: limits: must be a mapping"]),
    "a word instead of http": (EMPTY + "http: true\n", ["2:7: http: must be a mapping"]),
    "a word instead of metrics": (EMPTY + "metrics: ':9079'\n", ["2:10: metrics: must be a mapping"]),
    "a list instead of a section": (EMPTY + "log: [syslog]\n", ["2:6: log: must be a mapping"]),
    "a word instead of a backend": ("backend: static\n", ["1:10: backend: must be a mapping, as {type: static}"]),
    "a list of users": ("backend: {type: static, users: [bob]}\n", ["1:32: backend.users: must be a mapping"]),
    "a list instead of a text": (
        "backend: {type: static, users: {bob: [a]}}\n",
        ["1:38: backend.users.bob: must be text"],
    ),
    "a text instead of true": (
        EMPTY + "policy: [{from: any, list: maybe}]\n",
        ["2:28: policy[0].list: must be true or false"],
    ),
    "no such word": (
        EMPTY + "policy: [{from: any, deny: silent}]\n",
        ["2:28: policy[0].deny: must be false, true or silently (did you mean silently?)"],
    ),
    "no such charset": (
        EMPTY + "reply: {charset: latin1}\n",
        ["2:18: reply.charset: must be utf-8, ascii or latin-1 (did you mean latin-1?)"],
    ),
    "invalid words for the log": (
        EMPTY + "log:\n  level: loud\n  format: xml\n  addresses: some\n",
        [
            "3:10: log.level: must be debug, info, warning or error",
            "4:11: log.format: must be text or json",
            "5:14: log.addresses: must be full, network or none",
        ],
    ),
    # YAML 1.1
    "a user named no": (
        "backend: {type: static, users: {no: x}}\n",
        ['1:33: backend.users.no: YAML reads this as true or false; to mean the text, put it in quotes'],
    ),
    "a user named 1": (
        "backend: {type: static, users: {1: x}}\n",
        ['1:33: backend.users.1: YAML reads this as a number; to mean the text, put it in quotes'],
    ),
    "a user named null": (
        "backend: {type: static, users: {null: x}}\n",
        ['1:33: backend.users.null: YAML reads this as null; to mean the text, put it in quotes'],
    ),
    "a user named 22:30": (
        "backend:\n  type: static\n  users:\n    22:30: x\n",
        ['4:5: backend.users.22:30: YAML reads this as a number; to mean the text, put it in quotes'],
    ),
    "a user named 0o27": (
        "backend: {type: static, users: {0o27: x}}\n",
        ['1:33: backend.users.0o27: YAML readers differ about octal numbers; put it in quotes'],
    ),
    "a time as a text": (
        "backend: {type: static, users: {bob: 22:30}}\n",
        ['1:38: backend.users.bob: YAML reads this as a number; to mean the text, put it in quotes'],
    ),
    "a date as a text": (
        "backend: {type: static, users: {bob: 2024-01-01}}\n",
        ['1:38: backend.users.bob: YAML reads this as a date; to mean the text, put it in quotes'],
    ),
    "null as a text": (
        "backend:\n  type: static\n  users:\n    bob:\n",
        ['4:9: backend.users.bob: YAML reads an empty value as null; to mean the text, put it in quotes'],
    ),
    "a number as an argument": (
        "backend: {type: command, argv: [echo, 5]}\n",
        ['1:39: backend.argv[1]: YAML reads this as a number; to mean the text, put it in quotes'],
    ),
    "no as an account": (
        EMPTY + "process: {user: no}\n",
        ['2:17: process.user: YAML reads this as true or false; to mean the text, put it in quotes'],
    ),
    "octal digits without quotes": (
        EMPTY + "process: {umask: 027}\n",
        ['2:18: process.umask: must be octal digits in quotes: "027"'],
    ),
    "octal digits of YAML 1.2": (
        EMPTY + "process: {umask: 0o27}\n",
        ['2:18: process.umask: must be octal digits in quotes: "27"'],
    ),
    "decimal digits without quotes": (
        EMPTY + "listen: {unix: /s, mode: 660}\n",
        ['2:26: listen.mode: must be octal digits in quotes: "660"'],
    ),
    "a time of the day as a time": (
        EMPTY + "limits: {read_seconds: 22:30}\n",
        ["2:24: limits.read_seconds: must be a time, as 10, 10s, 5m or 2h (YAML reads 22:30 as 1350)"],
    ),
    "a number that is octal": (
        EMPTY + "limits: {per_client: 010}\n",
        ["2:22: limits.per_client: must be a whole number (YAML reads 010 as 8)"],
    ),
    # numbers
    "bad times": (
        EMPTY + "limits:\n  read_seconds: 10 minutes\n  write_seconds: -1\n  answer_seconds: 1d\n",
        [f"{line}: must be a time, as 10, 10s, 5m or 2h" for line in (
            "3:17: limits.read_seconds", "4:18: limits.write_seconds", "5:19: limits.answer_seconds"
        )],
    ),
    "bad sizes": (
        EMPTY + "limits:\n  query_bytes: 1KB\n  reply_bytes: 1.5MiB\n",
        [f"{line}: must be a size in bytes, as 65536 or 64KiB" for line in (
            "3:16: limits.query_bytes", "4:16: limits.reply_bytes"
        )],
    ),
    "sizes out of range": (
        EMPTY + "limits: {query_bytes: 2MiB, reply_bytes: 63}\n",
        [
            "2:23: limits.query_bytes: must be from 1 to 1,048,576",
            "2:42: limits.reply_bytes: must be from 64 to 1,073,741,824",
        ],
    ),
    "bad numbers": (
        EMPTY + "limits:\n  threads: many\n  connections: 1.5\n  per_client: '5'\n  rate: .inf\n",
        [f"{line}: must be a whole number{how}" for line, how in (
            ("3:12: limits.threads", ""), ("4:16: limits.connections", ""),
            ("5:15: limits.per_client", ", without quotes"), ("6:9: limits.rate", ""),
        )],
    ),
    "numbers out of range": (
        EMPTY + "limits: {threads: 0, connections: 1000001, rate: -1}\n",
        [
            "2:19: limits.threads: must be from 1 to 10,000",
            "2:35: limits.connections: must be from 1 to 1,000,000",
            "2:50: limits.rate: must be from 0 to 1,000,000",
        ],
    ),
    # addresses
    "bad addresses": (
        EMPTY + "listen: ['79', '::1:79', ':65536', localhost, '[::1]', 'unix:']\n",
        [
            f'2:10: listen[0]: {ADDRESS_FORMS} (did you mean ":79"?)',
            f"2:16: listen[1]: {ADDRESS_FORMS}",
            "2:26: listen[2]: there is no port 65536",
            f"2:36: listen[3]: {ADDRESS_FORMS}",
            f"2:47: listen[4]: {ADDRESS_FORMS}",
            "2:56: listen[5]: must be a path after unix:",
        ],
    ),
    "a list of lists of addresses": (EMPTY + "listen: [[':79']]\n", ["2:10: listen[0]: must be an address"]),
    "an address that YAML reads as a number": (
        EMPTY + "listen: 22:30\n",
        ['2:9: listen: YAML reads this as a number; to mean the text, put it in quotes'],
    ),
    "tags that numbers do not match": (
        EMPTY + "limits: {threads: !!str 5, rate: !!null 5, per_client: !!int '', connections: 0x" + "f" * 300 + "}\n",
        [
            "2:19: limits.threads: must be a whole number",
            "2:34: limits.rate: must be a whole number",
            "2:56: limits.per_client: must be a whole number",
            "2:79: limits.connections: must be a whole number",
        ],
    ),
    "a log that is nearly syslog": (
        EMPTY + "log: {to: sylog}\n",
        ["2:11: log.to: must be syslog, stderr or the path of a file (did you mean syslog?)"],
    ),
    "log to standard output": (
        EMPTY + "log: {to: stdout}\n",
        ["2:11: log.to: must be syslog, stderr or the path of a file (did you mean stderr?)"],
    ),
    "a port alone": (EMPTY + "listen: 79\n", [f'2:9: listen: {ADDRESS_FORMS} (did you mean ":79"?)']),
    "a path with a NUL": (EMPTY + 'listen: "unix:/a\\0b"\n', ["2:9: listen: must be a path after unix:"]),
    "an empty backend": ("backend:\n", ["1:9: backend.type: required, but not given"]),
    "a tag on a mapping": ("backend: !thing {type: empty}\n", [f"1:10: backend: {UNKNOWN_TAG}"]),
    "a word as the policy": (EMPTY + "policy: any\n", ["2:9: policy: must be a mapping"]),
    "an empty policy": (EMPTY + "policy:\n", ["2:8: policy: is empty: give a value or remove the option"]),
    "a tag on the user": (EMPTY + "process: {user: !!int ten}\n", ["2:17: process.user: must be a user"]),
    "nested too deeply": ("[" * 5000, ["1:1: nested too deeply"]),
    "control characters in a key": (
        EMPTY + '"a\\e[2Jb\\n": 1\n',
        ["2:1: unknown option"],
    ),
    "numbers out of range for accounts": (
        EMPTY + "process: {user: 4294967295, group: 4294967296}\n",
        [
            "2:17: process.user: 4294967295 is not a valid uid or gid",
            "2:36: process.group: 4294967296 is not a valid uid or gid",
        ],
    ),
    "a number that YAML reads as another": (
        EMPTY + "process: {user: 0100}\n",
        ['2:17: process.user: YAML reads this as a number; to mean the text, put it in quotes'],
    ),
    "invalid names": (
        EMPTY + 'process: {user: "", group: "a\\0b"}\n',
        ["2:17: process.user: must be a name or a number", "2:28: process.group: must be a name or a number"],
    ),
    "a web server on no port": (
        "backend: {type: web, prefix: 'http://127.0.0.1:0/~'}\n",
        ["1:30: backend.prefix: must not have port 0"],
    ),
    "invalid octal digits": (
        EMPTY + "process: {umask: '89'}\n",
        ['2:18: process.umask: must be octal digits, as "027"'],
    ),
    "no network": (
        EMPTY + "policy:\n  - from: 10.0.0.0/33\n",
        [f"3:11: policy[0].from: '10.0.0.0/33' {NO_SOURCE}"],
    ),
    "bad networks": (
        EMPTY + "policy:\n  - from: any\n  - from: [10.0.0.1/8, localnet, 300.1.1.1]\n",
        [
            "4:12: policy[1].from[0]: 10.0.0.1/8 has host bits set (did you mean 10.0.0.0/8?)",
            f"4:24: policy[1].from[1]: 'localnet' {NO_SOURCE}",
            f"4:34: policy[1].from[2]: '300.1.1.1' {NO_SOURCE}",
        ],
    ),
    # backends
    "unknown type": (
        "backend: {type: statik}\n",
        ["1:17: backend.type: there is no backend statik (did you mean static?)"],
    ),
    "a type that is a list": ("backend: {type: [static]}\n", ["1:17: backend.type: must be text"]),
    "a type that is a number": (
        "backend: {type: 1}\n",
        ['1:17: backend.type: YAML reads this as a number; to mean the text, put it in quotes'],
    ),
    "a rule that matches no client": (
        EMPTY + "policy: [{from: []}]\n",
        ["2:10: policy[0].from: is empty: the rule matches no client"],
    ),
    "a user for whom there is no query": (
        "backend: {type: static, users: {a@b: x}}\n",
        ["1:38: backend.users.a@b: no query can ask for a user called 'a@b'"],
    ),
    "no program in the list": ("backend: {type: command, argv: []}\n", ["1:32: backend.argv: names no program"]),
    "a user as the program": (
        "backend: {type: command, argv: ['{user}']}\n",
        ["1:32: backend.argv: {user} may not choose the program"],
    ),
    "neither prefix nor url": ("backend: {type: web}\n", ["1:10: backend: needs either prefix or url"]),
    "prefix and url": (
        "backend: {type: web, prefix: 'http://a/', url: 'http://a/{user}'}\n",
        ["1:10: backend: give prefix or url, not both"],
    ),
    "a url without the user": (
        "backend: {type: web, url: 'http://example.org/'}\n",
        ["1:27: backend.url: must contain {user}"],
    ),
    # the file
    "empty file": ("", ["1:1: the file is empty"]),
    "nothing but a comment": ("# nothing\n", ["1:1: the file is empty"]),
    "not UTF-8": (b"# \xc3\xbc\nbackend: {type: static, users: {bob: \xc3\xbc\xfc}}\n", ["2:39: not UTF-8 text"]),
    "UTF-16": (EMPTY.encode("utf-16"), ["1:1: not UTF-8 text"]),
    "control character": (
        "backend: {type: static, users: {bob: a\x07b}}\n",
        ["1:39: U+0007 is not allowed in a YAML file"],
    ),
    "no end of a mapping": (
        "backend: {type: empty\n",
        ["2:1: before this, a comma is missing, or the end of the brace opened in line 1"],
    ),
    "no end of a text": (
        EMPTY + "log: 'abc\n",
        ["3:1: the quote opened in line 2 is never closed"],
    ),
    "a tab": (
        "backend:\n\ttype: empty\n",
        ["2:1: a tab is not allowed here: indent with spaces"],
    ),
    "two in one line": (
        "backend: type: empty\n",
        ["1:14: a colon is not allowed here: quote a text that has one, or correct the indentation or the line before"],
    ),
    "two documents": (
        EMPTY + "---\n" + EMPTY,
        ["2:1: a second document begins here, and only one is allowed: remove this line"],
    ),
    "unknown tag": ("backend: {type: !name empty}\n", [f"1:17: backend.type: {UNKNOWN_TAG}"]),
    "a tag that does not match the text": (
        EMPTY + "limits: {threads: !!int ten}\n",
        ["2:19: limits.threads: must be a whole number"],
    ),
    "merge key": (
        "backend: &b {type: empty}\nlog: {<<: *b}\n",
        ["2:7: log: a key must be text (merge keys and tags are not supported)"],
    ),
    "a key that is a list": (
        EMPTY + "? [a]\n: b\n",
        ["2:3: a key must be text (merge keys and tags are not supported)"],
    ),
    "a recursive mapping": (
        "backend: &b {type: static, users: *b}\n",
        ["1:10: backend.users: recursive alias"],
    ),
    "a recursive list": (
        EMPTY + "listen: &l [':79', *l]\n",
        ["2:9: listen[1]: recursive alias"],
    ),
    "unknown alias": (
        EMPTY + "listen: *l\n",
        ["2:9: no anchor has this name: put a text that begins with * in quotes"],
    ),
    # the host
    "unknown user and group": (
        EMPTY + "process:\n  user: nosuch\n  group: nosuch\n",
        ["3:9: process.user: there is no user nosuch", "4:10: process.group: there is no group nosuch"],
    ),
    "unknown owner of a socket": (
        EMPTY + "listen:\n  - unix: DIR/s\n    user: nosuch\n    group: nosuch\n",
        ["4:11: listen[0].user: there is no user nosuch", "5:12: listen[0].group: there is no group nosuch"],
    ),
    "no chroot": (
        EMPTY + "process:\n  chroot: DIR/none\n",
        ["3:11: process.chroot: there is no directory DIR/none"],
    ),
    "no rundir": (
        EMPTY + "process:\n  rundir: DIR/none\n",
        ["3:3: process: there is no directory DIR/none to run in"],
    ),
    "no rundir in the chroot": (
        EMPTY + "process:\n  chroot: DIR\n  rundir: /none\n",
        ["3:3: process: there is no directory DIR/none to run in"],
    ),
    "no directory for the pid file": (
        EMPTY + "process:\n  pidfile: DIR/none/pid\n",
        ["3:12: process.pidfile: there is no directory DIR/none"],
    ),
    "no directory for the log": (EMPTY + "log:\n  to: DIR/none/log\n", ["3:7: log.to: there is no directory DIR/none"]),
    "a directory as the log": (EMPTY + "log:\n  to: DIR\n", ["3:7: log.to: DIR is a directory, not a file"]),
    "an empty path": (EMPTY + "process: {pidfile: ''}\n", ["2:20: process.pidfile: must be a path"]),
    "a prefix of two words": (
        EMPTY + "log: {prefix: finger daemon}\n",
        ["2:15: log.prefix: must be 1 to 48 ASCII characters without spaces, colons and brackets"],
    ),
    "a program missing in the chroot": (
        "backend: {type: command, argv: [/bin/sh]}\nprocess:\n  chroot: DIR\n",
        ["1:10: backend: there is no program /bin/sh in DIR"],
    ),
    # all at once
    "several, in the order of the file": (
        "polcy: []\n"
        "backend: {type: statik}\n"
        "limits: {rate: x, threads: 0}\n"
        "process:\n"
        "  user: nosuch\n"
        "  umask: 027\n"
        "listen: [':79', nowhere]\n"
        "limits: {}\n",
        [
            "1:1: polcy: unknown option (did you mean policy?)",
            "2:17: backend.type: there is no backend statik (did you mean static?)",
            "3:16: limits.rate: must be a whole number",
            "3:28: limits.threads: must be from 1 to 10,000",
            "5:9: process.user: there is no user nosuch",
            '6:10: process.umask: must be octal digits in quotes: "027"',
            f"7:17: listen[1]: {ADDRESS_FORMS}",
            "8:1: limits: duplicate key, first given in line 3",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_refused_with_every_problem_and_its_place(
    text: str | bytes, expected: list[str], tmp_path: Path
) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    raw = text.replace("DIR", str(directory)).encode() if isinstance(text, str) else text
    path = tmp_path / "fingerd.yaml"
    path.write_bytes(raw)
    column = raw.find(b", modes") + 3 - raw.rfind(b"\n", 0, raw.find(b", modes")) - 1  # of the one after a long path
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert list(caught.value.problems) == [
        f"{path}:{problem}".replace("DIR", str(directory)).replace("2:{}:", f"2:{column}:") for problem in expected
    ]
    assert str(caught.value).splitlines() == list(caught.value.problems)


def settings_of(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "fingerd.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(str(path))


def problems_of(tmp_path: Path, text: str, options: dict[str, tuple[str, str]]) -> list[str]:
    path = tmp_path / "fingerd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_config(str(path), options)
    return [problem.replace(str(path), "FILE") for problem in caught.value.problems]


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert caught.value.problems == (f"{path}: cannot be read: No such file or directory",)


def test_a_directory_as_the_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(str(tmp_path))
    assert caught.value.problems == (f"{tmp_path}: cannot be read: Is a directory",)


def test_the_defaults_in_the_documentation_are_the_defaults(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, DEFAULTS)
    # Syslog is the default of a daemon only, so that the default itself stays open.
    assert settings.log.to == "syslog"
    log = dataclasses.replace(settings.log, to=None)
    assert dataclasses.replace(settings, log=log) == Settings(backend=Static({"moshez": "Happy and well"}))


def test_only_the_backend_is_required(tmp_path: Path) -> None:
    assert settings_of(tmp_path, EMPTY) == Settings(backend=Empty())


def test_a_section_may_be_empty(tmp_path: Path) -> None:
    assert settings_of(tmp_path, EMPTY + "process:\nlog:\nlimits:\nreply:\n") == Settings(backend=Empty())


def test_the_defaults() -> None:
    settings = Settings(backend=Empty())
    assert settings.listen == (TcpAddress("", 79),)
    assert settings.policy == (Rule(from_=("any",)),)
    assert settings.process == Process(None, None, None, "/", 0o027, None)
    assert settings.log == Log(None, "fingerd", "info", "text", "full")
    assert settings.limits == Limits(1024, 262_144, 10, 30, 20, 10_000, 50, 0, 64 << 20, 32, 10)
    assert settings.reply == ReplyOptions("utf-8", None, None)


LIMITS = {
    "seconds": ("read_seconds: 5", Limits(read_seconds=5)),
    "half a second": ("read_seconds: 0.5", Limits(read_seconds=0.5)),
    "with s": ("write_seconds: 45s", Limits(write_seconds=45)),
    "with m": ("answer_seconds: 5m", Limits(answer_seconds=300)),
    "with h": ("drain_seconds: 2h", Limits(drain_seconds=7200)),
    "no time at all": ("drain_seconds: 0", Limits(drain_seconds=0)),
    "bytes": ("reply_bytes: 64", Limits(reply_bytes=64)),
    "KiB": ("reply_bytes: 64KiB", Limits(reply_bytes=65_536)),
    "MiB": ("reply_bytes: 1MiB", Limits(reply_bytes=1 << 20)),
    "numbers": (
        "{connections: 100, per_client: 1, rate: 60, threads: 4}",
        Limits(connections=100, per_client=1, rate=60, threads=4),
    ),
    "a thousand in two parts": ("connections: 1_000", Limits(connections=1000)),
}


@pytest.mark.parametrize(("text", "limits"), LIMITS.values(), ids=LIMITS.keys())
def test_times_sizes_and_numbers_have_several_forms(text: str, limits: Limits, tmp_path: Path) -> None:
    assert settings_of(tmp_path, f"{EMPTY}limits:\n  {text}\n").limits == limits


LISTEN = {
    "all addresses": ('":79"', (TcpAddress("", 79),)),
    "without quotes": (":1079", (TcpAddress("", 1079),)),
    "any port": ('"127.0.0.1:0"', (TcpAddress("127.0.0.1", 0),)),
    "IPv4": ('"192.0.2.7:79"', (TcpAddress("192.0.2.7", 79),)),
    "IPv6": ('"[2001:db8::7]:79"', (TcpAddress("2001:db8::7", 79),)),
    "all of IPv6": ('"[::]:79"', (TcpAddress("::", 79),)),
    "a name": ('"localhost:79"', (TcpAddress("localhost", 79),)),
    "a socket": ('"unix:/run/fingerd.sock"', (UnixAddress("/run/fingerd.sock"),)),
    "a socket with its mode": (
        '{unix: /run/fingerd.sock, mode: "0660"}',
        (UnixAddress("/run/fingerd.sock", 0o660),),
    ),
    "a socket with its owner": (
        "{unix: /run/fingerd.sock, user: root, group: 0}",
        (UnixAddress("/run/fingerd.sock", 0o666, User("root", 0, 0), 0),),
    ),
    "several": (
        '["192.0.2.7:79", "unix:/s", {unix: /t}]',
        (TcpAddress("192.0.2.7", 79), UnixAddress("/s"), UnixAddress("/t")),
    ),
    "none": ("[]", ()),
}


@pytest.mark.parametrize(("text", "addresses"), LISTEN.values(), ids=LISTEN.keys())
def test_addresses_to_listen_at_have_several_forms(
    text: str, addresses: tuple[TcpAddress | UnixAddress, ...], tmp_path: Path
) -> None:
    assert settings_of(tmp_path, f"{EMPTY}listen: {text}\n").listen == addresses


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (TcpAddress("", 79), ":79"),
        (TcpAddress("192.0.2.7", 79), "192.0.2.7:79"),
        (TcpAddress("::", 79), "[::]:79"),
        (UnixAddress("/s"), "unix:/s"),
    ],
    ids=["all", "IPv4", "IPv6", "unix"],
)
def test_an_address_is_formatted_as_in_the_file(address: TcpAddress | UnixAddress, name: str) -> None:
    assert str(address) == name


def test_rules_are_read_in_their_order(tmp_path: Path) -> None:
    text = """\
policy:
  - {from: [local, 192.0.2.0/24, "2001:db8::/32"], list: true}
  - {from: 198.51.100.7, deny: silently}
  - {from: any, deny: true}
"""
    assert settings_of(tmp_path, EMPTY + text).policy == (
        Rule(from_=("local", parse_source("192.0.2.0/24"), parse_source("2001:db8::/32")), list=True),
        Rule(from_=(parse_source("198.51.100.7"),), deny="silently"),
        Rule(from_=("any",), deny=True),
    )


def test_an_empty_policy_is_not_the_default(tmp_path: Path) -> None:
    assert settings_of(tmp_path, EMPTY + "policy: []\n").policy == ()


def test_user_names_of_other_yaml_types_may_be_quoted(tmp_path: Path) -> None:
    text = "backend:\n  type: static\n  users: {'no': a, '1': b, 'null': c, '22:30': d, '0o27': e}\n"
    assert settings_of(tmp_path, text).backend == Static({"no": "a", "1": "b", "null": "c", "22:30": "d", "0o27": "e"})


def test_a_text_of_several_lines_keeps_its_lines(tmp_path: Path) -> None:
    text = "backend:\n  type: static\n  users:\n    bob: |\n      Plan:\n        none\n"
    assert settings_of(tmp_path, text).backend == Static({"bob": "Plan:\n  none\n"})


def test_one_node_may_be_used_in_several_places(tmp_path: Path) -> None:
    text = "backend:\n  type: static\n  users: {bob: &t Hello, alice: *t}\n"
    assert settings_of(tmp_path, text).backend == Static({"bob": "Hello", "alice": "Hello"})


def test_other_backends_have_other_options(tmp_path: Path) -> None:
    text = "backend: {type: command, argv: [/bin/echo, '{user}'], timeout: 5s, output_bytes: 1KiB}\n"
    assert settings_of(tmp_path, text).backend == Command(("/bin/echo", "{user}"), None, 5, 1024)
    text = "backend: {type: web, prefix: 'http://192.0.2.1/', headers: {X-Key: secret}}\n"
    backend = settings_of(tmp_path, text).backend
    assert isinstance(backend, Web)
    assert backend.headers == {"X-Key": "secret"}
    assert "secret" not in repr(backend)


def test_the_names_of_user_and_group_are_looked_up(tmp_path: Path) -> None:
    text = f"process: {{user: root, group: root, chroot: '{tmp_path}', umask: '0077', pidfile: '{tmp_path}/pid'}}\n"
    assert settings_of(tmp_path, EMPTY + text).process == Process(
        User("root", 0, 0), 0, str(tmp_path), "/", 0o077, f"{tmp_path}/pid"
    )


def test_accounts_may_be_numbers_without_an_entry_in_passwd(tmp_path: Path) -> None:
    process = settings_of(tmp_path, EMPTY + "process: {user: 3999999999, group: 3999999998}\n").process
    assert (process.user, process.group) == (User("", 3999999999, 3999999999), 3999999998)
    assert settings_of(tmp_path, EMPTY + "process: {user: 0}\n").process.user == User("root", 0, 0)


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fingerd.config.system_options._base", "")
    monkeypatch.chdir(tmp_path)
    settings = settings_of(tmp_path, EMPTY + "log: {to: access.log}\nprocess: {pidfile: pid}\nlisten: 'unix:s'\n")
    assert settings.log.to == f"{tmp_path}/access.log"
    assert settings.process.pidfile == f"{tmp_path}/pid"
    assert settings.listen == (UnixAddress(f"{tmp_path}/s"),)


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(EMPTY + "process: {user: nosuch, umask: '077'}\nlog:\n", encoding="utf-8")
    options = {
        "process.user": ("--uid", "0"),
        "process.rundir": ("--rundir", str(tmp_path)),
        "log.to": ("--logfile", f"{tmp_path}/log"),
        "log.prefix": ("--prefix", "no"),
    }
    settings, warnings = read_config(str(path), options)
    assert settings.process == Process(User("root", 0, 0), None, None, str(tmp_path), 0o077, None)
    assert settings.log == Log(f"{tmp_path}/log", "no")
    assert warnings == ()


def test_problems_of_the_command_line_are_located_by_its_option(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        EMPTY + "limits: {rate: x}\n",
        {
            "process.user": ("--uid", "nosuch"),
            "process.chroot": ("--chroot", f"{tmp_path}/none"),
            "log.prefix": ("--prefix", "a b"),
        },
    )
    assert sorted(problems) == [
        f"--chroot: process.chroot: there is no directory {tmp_path}/none",
        "--prefix: log.prefix: must be 1 to 48 ASCII characters without spaces, colons and brackets",
        "--uid: process.user: there is no user nosuch",
        "FILE:2:16: limits.rate: must be a whole number",
    ]


def test_the_command_line_hides_no_invalid_section(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, EMPTY + "process: 5\n", {"process.umask": ("--umask", "027")})
    assert problems == ["FILE:2:10: process: must be a mapping"]


def test_the_command_line_does_not_replace_an_empty_file(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "", {"process.umask": ("--umask", "027")})
    assert problems == ["FILE:1:1: the file is empty"]


def test_a_missing_program_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(
        f"backend: {{type: command, argv: ['{tmp_path}/none', '{{user}}'], list_argv: [no-such-program]}}\n",
        encoding="utf-8",
    )
    settings, warnings = read_config(str(path), {})
    assert settings.backend == Command((f"{tmp_path}/none", "{user}"), ("no-such-program",))
    assert warnings == (
        f"{path}:1:10: backend: there is no program {tmp_path}/none",
        f"{path}:1:10: backend: there is no program no-such-program",
    )


def test_present_programs_are_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: command, argv: [/bin/sh], list_argv: [sh]}\n", encoding="utf-8")
    assert read_config(str(path), {})[1] == ()


def test_a_misspelt_placeholder_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(
        "backend: {type: command, argv: [echo, '{usr}', '{user}', '{print}'], list_argv: [echo, '{Client}']}\n"
        "reply:\n  header: 'For {clinet} at {time}'\n  footer: '{bye}'\n"
    )
    assert read_config(str(path), {})[1] == (
        f"{path}:1:10: backend: {{Client}} is not a placeholder (did you mean client?)",
        f"{path}:1:10: backend: {{usr}} is not a placeholder (did you mean user?)",
        f"{path}:3:11: reply.header: {{clinet}} is not a placeholder (did you mean client?)",
    )


def test_an_empty_policy_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(EMPTY + "policy: []\n")
    assert read_config(str(path), {})[1] == (f"{path}:2:9: policy: there is no rule: every client is denied",)
