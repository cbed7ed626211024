"""For the tests of backends: what every backend promises, asked of one of them.

Needs no test framework: where a promise is broken, AssertionError says which.
"""

import threading
import time

from fingerd.backends import AnswersAtOnce, Backend, Lookup
from fingerd.errors import BackendError
from fingerd.people import Person

# Names that no backend should know, whatever they would mean as a path, an option, a pattern or a statement.
HOSTILE_NAMES = (
    *("nobody", "Zoë", "日本", "\u202e", "a" * 1024),
    *("-l", "--help", "..", ".", "a/b", "/etc/passwd", "%2e", "a b"),
    *("'; --", '"', "*", "?", "%", "_", "{user}", "{}", "$(id)", "`id`", "\\", "*)(uid=*"),
)
THREADS = 32
TIMEOUT = 60.0  # seconds until threads are taken for stuck


def ask(username: str, seconds: float = 10, by_name: bool = False, verbose: bool = False) -> Lookup:
    """A query of somebody at 192.0.2.1, to be answered within so many seconds."""
    return Lookup(username, verbose, "192.0.2.1", time.monotonic() + seconds, by_name)


def check_backend(backend: Backend, known: str = "") -> None:
    """That it knows nobody of a hostile name; and finds ``known``, once and first, in 32 threads at the same time.

    Also that what it knows at once is the same, and that its list, where it
    keeps one, comes to an end. AssertionError with what is not so; what the
    backend raises goes through.
    """
    hostile = (*HOSTILE_NAMES, f"../{known}", f"./{known}") if known else HOSTILE_NAMES
    for by_name in (False, True):
        for username in hostile:
            found = backend.find(ask(username, by_name=by_name))
            _check(not found, f"{username!r} should be nobody, but is {found!r}")
            _check_at_once(backend, username, [], by_name)
        if known:
            logins = [person.login for person in backend.find(ask(known, by_name=by_name))]
            _check(logins[:1] == [known], f"{known} should come first, but there are {logins}")
            _check(logins.count(known) == 1, f"{known} should come once, but there are {logins}")
            _check_at_once(backend, known, logins, by_name)
    _check_list(backend)
    if known:
        _check_threads(backend, known)


def _check_at_once(backend: Backend, username: str, expected: list[str], by_name: bool) -> None:
    if isinstance(backend, AnswersAtOnce):
        found = backend.at_once(ask(username, by_name=by_name))
        logins = expected if found is None else [person.login for person in found]
        _check(logins == expected, f"{username!r} should be {expected}, but is {logins} at once")


def _check_list(backend: Backend) -> None:
    people = backend.list_users(ask("", TIMEOUT))
    if people is None:
        return
    for person in people:
        _check(isinstance(person, Person), f"the list should be of people, but has {person!r}")
        _check(bool(person.login) or person.text is not None, f"{person!r} of the list has neither a login nor a text")


def _check_threads(backend: Backend, known: str) -> None:
    wrong: list[str] = []
    done: list[bool] = []

    def work() -> None:
        try:
            for _ in range(5):
                logins = [person.login for person in backend.find(ask(known, TIMEOUT))]
                if logins[:1] != [known]:
                    wrong.append(f"a thread found {logins} for {known}")
            done.append(True)
        except Exception as error:
            wrong.append(f"a thread got {error!r}")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    _check(not wrong, "; ".join(sorted(set(wrong))))
    _check(len(done) == THREADS, f"only {len(done)} of {THREADS} threads came to an end")


def check_failing(backend: Backend) -> None:
    """That one which cannot tell says so by BackendError, whose text is fit for a log, and nothing else."""
    for username in ("bob", "Zoë", "a/b"):
        try:
            found = backend.find(ask(username))
        except BackendError as error:
            _check(bool(str(error)), "a failure should say why")
            _check(" at 0x" not in str(error), f"a failure should be words, and not {error}")
        else:
            raise AssertionError(f"{username} should be a failure, but is {found!r}")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
