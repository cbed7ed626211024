"""The file of tokens: giving, listing and revoking them."""

import base64
import fcntl
import grp
import hashlib
import hmac
import os
import re
import stat
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

from fingerd.errors import ConfigError
from fingerd.plans.errors import NotWrittenError, PlanError, UsageError
from fingerd.plans.web import tokens
from fingerd.plans.web.tokens import GROUP, Token, add_token, find_token, list_tokens, read_tokens, revoke_token
from tests.helpers.daemons import ROOT, let_everybody_in
from tests.plans.conftest import PLAN, TEMPORARY, Run


@pytest.fixture
def file(people: Path) -> Path:
    return people.parent / "tokens"


def test_a_token_is_printed_alone_and_the_file_has_its_digest(run: Run, file: Path) -> None:
    done = run("token", "add", "zoe", "my laptop")
    printed = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(r"fgd_[A-Za-z0-9_-]{43}\n", printed)
    token = printed.strip()
    assert len(base64.urlsafe_b64decode(token.removeprefix("fgd_") + "=")) == 32
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert file.read_text() == f"{digest}\tzoe\tmy laptop\t{time.strftime('%Y-%m-%d')}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_tokens_are_listed_and_revoked(run: Run, file: Path) -> None:
    for name, label in (("zoe", "laptop"), ("zoe", "desk"), ("quill", "laptop")):
        assert run("token", "add", name, label).returncode == 0
    today = time.strftime("%Y-%m-%d")
    assert run("token", "list").stdout.decode().splitlines() == [
        f"{name}\t{today}" for name in ("zoe\tlaptop", "zoe\tdesk", "quill\tlaptop")
    ]
    assert run("token", "revoke", "zoe", "laptop").returncode == 0
    assert run("token", "list", "zoe").stdout.decode() == f"zoe\tdesk\t{today}\n"
    assert len(file.read_text().splitlines()) == 2
    again = run("token", "revoke", "zoe", "laptop")
    assert (again.returncode, again.stderr) == (64, b"fingerd-plan: zoe has no token 'laptop'\n")


def test_a_label_is_given_once(run: Run, file: Path) -> None:
    assert run("token", "add", "zoe", "laptop").returncode == 0
    before = file.read_bytes()
    again = run("token", "add", "zoe", "laptop")
    assert (again.returncode, again.stdout) == (64, b"")
    assert b"revoke it first" in again.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("label", ["", " x", "x\ty", "x\ny", "x" * 65, "\u202e", "a\0b"])
def test_labels_that_a_line_cannot_have(label: str, file: Path) -> None:
    with pytest.raises(UsageError):
        add_token(str(file), "zoe", label)
    assert not file.exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b", ".zoe", "zo\te", "zo\ne"])
def test_names_that_nobody_can_have(name: str, file: Path) -> None:
    with pytest.raises(UsageError):
        add_token(str(file), name, "laptop")
    assert not file.exists()


def test_only_people_who_are_there_get_one(run: Run, file: Path) -> None:
    done = run("token", "add", "nobody", "laptop")
    assert (done.returncode, done.stdout) == (77, b"")
    assert not file.exists()


def test_without_a_section_or_a_file_there_are_no_tokens(config: Path, run: Run) -> None:
    without = config.read_text().partition("plan:")[0]
    config.write_text(without)
    assert (run("token", "list").returncode, run("token", "list").stdout) == (78, b"")
    plan = 'plan: {listen: "127.0.0.1:0", remote_user: X-User, proxies: unix, base_url: "https://a.example"}\n'
    config.write_text(without + plan)
    done = run("token", "list")
    assert (done.returncode, b"plan.tokens: required" in done.stderr) == (78, True)


def test_accounts_have_no_tokens(config: Path, run: Run, file: Path) -> None:
    config.write_text(f'backend: {{type: system}}\nplan: {{listen: "127.0.0.1:0", tokens: {file}}}\n')
    done = run("token", "add", "root", "laptop")
    assert (done.returncode, b"type files" in done.stderr) == (78, True)


@pytest.mark.parametrize(
    "line", ["x", "\t\t\t", "0" * 64 + "\tzoe\tlaptop", "g" * 64 + "\tzoe\tlaptop\t2026-01-01", "#"]
)
def test_a_file_with_another_line_is_an_error_and_stays(line: str, run: Run, file: Path) -> None:
    good = Token(b"0" * 32, "zoe", "laptop", "2026-01-01").line
    file.write_text(f"{good}{line}\n")
    with pytest.raises(ConfigError, match="line 2: not the digest"):
        read_tokens(str(file))
    assert run("token", "add", "zoe", "desk").returncode == 78
    assert file.read_text() == f"{good}{line}\n"


@pytest.mark.parametrize("kind", ["directory", "fifo", "bytes"])
def test_what_is_no_file_of_tokens_is_an_error(kind: str, file: Path) -> None:
    if kind == "directory":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match="tokens"):
        read_tokens(str(file))


def test_many_at_once_lose_none_and_leave_nothing(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda number: add_token(str(file), "zoe", f"label {number}"), range(40)))
    known = read_tokens(str(file))
    assert all(find_token(token, known) for token in added)
    assert len(known) == 40
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: revoke_token(str(file), "zoe", f"label {number}"), range(40)))
    assert list_tokens(str(file), None) == ()
    assert list(file.parent.glob(TEMPORARY)) == []


def test_a_full_disk_keeps_the_old_file(file: Path) -> None:
    add_token(str(file), "zoe", "laptop")
    before = file.read_bytes()
    with mock.patch("fingerd.plans.whole_files.os.fsync", side_effect=OSError(28, "No space left on device")):
        with pytest.raises(PlanError, match="No space left"):
            add_token(str(file), "zoe", "desk")
    assert file.read_bytes() == before
    assert list(file.parent.glob(TEMPORARY)) == []


def _put_in_place(kind: str, file: Path, target: Path) -> str:
    """Put something in the place of the file; returns what names it."""
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif kind == "hard link":
        file.hardlink_to(target)
        return f"{file} has 2 names (hard links)"
    else:
        to = {"link": str(target), "relative link": target.name, "broken link": "/nowhere/at/all"}[kind]
        file.symlink_to(to)
        return f"{file} is a symbolic link to {to}"
    return f"{file} is not a regular file"


@pytest.mark.parametrize("kind", ["link", "relative link", "broken link", "hard link", "fifo", "directory"])
def test_what_is_in_the_place_of_the_file_stays_and_is_named(kind: str, run: Run, file: Path) -> None:
    target = file.parent / "real"
    target.write_text(Token(b"0" * 32, "zoe", "laptop", "2026-01-01").line)
    message = _put_in_place(kind, file, target)
    before = (file.lstat().st_ino, target.read_bytes())
    for words in (("add", "zoe", "desk"), ("revoke", "zoe", "laptop")):
        done = run("token", *words)
        assert (done.returncode, done.stdout, done.stderr.decode()) == (77, b"", f"fingerd-plan: {message}\n")
    assert (file.lstat().st_ino, target.read_bytes()) == before
    assert list(file.parent.glob(TEMPORARY)) == []


def test_a_lock_that_another_process_keeps_is_74(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may read the directory can hold it."""
    assert run("token", "add", "zoe", "laptop").returncode == 0
    before = file.read_bytes()
    directory = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        done = run("token", "revoke", "zoe", "laptop")
        assert (done.returncode, b"another process holds the lock" in done.stderr) == (74, True)
        assert run("token", "list").returncode == 0
        monkeypatch.setattr("fingerd.plans.directory_locks.LOCK_SECONDS", 0.1)
        with pytest.raises(NotWrittenError, match="another process holds the lock"):
            add_token(str(file), "zoe", "desk")
    finally:
        os.close(directory)
    assert file.read_bytes() == before
    assert run("token", "revoke", "zoe", "laptop").returncode == 0


@pytest.mark.parametrize(("output", "code"), [("full", 74), ("a closed pipe", 141)])
def test_a_token_that_cannot_be_printed_is_taken_back(
    output: str, code: int, run: Run, config: Path, file: Path
) -> None:
    assert run("token", "add", "zoe", "laptop").returncode == 0
    before = file.read_bytes()
    if output == "full":
        written = os.open("/dev/full", os.O_WRONLY)
    else:
        read, written = os.pipe()
        os.close(read)
    try:
        command = [*PLAN, "-c", str(config), "token", "add", "zoe", "desk"]
        assert subprocess.run(command, stdout=written, stderr=subprocess.PIPE, check=False).returncode == code
    finally:
        os.close(written)
    assert file.read_bytes() == before


@pytest.mark.root
@pytest.mark.parametrize("closed", ["file", "directory"])
@pytest.mark.parametrize("words", [("list",), ("add", "zoe", "desk"), ("revoke", "zoe", "laptop")])
def test_without_the_right_to_read_the_file_it_is_77(
    closed: str, words: tuple[str, ...], config: Path, run: Run, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    config.write_text(config.read_text().replace(str(config.parent / "tokens"), str(own / "tokens")))
    assert run("token", "add", "zoe", "laptop").returncode == 0
    if closed == "directory":
        own.chmod(0o700)
    (own / "tokens").chmod(0o600)
    code = "import os, sys; from fingerd.plans.cli import main; os.setegid(61335); os.seteuid(61335); sys.exit(main())"
    command = [sys.executable, "-c", code, "-c", str(config), "token", *words]
    let_everybody_in(tmp_path)
    let_everybody_in(config.parent)
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (77, b"")
    assert str(own / "tokens").encode() in done.stderr
    assert b"Permission denied" in done.stderr


@pytest.mark.root
def test_root_gives_the_file_to_the_group_of_the_service_and_keeps_another(file: Path) -> None:
    group = mock.Mock(gr_gid=2042)
    with mock.patch.object(grp, "getgrnam", side_effect=lambda name: group if name == GROUP else None):
        add_token(str(file), "zoe", "laptop")
    assert (file.stat().st_uid, file.stat().st_gid) == (0, 2042)
    os.chown(file, 2001, 2002)
    add_token(str(file), "zoe", "desk")
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (2001, 2002, 0o640)


def test_every_digest_is_compared_whatever_is_found() -> None:
    """Nothing but digests is compared, in constant time, and a token that is found first costs as many comparisons."""
    known = [Token(tokens.digest_of(f"fgd_{number}"), "zoe", str(number), "2026-01-01") for number in range(50)]
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    for token in ("fgd_0", "fgd_49", "fgd_50", "", "fgd_\xff" * 100):
        compared.clear()
        with mock.patch.object(tokens, "hmac", mock.Mock(compare_digest=compare)):
            find_token(token, known)
        assert [other for _, other in compared] == [each.digest for each in known]
        assert {one for one, _ in compared} == {hashlib.sha256(token.encode()).digest()}


def test_a_near_miss_takes_as_long_as_a_far_one() -> None:
    """Measured in turn, so that whatever else the machine does slows both down."""
    token = "fgd_" + "a" * 43
    known = [Token(tokens.digest_of(token), "zoe", "laptop", "2026-01-01")] * 20
    near, far = token[:-1] + "b", "fgd_" + "z" * 43
    taken: dict[str, list[int]] = {near: [], far: []}
    for _ in range(2000):
        for guess, times in taken.items():
            begun = time.perf_counter_ns()
            find_token(guess, known)
            times.append(time.perf_counter_ns() - begun)
    quartiles = [statistics.quantiles(times, n=4) for times in taken.values()]
    assert max(low for low, _, _ in quartiles) <= min(high for _, _, high in quartiles), quartiles
