"""Files that people write about themselves, attacks included: no file of another user is read, and nothing hangs."""

import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fingerd.backends.system.homes import FILE_ATOMS, Homes
from tests.helpers.daemons import wait_until
from tests.helpers.machines import becoming
from tests.helpers.requirements import need

SECRET = "secret of another user"
UID = 2001  # neither root nor the daemon
OTHER = 2002


class Person:
    """A person with a home and a path below the directory of published plans."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o755)
        self.uid = os.getuid()
        self.home, self.plans = directory / "home", directory / "plans"
        self.own = self.plans / "ann"
        self.home.mkdir()
        self.plans.mkdir()

    def read(self, homes: bool = True, plans: bool = False, limit: int = 1000) -> Mapping[str, str] | None:
        with_plans = str(self.plans) if plans else None
        files = Homes(homes, with_plans, limit).read("ann", self.uid, str(self.home), FILE_ATOMS)
        return None if files is None else {atom: file.content for atom, file in files.items()}

    def chown_all(self) -> None:
        """Give all files to UID, which is not the uid of the tests."""
        self.uid = UID
        for path in (self.home, self.own, *self.home.rglob("*"), *self.own.rglob("*")):
            if os.path.lexists(path):
                os.chown(path, UID, UID, follow_symlinks=False)


@pytest.fixture
def ann() -> Iterator[Person]:
    with tempfile.TemporaryDirectory() as directory:  # pytest's own is closed to other users
        yield Person(Path(directory))


def test_every_file_of_a_home(ann: Person) -> None:
    for name in ("plan", "project", "pgpkey", "pubkey", "pronouns", "forward"):
        (ann.home / f".{name}").write_text(f"my {name}\n")
    (ann.home / ".profile").write_text("not read")
    (ann.home / "plan").write_text("not read")
    texts = ann.read()
    assert texts == {atom: f"my {atom}\n" for atom in ("plan", "project", "pgpkey", "pubkey", "pronouns", "forward")}
    assert Homes(True, None, 1000).read("ann", ann.uid, str(ann.home), ()) == {}


def test_links_are_published_in_a_directory_for_it_alone(ann: Person) -> None:
    """In a home, .links is the directory of a web browser."""
    (ann.home / ".plan").write_text("a plan\n")
    (ann.home / ".links").write_text("me https://ann.example/\n")
    (ann.home / "links").write_text("me https://ann.example/\n")
    ann.own.mkdir()
    assert ann.read(plans=True) == {"plan": "a plan\n"}
    (ann.own / "links").write_text("profile\nme https://ann.example/\n")
    assert ann.read(plans=True) == {"plan": "a plan\n", "links": "profile\nme https://ann.example/\n"}
    ann.home.chmod(0)
    assert ann.read(plans=True, homes=False) == {"links": "profile\nme https://ann.example/\n"}
    ann.home.chmod(0o755)


@pytest.mark.parametrize("when", [0.0, 1.6e9 + 0.5])
def test_a_plan_has_the_time_of_its_file(ann: Person, when: float) -> None:
    """A published one has its own time, not that of the one at home."""
    for path, time in ((ann.home / ".plan", 1.0), (ann.own, when)):
        path.write_text("a plan")
        os.utime(path, (1, time))
    for plans, time in ((None, 1.0), (str(ann.plans), when)):
        files = Homes(True, plans, 1000).read("ann", ann.uid, str(ann.home), ("plan",))
        assert files is not None
        assert files["plan"].changed == time


def test_an_empty_plan_is_a_plan(ann: Person) -> None:  # cfingerd's #33408
    (ann.home / ".plan").touch()
    assert ann.read() == {"plan": ""}


def test_a_long_file_is_cut(ann: Person) -> None:
    (ann.home / ".plan").write_text("line\n" * 1000)
    texts = ann.read(limit=12)
    assert texts == {"plan": "line\nline\n[answer cut]\n"}


@pytest.mark.parametrize("home", ["/absent", "/etc/passwd"])
def test_a_missing_home_hides(home: str) -> None:
    """It may be on a disk that is not mounted, and have a .nofinger."""
    assert Homes(True, None, 1000).read("ann", 0, home, FILE_ATOMS) is None
    assert Homes(False, None, 1000).read("ann", 0, home, FILE_ATOMS) == {}


@pytest.mark.parametrize("home", ["", "relative", "/nonexistent", "/nonexistent/home", "/dev/null", "/var/empty"])
def test_a_home_that_means_no_home_has_no_files_and_does_not_hide(home: str) -> None:
    assert Homes(True, None, 1000).read("ann", 0, home, FILE_ATOMS) == {}


def _empty(path: Path) -> None:
    path.touch()


def _unreadable(path: Path) -> None:
    path.touch(0)


def _broken_link(path: Path) -> None:
    path.symlink_to("absent")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.mkdir()


KINDS: list[Callable[[Path], None]] = [_empty, _unreadable, _broken_link, _fifo, _directory]


@pytest.mark.parametrize("name", ["nofinger", ".nofinger"])
@pytest.mark.parametrize("make", KINDS)
def test_nofinger_of_any_type_hides(ann: Person, make: Callable[[Path], None], name: str) -> None:
    (ann.home / ".plan").write_text("a plan")
    make(ann.home / name)
    assert ann.read() is None
    assert ann.read(plans=True) is None
    assert ann.read(homes=False) == {}
    ann.own.mkdir()
    (ann.own / "plan").write_text("must stay hidden")
    assert ann.read(plans=True) is None
    make(ann.own / name)
    assert ann.read(homes=False, plans=True) is None


def test_a_published_file_or_directory(ann: Person) -> None:
    assert ann.read(homes=False, plans=True) == {}
    (ann.home / ".plan").write_text("at home")
    (ann.home / ".project").write_text("at home")
    ann.own.write_text("published")
    assert ann.read(homes=False, plans=True) == {"plan": "published"}
    assert ann.read(plans=True) == {"plan": "published", "project": "at home"}
    ann.own.unlink()
    ann.own.mkdir()
    assert ann.read(plans=True) == {"plan": "at home", "project": "at home"}
    (ann.own / "plan").write_text("published")
    (ann.own / "pronouns").write_text("she/her")
    assert ann.read(plans=True) == {"plan": "published", "project": "at home", "pronouns": "she/her"}


@pytest.mark.parametrize("login", ["..", ".", "", "a/b", ".hidden", "/etc"])
def test_a_login_is_not_a_path(ann: Person, login: str) -> None:
    (ann.plans / ".hidden").write_text(SECRET)
    (ann.plans.parent / "plan").write_text(SECRET)
    assert Homes(False, str(ann.plans), 1000).read(login, ann.uid, str(ann.home), FILE_ATOMS) == {}


def _give_away(path: Path) -> None:
    """Let a file be another user's."""
    if os.getuid() == 0:
        os.chown(path, OTHER, OTHER)
    else:
        need("root")


@pytest.mark.parametrize("with_plans", [False, True])
@pytest.mark.parametrize("kind", ["link", "relative link", "fifo", "directory", "loop"])
def test_only_regular_files_are_read(ann: Person, tmp_path: Path, kind: str, with_plans: bool) -> None:
    (tmp_path / "secret").write_text(SECRET)
    _give_away(tmp_path / "secret")
    directory, name = (ann.plans, "ann") if with_plans else (ann.home, ".plan")
    path = directory / name
    match kind:
        case "link":
            path.symlink_to(tmp_path / "secret")
        case "relative link":
            path.symlink_to("../secret")
        case "fifo":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(name)
        case _:
            path.mkdir()
    assert ann.read(plans=with_plans) == {}


def test_a_link_below_the_plans_is_not_followed(ann: Person, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "plan").write_text(SECRET)
    ann.own.symlink_to(tmp_path / "theirs")
    assert ann.read(plans=True) == {}


def test_a_file_that_is_swapped_continuously_leaks_nothing(ann: Person, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    _give_away(tmp_path / "secret")
    done = threading.Event()

    def swap() -> None:
        new = ann.home / "new"
        while not done.is_set():
            for make in (
                lambda: new.symlink_to(tmp_path / "secret"),
                lambda: new.write_text("mine"),
                lambda: os.mkfifo(new),
                lambda: new.symlink_to("/dev/zero"),
            ):
                make()
                new.replace(ann.home / ".plan")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        found = [ann.read() for _ in range(3000)]
        wait_until(lambda: ann.read() == {"plan": "mine"})
    finally:
        done.set()
        thread.join()
    texts = {text for atoms in found if atoms is not None for text in atoms.values()}
    assert texts <= {"mine", ""}  # it is empty before it is written to


@pytest.mark.root
@pytest.mark.parametrize("device", [(1, 5), (1, 9), (4, 0), (5, 0)], ids=["zero", "urandom", "tty0", "tty"])
def test_devices_are_not_read(ann: Person, device: tuple[int, int]) -> None:
    need("devices")
    for path in (ann.home / ".plan", ann.own):
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(*device))
    assert ann.read(plans=True) == {}


@pytest.mark.root
def test_files_of_other_users_are_not_read_even_by_root(ann: Person, tmp_path: Path) -> None:
    ann.own.mkdir()
    for path in (ann.home / ".plan", ann.own / "plan"):
        path.write_text(SECRET)
    ann.chown_all()
    assert ann.read(plans=True) == {"plan": SECRET}
    for path in (ann.home / ".plan", ann.own / "plan"):
        os.chown(path, OTHER, OTHER)
    assert ann.read(plans=True) == {}
    for path in (ann.home / ".plan", ann.own / "plan"):  # owned by the administrator
        os.chown(path, 0, 0)
    assert ann.read(plans=True) == {"plan": SECRET}
    for path in (ann.home / ".plan", ann.own / "plan"):  # a secret of the administrator, moved to that name
        path.chmod(0o600)
    assert ann.read(plans=True) == {}


@pytest.mark.root
def test_a_hard_link_to_a_file_of_root_is_not_read_even_by_root(ann: Person, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text(SECRET)
    ann.chown_all()
    os.link(tmp_path / "shadow", ann.home / ".plan")
    assert ann.read() == {}
    os.link(tmp_path / "shadow", ann.own)
    assert ann.read(plans=True) == {}


@pytest.mark.root
def test_a_published_directory_of_another_user_is_ignored(ann: Person) -> None:
    ann.own.mkdir()
    (ann.own / "nofinger").touch()
    ann.chown_all()
    assert ann.read(homes=False, plans=True) is None
    os.chown(ann.own, OTHER, OTHER)
    assert ann.read(homes=False, plans=True) == {}


@pytest.mark.root
def test_a_closed_home_hides_a_person_without_published_files(ann: Person) -> None:  # Debian's #64915
    (ann.home / ".plan").write_text("a plan")
    ann.own.mkdir()
    ann.chown_all()
    ann.home.chmod(0o711)
    with becoming("nobody"):
        assert ann.read() == {"plan": "a plan"}
    ann.home.chmod(0o700)
    with becoming("nobody"):
        assert ann.read() is None
        assert ann.read(plans=True) is None  # the administrator may have made the empty directory
        assert ann.read(homes=False) == {}
    (ann.own / "pronouns").write_text("they/them")
    ann.chown_all()
    with becoming("nobody"):
        assert ann.read() is None
        assert ann.read(plans=True) == {"pronouns": "they/them"}
    ann.home.parent.chmod(0o700)
    with becoming("nobody"):
        assert ann.read() is None


@pytest.mark.root
def test_a_published_directory_that_cannot_be_searched_hides(ann: Person) -> None:
    ann.own.mkdir()
    (ann.own / "plan").write_text("a plan")
    ann.chown_all()
    for closed in (ann.own, ann.plans):
        closed.chmod(0o700)
        with becoming("nobody"):
            assert ann.read(homes=False, plans=True) is None
        closed.chmod(0o755)


@pytest.mark.root
def test_files_without_read_permission_are_ignored(ann: Person) -> None:
    (ann.home / ".plan").write_text("private")
    (ann.home / ".plan").chmod(0o600)
    (ann.home / ".project").write_text("public")
    ann.chown_all()
    with becoming("nobody"):
        assert ann.read() == {"project": "public"}


LINKS: dict[str, Callable[[Person], None]] = {
    "into a directory of the home": lambda ann: (ann.home / ".plan").symlink_to("dotfiles/plan"),
    "absolute": lambda ann: (ann.home / ".plan").symlink_to(ann.home / "dotfiles" / "plan"),
    "through a directory that is a link": lambda ann: _through(ann.home),
    "out of the home": lambda ann: (ann.home / ".plan").symlink_to(_beside(ann) / "plan"),
    "to a link": lambda ann: _chained(ann.home),
}


def _through(home: Path) -> None:
    (home / "config").symlink_to("dotfiles")
    (home / ".plan").symlink_to("config/plan")


def _beside(ann: Person) -> Path:
    directory = ann.home.parent / "data"
    directory.mkdir()
    (directory / "plan").write_text("my plan\n")
    if os.getuid() == 0:
        os.chown(directory / "plan", UID, UID)
    return directory


def _chained(home: Path) -> None:
    (home / "second").symlink_to("dotfiles/plan")
    (home / ".plan").symlink_to("second")


@pytest.mark.root
@pytest.mark.parametrize("make", LINKS.values(), ids=LINKS)
def test_a_link_in_a_home_to_the_person_s_own_file_is_followed(ann: Person, make: Callable[[Person], None]) -> None:
    (ann.home / "dotfiles").mkdir()
    (ann.home / "dotfiles" / "plan").write_text("my plan\n")
    make(ann)
    ann.chown_all()
    assert ann.read() == {"plan": "my plan\n"}
    with becoming("nobody"):
        assert ann.read() == {"plan": "my plan\n"}
    assert ann.read(limit=3) == {"plan": "my \n[answer cut]\n"}


def test_every_file_of_a_home_may_be_a_link(ann: Person) -> None:
    (ann.home / "dotfiles").mkdir()
    for atom in FILE_ATOMS:
        (ann.home / "dotfiles" / atom).write_text(f"my {atom}\n")
        (ann.home / f".{atom}").symlink_to(f"dotfiles/{atom}")
    assert ann.read() == {atom: f"my {atom}\n" for atom in FILE_ATOMS if atom != "links"}
    (ann.home / "dotfiles" / "plan").write_text("")
    assert (ann.read() or {})["plan"] == ""


@pytest.mark.root
@pytest.mark.parametrize("owner", [0, OTHER], ids=["root", "another user"])
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_link_to_a_file_of_somebody_else_is_not_followed_even_by_root(ann: Person, owner: int, mode: int) -> None:
    secret = ann.home / "secret"
    secret.write_text(SECRET)
    secret.chmod(mode)
    (ann.home / ".plan").symlink_to("secret")
    ann.chown_all()
    os.chown(secret, owner, owner)
    assert ann.read() == {}


@pytest.mark.root
def test_a_link_to_a_file_that_the_daemon_may_not_read_is_not_followed(ann: Person) -> None:
    (ann.home / "closed").mkdir(0o700)
    (ann.home / "closed" / "plan").write_text("mine")
    (ann.home / "private").write_text("mine")
    (ann.home / "private").chmod(0o600)
    (ann.home / ".plan").symlink_to("closed/plan")
    (ann.home / ".project").symlink_to("private")
    ann.chown_all()
    with becoming("nobody"):
        assert ann.read() == {}


@pytest.mark.root
@pytest.mark.parametrize(
    ("kind", "number"),
    [(stat.S_IFCHR, (1, 5)), (stat.S_IFCHR, (4, 0)), (stat.S_IFCHR, (10, 130)), (stat.S_IFIFO, (0, 0))],
    ids=["zero", "tty0", "watchdog", "FIFO"],
)
def test_a_link_to_a_device_or_a_fifo_opens_nothing(ann: Person, kind: int, number: tuple[int, int]) -> None:
    need("devices")
    os.mknod(ann.home / "odd", 0o666 | kind, os.makedev(*number))
    (ann.home / ".plan").symlink_to("odd")
    ann.chown_all()
    assert ann.read() == {}


def test_a_link_to_a_directory_a_loop_or_nothing_is_no_file(ann: Person) -> None:
    (ann.home / "directory").mkdir()
    (ann.home / ".plan").symlink_to("directory")
    (ann.home / ".project").symlink_to("absent")
    (ann.home / ".pubkey").symlink_to(".pgpkey")
    (ann.home / ".pgpkey").symlink_to(".pubkey")
    assert ann.read() == {}


def test_a_file_of_a_process_of_the_person_is_not_read(ann: Person) -> None:
    """It belongs to the person, but tells root more than the person, as /proc/PID/pagemap does."""
    for atom, name in (("plan", "environ"), ("project", "mem"), ("pgpkey", "pagemap"), ("pubkey", "stack")):
        (ann.home / f".{atom}").symlink_to(f"/proc/{os.getpid()}/{name}")
    assert set((ann.read() or {}).values()) <= {""}


@pytest.mark.root
def test_without_proc_no_link_is_followed(ann: Person) -> None:
    (ann.home / "mine").write_text("my plan")
    (ann.home / ".plan").symlink_to("mine")
    (ann.home / ".project").write_text("my project")
    ann.chown_all()
    script = (
        "import os\nfrom fingerd.backends.system.homes import Homes\n"
        f"homes = Homes(True, None, 1000)\nos.chroot({str(ann.home.parent)!r})\n"
        f"print({{atom: file[0] for atom, file in homes.read('ann', {UID}, '/home', ('plan', 'project')).items()}})"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "{'project': 'my project'}\n"


def test_a_published_file_may_not_be_a_link(ann: Person) -> None:
    (ann.home / "mine").write_text("my plan")
    ann.own.mkdir()
    (ann.own / "plan").symlink_to(ann.home / "mine")
    assert ann.read(homes=False, plans=True) == {}
