"""Files that other users control: what is read, what is refused, and what counts as missing."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.safe_files import (
    Dated,
    UnsafeFileError,
    decode_file,
    entry_exists,
    is_own_file,
    is_safe_name,
    open_directory,
    read_named,
    read_regular,
    writable_by_others,
)
from tests.helpers.machines import becoming

OTHER = 1234


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """A descriptor of ``tmp_path``."""
    descriptor = open_directory(str(tmp_path))
    assert descriptor is not None
    yield descriptor
    os.close(descriptor)


def text_of(path: str, directory: int, limit: int = 100, owner: int | None = None) -> str:
    """The text of a file that is there."""
    file = read_regular(path, directory, limit, owner)
    assert file is not None
    return file.content


@pytest.mark.parametrize("name", ["ann", "Zoë", "a b", "-l", "*", "ann.example", "%2e%2e", "~root", "a" * 300])
def test_safe_names(name: str) -> None:
    assert is_safe_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "/etc", "a/b", "a/", "a\0b"])
def test_unsafe_names(name: str) -> None:
    assert not is_safe_name(name)


@pytest.mark.parametrize("name", ["absent", "file", "file/below", "loop", "a" * 300, "\ud800", "a\0b"])
def test_a_missing_directory_is_none(tmp_path: Path, directory: int, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert open_directory(name, directory) is None


def test_a_symbolic_link_to_a_directory_is_followed_only_without_dir_fd(tmp_path: Path, directory: int) -> None:
    (tmp_path / "link").symlink_to("/")
    assert open_directory("link", directory) is None
    root = open_directory(str(tmp_path / "link"))
    assert root is not None
    assert os.path.samestat(os.fstat(root), os.stat("/"))
    os.close(root)


@pytest.mark.root
def test_listing_needs_read_permission_and_opening_a_known_name_does_not(tmp_path: Path, directory: int) -> None:
    tmp_path.chmod(0o711)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".plan").write_text("a plan")
    (tmp_path / "home").chmod(0o711)
    with becoming("nobody"):
        with pytest.raises(UnsafeFileError, match=r"^home: Permission denied$"):
            open_directory("home", directory)
        home = open_directory("home", directory, for_listing=False)
        assert home is not None
        assert text_of(".plan", home) == "a plan"
        assert entry_exists(".plan", home) is True
    (tmp_path / "home").chmod(0o700)
    with becoming("nobody"):
        assert entry_exists(".plan", home) is None
        assert entry_exists("absent", home) is None
    os.close(home)


def test_an_entry_exists_whatever_its_type(tmp_path: Path, directory: int) -> None:
    (tmp_path / "file").touch(0)
    (tmp_path / "broken link").symlink_to("absent")
    os.mkfifo(tmp_path / "fifo")
    assert [entry_exists(name, directory) for name in ("file", "broken link", "fifo")] == [True] * 3
    assert entry_exists("absent", directory) is False


@pytest.mark.parametrize("name", ["absent", "file/below", "a" * 300, "\ud800", "a\0b"])
def test_a_missing_file_is_none(tmp_path: Path, directory: int, name: str) -> None:
    (tmp_path / "file").touch()
    assert read_regular(name, directory, 100) is None
    assert not is_own_file(name, directory, os.getuid())


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "symbolic link": (lambda path: path.symlink_to("/etc/passwd"), "is a symbolic link"),
    "FIFO": (os.mkfifo, "is not a regular file"),
    "directory": (lambda path: path.mkdir(), "is not a regular file"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
def test_only_regular_files_are_read(
    tmp_path: Path, directory: int, make: Callable[[Path], object], reason: str
) -> None:
    make(tmp_path / "ann")
    assert not is_own_file("ann", directory, os.getuid())
    with pytest.raises(UnsafeFileError, match=f"^ann: {reason}$"):
        read_regular("ann", directory, 100)


@pytest.mark.root
@pytest.mark.parametrize(
    ("uid", "mode", "links", "is_read"),
    [
        (2001, 0o600, 1, True),
        (2001, 0o600, 2, True),
        (0, 0o644, 1, True),
        (0, 0o640, 1, False),
        (0, 0o644, 2, False),
        (2002, 0o644, 1, False),
    ],
)
def test_the_owner_is_the_person_or_root_with_a_public_file(
    tmp_path: Path, directory: int, uid: int, mode: int, links: int, is_read: bool
) -> None:
    path = tmp_path / "plan"
    path.write_text("a plan")
    path.chmod(mode)
    os.chown(path, uid, uid)
    for number in range(1, links):
        os.link(path, tmp_path / f"link{number}")
    assert is_own_file("plan", directory, 2001) == (uid != 2002)
    if is_read:
        assert text_of("plan", directory, owner=2001) == "a plan"
    else:
        with pytest.raises(UnsafeFileError, match=r"^plan: belongs to another user$"):
            read_regular("plan", directory, 100, owner=2001)


@pytest.mark.parametrize(
    ("limit", "text"),
    [(18, "one\ntwo\nand three\n"), (17, "one\ntwo\n[answer cut]\n"), (2, "on\n[answer cut]\n")],
)
def test_a_file_beyond_the_limit_is_cut_after_a_whole_line(
    tmp_path: Path, directory: int, limit: int, text: str
) -> None:
    (tmp_path / "plan").write_text("one\ntwo\nand three\n")
    assert text_of("plan", directory, limit) == text


@pytest.mark.parametrize("text", ["", "a plan\n"])
@pytest.mark.parametrize("when", [0.0, 31_536_000.5, 4e9])
def test_the_time_of_a_file_comes_with_its_text(tmp_path: Path, directory: int, text: str, when: float) -> None:
    for name in ("plan", "leads to link"):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1e9, when))
    (tmp_path / "link").symlink_to("leads to link")
    assert read_regular("plan", directory, 100) == Dated(text, when)
    assert read_regular("link", directory, 100, os.getuid(), follow=True) == Dated(text, when)
    assert read_named(str(tmp_path / "link")) == Dated(text.encode(), when)


@pytest.mark.parametrize("size", range(8, 16))
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_cut_splits_no_character(tmp_path: Path, directory: int, charset: str, size: int) -> None:
    (tmp_path / "plan").write_bytes(("日" + "😀" * 20).encode(charset))
    text, cut, end = text_of("plan", directory, size).split("\n")
    assert (text.strip("😀"), cut, end) == ("日", "[answer cut]", "")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("utf-8-sig"), "Grüße"),
        ("Grüße".encode("latin-1"), "Grüße"),
        (b"\xff\xfe" + "Grüße".encode("utf-16-le"), "Grüße"),
        (b"\xfe\xff" + "Grüße".encode("utf-16-be"), "Grüße"),
        (b"\xff\xfea", "ÿþa"),
        (b"", ""),
    ],
)
def test_charsets(data: bytes, text: str) -> None:
    assert decode_file(data) == text


CHANGEABLE: dict[str, tuple[str, int, int, bool, str]] = {  # part, owner, mode; with the file; who may change it
    "nobody": ("a/b", 0, 0o755, True, ""),
    "the file's owner": ("a/b/file", OTHER, 0o644, True, f"uid {OTHER} may change DIR/a/b/file"),
    "the group of the file": ("a/b/file", 0, 0o664, True, f"gid {OTHER} may change DIR/a/b/file"),
    "everybody who may write to the file": ("a/b/file", 0, 0o646, True, "every user may change DIR/a/b/file"),
    "the directory's owner": ("a/b", OTHER, 0o755, True, f"uid {OTHER} may change DIR/a/b"),
    "the owner of a parent": ("a", OTHER, 0o755, True, f"uid {OTHER} may change DIR/a"),
    "the group of a parent": ("a", 0, 0o775, True, f"gid {OTHER} may change DIR/a"),
    "a sticky directory, for what may be missing": ("a/b", 0, 0o1777, True, "every user may change DIR/a/b"),
    "nobody in a sticky parent": ("a", 0, 0o1777, True, ""),
    "nobody who only adds to a directory": ("a/b/file", OTHER, 0o755, False, ""),
    "the parent of a directory": ("a/b", OTHER, 0o755, False, f"uid {OTHER} may change DIR/a/b"),
}


@pytest.mark.root
@pytest.mark.parametrize(("part", "owner", "mode", "itself", "what"), CHANGEABLE.values(), ids=CHANGEABLE)
@pytest.mark.parametrize("linked", [False, True], ids=["", "through a link"])
def test_who_may_change_what_a_path_names(
    part: str, owner: int, mode: int, itself: bool, what: str, linked: bool, tmp_path: Path
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "link").symlink_to("a")
    os.chown(tmp_path / part, owner, OTHER)
    (tmp_path / part).chmod(mode)
    path = tmp_path / ("link" if linked else "a") / "b" / "file"
    found = [message.partition(",")[0] for message in writable_by_others(str(path), itself)]
    expected = what.replace("DIR", str(tmp_path))
    assert [message.replace("/link", "/a") for message in found] == ([expected] if expected else [])


def test_a_missing_path_is_changed_by_nobody(tmp_path: Path) -> None:
    assert list(writable_by_others(str(tmp_path / "none" / "file"))) == []
