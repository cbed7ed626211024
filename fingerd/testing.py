"""What every backend must do, for the tests of a backend, in any test framework: AssertionError says what is wrong."""

import threading
import time

from fingerd.backends import Backend, BackendError, Lookup, Person

# Unknown to every backend, even those that have a meaning as a path, an option, a pattern or a statement.
HOSTILE_NAMES = (
    *("nobody", "Zoë", "日本", "\u202e", "a" * 1024),
    *("-l", "--help", "..", ".", "a/b", "/etc/passwd", "%2e", "a b"),
    *("'; --", '"', "*", "?", "%", "_", "{user}", "{}", "$(id)", "`id`", "\\", "*)(uid=*"),
)
THREADS = 32
TIMEOUT = 60.0  # seconds until a thread counts as stuck


def make_lookup(username: str, seconds: float = 10, by_name: bool = False, verbose: bool = False) -> Lookup:
    """A lookup for a client at 192.0.2.1, with its deadline in so many seconds."""
    return Lookup(username, verbose, "192.0.2.1", time.monotonic() + seconds, by_name)


def check_backend(backend: Backend, known: str = "") -> None:
    """Check that hostile names are unknown and, if ``known`` is given, that this user is found once and first.

    That is checked in 32 threads at the same time too. The user list, if there is one, is read to its end; that of a
    backend that does not block has no more people than ``people_count`` says. No session may be idle for longer than
    it lasts. Raises AssertionError with what is wrong, and whatever the backend raises.
    """
    hostile = (*HOSTILE_NAMES, f"../{known}", f"./{known}") if known else HOSTILE_NAMES
    for by_name in (False, True):
        for username in hostile:
            found = backend.find(make_lookup(username, by_name=by_name))
            _check(not found, f"{username!r} must be unknown, but is {found!r}")
        if known:
            found = backend.find(make_lookup(known, by_name=by_name))
            logins = [person.login for person in found]
            _check(logins[:1] == [known], f"{known} must be found first, but the result is {logins}")
            _check(logins.count(known) == 1, f"{known} must be found once, but the result is {logins}")
            for person in found:
                _check_sessions(person)
    listed = 0
    for person in backend.list_users(make_lookup("", TIMEOUT)) or ():
        listed += 1
        _check(isinstance(person, Person), f"the list must consist of people, but has {person!r}")
        _check(bool(person.login) or person.text is not None, f"{person!r} in the list has neither a login nor a text")
        _check_sessions(person)
    count = backend.people_count
    is_counted = bool(count) and not backend.blocking
    _check(not is_counted or listed <= count, f"the list has {listed} people, but people_count is {count}")
    if known:
        _check_threads(backend, known)


def _check_sessions(person: Person) -> None:
    for session in person.sessions or ():
        if session.since is not None and session.idle is not None:
            lasts = max(time.time() - session.since, 0)
            message = f"{person.login} is idle for {session.idle:.0f} s in a session of {lasts:.0f} s"
            _check(session.idle <= lasts + 1, message)


def _check_threads(backend: Backend, known: str) -> None:
    wrong: list[str] = []

    def work() -> None:
        try:
            for _ in range(5):
                logins = [person.login for person in backend.find(make_lookup(known, TIMEOUT))]
                if logins[:1] != [known]:
                    wrong.append(f"a thread found {logins} for {known}")
        except BaseException as error:  # whatever ends the thread
            wrong.append(f"a thread raised {error!r}")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    _check(not wrong, "; ".join(sorted(set(wrong))))
    finished = sum(not thread.is_alive() for thread in threads)
    _check(finished == THREADS, f"only {finished} of {THREADS} threads finished")


def check_failing(backend: Backend) -> None:
    """Check that a backend whose source is broken raises BackendError, with a message for the log, and nothing else."""
    for username in ("bob", "Zoë", "a/b"):
        try:
            found = backend.find(make_lookup(username))
        except BackendError as error:
            _check(bool(str(error)), "a failure must state its cause")
            _check(" at 0x" not in str(error), f"a failure must be in words, but is {error}")
        else:
            raise AssertionError(f"{username} must be a failure, but is {found!r}")


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
