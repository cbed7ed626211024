"""Reading and changing the files of people in a directory, and all that may be in the place of a file."""

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fingerd.backends import Lookup
from fingerd.people import NOFINGER, TEXT_ATOMS
from fingerd.plans import store
from fingerd.plans.configuration import PlanConfig, read_plan_config
from fingerd.plans.errors import (
    ChangedError,
    NotAllowedError,
    NotWrittenError,
    PlanError,
    TextError,
    UnknownPersonError,
    UsageError,
)
from fingerd.plans.places import open_entry
from tests.plans.conftest import Run, left_behind


class Files:
    """The functions of the store, each with an entry of its own."""

    def __init__(self, config: PlanConfig) -> None:
        self._config = config

    def read(self, name: str, field: str = "plan") -> bytes | None:
        with open_entry(self._config, name) as entry:
            return store.read(entry, field).data

    def version(self, name: str, field: str = "plan") -> str:
        with open_entry(self._config, name) as entry:
            return store.read(entry, field).version

    def replace(self, name: str, data: bytes, field: str = "plan", expected: str | None = None) -> None:
        with open_entry(self._config, name) as entry:
            store.replace(entry, field, data, colors=False, expected=expected)

    def remove(self, name: str, field: str = "plan", expected: str | None = None) -> None:
        with open_entry(self._config, name) as entry:
            store.remove(entry, field, expected)

    def hide(self, name: str) -> None:
        with open_entry(self._config, name) as entry:
            store.hide(entry)

    def unhide(self, name: str) -> None:
        with open_entry(self._config, name) as entry:
            store.unhide(entry)


@pytest.fixture
def files(config: Path) -> Files:
    return Files(read_plan_config(str(config)))


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, as whoever may read it can."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_shown(people: Path, name: str) -> bool:
    """Whether the daemon's own code finds the person."""
    config = read_plan_config(str(people.parent / "fingerd.yaml"))
    return bool(config.backend.find(Lookup(name, True, "192.0.2.1", float("inf"))))


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_a_plan_is_replaced_read_and_cleared(name: str, files: Files, people: Path) -> None:
    files.replace(name, b"new\n")
    assert files.read(name) == b"new\n"
    files.remove(name)
    assert not files.read(name)
    assert is_shown(people, name)
    files.replace(name, b"again\n")
    assert files.read(name) == b"again\n"
    assert left_behind(people) == []


def test_all_fields_that_the_daemon_reads_are_put_and_removed(files: Files, people: Path) -> None:
    for field in TEXT_ATOMS:
        text = b"me https://example.org/\n" if field == "links" else f"{field} of zoe\n".encode()
        files.replace("zoe", text, field)
        assert (people / "zoe" / field).read_bytes() == text
        files.remove("zoe", field)
        assert files.read("zoe", field) is None
        files.remove("zoe", field)  # there is nothing to do


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_a_file_has_mode_0644_whatever_the_umask(umask: int, files: Files, people: Path) -> None:
    before = os.umask(umask)
    try:
        files.replace("zoe", b"new\n")
        files.hide("zoe")
        files.hide("quill")
    finally:
        os.umask(before)
    for path in (people / "zoe" / "plan", people / "zoe" / "nofinger", people / "quill" / "nofinger"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE((people / "quill").stat().st_mode) == 0o755


@pytest.mark.root
def test_what_root_writes_belongs_to_the_owner_of_the_directory(files: Files, people: Path) -> None:
    os.chown(people / "zoe", 2001, 2002)
    os.chown(people, 2003, 2004)
    files.replace("zoe", b"new\n")
    files.hide("zoe")
    files.replace("quill", b"new\n")
    files.hide("quill")
    for path, owner in {
        "zoe/plan": (2001, 2002),
        "zoe/nofinger": (2001, 2002),
        "quill.txt": (2003, 2004),
        "quill": (2003, 2004),
        "quill/nofinger": (2003, 2004),
    }.items():
        status = (people / path).stat()
        assert (status.st_uid, status.st_gid) == owner, path


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_a_person_is_hidden_and_shown_again(name: str, files: Files, people: Path) -> None:
    plan = files.read(name)
    for _ in range(2):
        files.hide(name)
        assert not is_shown(people, name)
    assert files.read(name) == plan
    files.replace(name, b"while hidden\n")
    assert not is_shown(people, name)
    for _ in range(2):
        files.unhide(name)
        assert is_shown(people, name)
    assert files.read(name) == b"while hidden\n"
    assert left_behind(people) == []
    assert (people / "quill.txt").exists()
    assert not (people / "quill").exists()


@pytest.mark.parametrize("name", NOFINGER)
def test_unhide_removes_each_name_of_the_file(name: str, files: Files, people: Path) -> None:
    (people / "zoe" / name).touch()
    (people / "quill").mkdir()
    (people / "quill" / name).touch()
    for person in ("zoe", "quill"):
        assert not is_shown(people, person)
        files.unhide(person)
        assert is_shown(people, person)


def test_a_directory_counts_before_a_file(files: Files, people: Path) -> None:
    (people / "zoe.txt").write_text("not read\n")
    files.replace("zoe", b"new\n")
    assert (people / "zoe" / "plan").read_bytes() == b"new\n"
    assert (people / "zoe.txt").read_text() == "not read\n"


def test_a_person_who_is_one_file_has_a_plan_only(files: Files) -> None:
    with pytest.raises(UsageError, match=r"quill\.txt is a plan, and has no others"):
        files.replace("quill", b"x", "project")


def test_another_spelling_of_a_name_is_the_same_person(files: Files, people: Path) -> None:
    (people / "zoe\u0308").mkdir()  # as a Mac may have written it
    files.replace("zo\u00eb", b"new\n")
    files.replace("zoe\u0308", b"newer\n")
    assert (people / "zoe\u0308" / "plan").read_bytes() == b"newer\n"
    assert not (people / "zo\u00eb").exists()


NAMES = ["", ".", "..", "/", "../zoe", "zoe/", "zoe/plan", "/etc/passwd", ".zoe", "zoe\0", "\0", "x" * 252, "\udcff"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_be_a_file_s_is_a_usage_error(name: str, files: Files) -> None:
    for change in (files.read, files.hide, files.unhide, files.remove):
        with pytest.raises(UsageError):
            change(name)
    with pytest.raises(UsageError):
        files.replace(name, b"x")


@pytest.mark.parametrize("name", ["nobody", "zoe.txt", "Zoe", "-zoe", "--", "plan", "x" * 251, "zoe\n", "*", "$(id)"])
def test_nobody_is_created(name: str, files: Files, people: Path) -> None:
    before = sorted(people.rglob("*"))
    for change in (files.read, files.hide, files.unhide, files.remove):
        with pytest.raises(UnknownPersonError):
            change(name)
    with pytest.raises(UnknownPersonError):
        files.replace(name, b"x")
    assert sorted(people.rglob("*")) == before


SECRET = b"secret\n"


def _link(path: Path) -> None:
    path.symlink_to("../../secret")


def _broken_link(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def _hard_link(path: Path) -> None:
    path.hardlink_to(path.parents[1 if path.suffix else 2] / "secret")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.mkdir()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket has to be short
        listener.bind(path.name)
        os.chdir(here)


WRONG: dict[Callable[[Path], None], str] = {
    _link: r"is a symbolic link to \.\./\.\./secret",
    _broken_link: "is a symbolic link to /nowhere/at/all",
    _hard_link: r"has 2 names \(hard links\)",
    _fifo: "is not a regular file",
    _directory: "is not a regular file",
    _socket: "is not a regular file",
}


@pytest.mark.parametrize(("make", "message"), WRONG.items(), ids=lambda part: getattr(part, "__name__", ""))
@pytest.mark.parametrize("person", ["zoe", "quill"])
def test_what_is_in_the_place_of_a_file_stays_and_is_named(
    make: Callable[[Path], None], message: str, person: str, files: Files, people: Path
) -> None:
    secret = people.parent / "secret"
    secret.write_bytes(SECRET)
    path = people / ("zoe/plan" if person == "zoe" else "quill.txt")
    path.unlink()
    make(path)
    before = path.lstat()
    for change in (files.read, files.remove, lambda name: files.replace(name, b"new\n")):
        with pytest.raises(NotAllowedError, match=f"^{path} {message}"):
            change(person)
    after = path.lstat()
    assert (before.st_ino, before.st_mode, before.st_mtime) == (after.st_ino, after.st_mode, after.st_mtime)
    assert secret.read_bytes() == SECRET
    assert left_behind(people) == []


@pytest.mark.parametrize("make", [_link, _broken_link, _hard_link, _fifo, _directory])
def test_what_hides_and_is_no_file_of_the_person_is_not_removed(
    make: Callable[[Path], None], files: Files, people: Path
) -> None:
    (people.parent / "secret").write_bytes(SECRET)
    make(people / "zoe" / "nofinger")
    files.hide("zoe")  # they are hidden
    with pytest.raises(NotAllowedError, match="/zoe/nofinger "):
        files.unhide("zoe")
    assert not is_shown(people, "zoe")


def test_a_link_in_the_place_of_a_directory_is_not_followed(files: Files, people: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (people / "zoe").rename(other)
    (people / "zoe").symlink_to(other)
    for change in (files.read, files.hide, files.unhide, files.remove, lambda name: files.replace(name, b"new\n")):
        with pytest.raises(NotAllowedError, match=f"/people/zoe is a symbolic link to {other}"):
            change("zoe")
    assert sorted(path.name for path in other.iterdir()) == ["plan"]
    (people / "quill").symlink_to(other)  # a link beside the person's file
    with pytest.raises(NotAllowedError, match=f"/people/quill is a symbolic link to {other}"):
        files.hide("quill")


def test_a_link_that_is_made_while_the_file_is_written_is_replaced_itself(files: Files, people: Path) -> None:
    """Whoever wins: nothing is ever written through a link."""
    secret, plan = people.parent / "secret", people / "zoe" / "plan"
    secret.write_bytes(SECRET)
    original = os.fsync

    def swap(descriptor: int) -> None:
        original(descriptor)
        if not plan.is_symlink():
            plan.unlink()
            plan.symlink_to(secret)
            os.fsync = original

    os.fsync = swap  # type: ignore[assignment]
    try:
        files.replace("zoe", b"new\n")
    finally:
        os.fsync = original
    assert secret.read_bytes() == SECRET
    assert not plan.is_symlink()
    assert plan.read_bytes() == b"new\n"


def test_a_change_is_made_only_to_the_version_that_was_read(files: Files) -> None:
    first = files.version("zoe")
    files.replace("zoe", b"second\n", expected=first)
    with pytest.raises(ChangedError):
        files.replace("zoe", b"third\n", expected=first)
    with pytest.raises(ChangedError):
        files.remove("zoe", expected=first)
    assert files.read("zoe") == b"second\n"
    files.remove("zoe", expected=files.version("zoe"))
    assert files.version("zoe") == ""
    with pytest.raises(ChangedError):
        files.replace("zoe", b"third\n", expected=first)
    files.replace("zoe", b"third\n", expected="")


def test_a_refused_text_leaves_the_old_one(files: Files, people: Path) -> None:
    for data in (b"\xff", b"\a", b"x" * 70_000):
        with pytest.raises(TextError):
            files.replace("zoe", data)
    assert files.read("zoe") == b"old\n"
    assert left_behind(people) == []


@pytest.mark.root
@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_without_the_right_to_write_nothing_changes(name: str, files: Files, people: Path) -> None:
    for parent in (people, *people.parents):
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o755)
    os.seteuid(2001)
    try:
        assert files.read(name)
        for change in (files.hide, files.remove, lambda name: files.replace(name, b"new\n")):
            with pytest.raises(NotAllowedError, match=r"cannot write .*: Permission denied"):
                change(name)
    finally:
        os.seteuid(0)
    assert left_behind(people) == []
    assert is_shown(people, name)


def test_files_of_a_killed_process_are_removed_and_those_of_a_running_one_are_not(files: Files, people: Path) -> None:
    own = people / "zoe"
    for name in (".fingerd-plan-0123456789abcdef", ".fingerd-plan-in-use"):
        (own / name).write_text("half a")
    (own / ".fingerd-plan-directory").mkdir()
    (own / ".fingerd-plan-directory" / "nofinger").touch()
    (own / ".other").touch()
    with (own / ".fingerd-plan-in-use").open() as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        files.replace("zoe", b"new\n")
        assert [path.name for path in left_behind(people)] == [".fingerd-plan-in-use"]
    files.replace("zoe", b"new\n")
    assert left_behind(people) == []
    assert (own / ".other").exists()


def test_a_temporary_file_that_another_process_has_removed_is_written_again(files: Files, people: Path) -> None:
    original = os.fsync
    removed: list[Path] = []

    def remove(descriptor: int) -> None:
        original(descriptor)
        if len(removed) < 3:
            (temporary,) = left_behind(people)
            temporary.unlink()
            removed.append(temporary)

    os.fsync = remove  # type: ignore[assignment]
    try:
        files.replace("zoe", b"new\n")
    finally:
        os.fsync = original
    assert len(set(removed)) == 3
    assert files.read("zoe") == b"new\n"


@pytest.mark.parametrize("make", [_link, _fifo, _hard_link])
def test_what_somebody_calls_like_a_temporary_file_is_not_waited_for_or_followed(
    make: Callable[[Path], None], files: Files, people: Path
) -> None:
    secret = people.parent / "secret"
    secret.write_bytes(SECRET)
    make(people / "zoe" / ".fingerd-plan-0")
    files.replace("zoe", b"new\n")
    assert files.read("zoe") == b"new\n"
    assert secret.read_bytes() == SECRET


def test_every_error_has_an_exit_code_of_the_manual() -> None:
    kinds = [PlanError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {kind.exit_code for kind in kinds} == {64, 65, 70, 74, 77}


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_a_lock_that_others_keep_is_not_waited_for_without_end(
    name: str, files: Files, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fingerd.plans.directory_locks.LOCK_SECONDS", 0.1)
    plan, version = files.read(name), files.version(name)
    with locked(people / "zoe" if name == "zoe" else people):
        for expected in (None, version):
            with pytest.raises(NotWrittenError, match="another process holds the lock"):
                files.replace(name, b"new\n", expected=expected)
            with pytest.raises(NotWrittenError, match="another process holds the lock"):
                files.remove(name, expected=expected)
    assert files.read(name) == plan
    assert left_behind(people) == []
    files.replace(name, b"new\n", expected=version)


def test_the_exit_code_for_a_lock_that_another_process_keeps(run: Run, people: Path) -> None:
    with locked(people / "zoe"):
        done = run("--as", "zoe", "set", given=b"new\n")
    assert (done.returncode, b"another process holds the lock" in done.stderr) == (74, True)
    assert (people / "zoe" / "plan").read_text() == "old\n"


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_of_those_who_change_one_version_one_succeeds(name: str, config: Path, files: Files, people: Path) -> None:
    """Replacing and removing, by eight threads with descriptors of their own, as processes have them."""
    known = read_plan_config(str(config))

    def change(number: int) -> bool:
        with open_entry(known, name) as entry:
            try:
                if number % 4:
                    store.replace(entry, "plan", f"{number}\n".encode(), colors=False, expected=version)
                else:
                    store.remove(entry, "plan", version)
            except ChangedError:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for turn in range(20):
            files.replace(name, f"base {turn}\n".encode())
            version = files.version(name)
            assert sum(pool.map(change, range(8))) == 1
