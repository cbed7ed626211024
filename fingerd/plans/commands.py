"""What each command does. Those that change a text take its bytes; where these come from is the caller's business."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from fingerd.backends import close_backend
from fingerd.daemon.output import print_error, print_result
from fingerd.daemon.privileges import Identity, drop_privileges
from fingerd.net.addresses import UNIX, parse_address
from fingerd.plans import store
from fingerd.plans.configuration import PlanConfig
from fingerd.plans.errors import UsageError
from fingerd.plans.places import Entry, check_name, open_entry
from fingerd.plans.store import PLAN
from fingerd.plans.texts import max_input
from fingerd.ruip.ruip import AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.text import UNSAFE, UNSAFE_UNCOLORED, end_colors

STRANGER = "192.0.2.1"  # an address that is nobody's (RFC 5737)


@dataclass(frozen=True, slots=True)
class Person:
    """Whose files are meant, by which configuration."""

    config: PlanConfig
    name: str

    @property
    def colors(self) -> bool:
        """Whether the daemon lets colors pass."""
        return self.config.settings.reply.colors


def set_plan(person: Person, read: Callable[[int], bytes]) -> None:
    """Replace the plan by what is read; ``read`` takes how many bytes are enough."""
    with open_entry(person.config, person.name) as entry:
        store.replace(entry, PLAN, read(max_input(entry.max_bytes)), colors=person.colors)
        warn_if_closed(entry)


def clear(person: Person) -> None:
    """Remove the plan."""
    remove(person, PLAN)


def show(person: Person, field: str = PLAN) -> None:
    """Print a field as it is stored; to a terminal without its control characters."""
    with open_entry(person.config, person.name) as entry:
        data = store.read(entry, field).data or b""
    print_result(_for_terminal(data, colors=person.colors) if sys.stdout.isatty() else data)


def put(person: Person, field: str, text: str) -> None:
    """Make the text, as one line, the content of a field."""
    data = os.fsencode(text)
    with open_entry(person.config, person.name) as entry:
        store.replace(entry, field, data if data.endswith(b"\n") else data + b"\n", colors=person.colors)
        warn_if_closed(entry)


def remove(person: Person, field: str) -> None:
    """Remove a field."""
    with open_entry(person.config, person.name) as entry:
        store.remove(entry, field)


def hide(person: Person) -> None:
    """Have the daemon know no such person."""
    with open_entry(person.config, person.name) as entry:
        store.hide(entry)


def unhide(person: Person) -> None:
    """Undo ``hide``."""
    with open_entry(person.config, person.name) as entry:
        store.unhide(entry)
        warn_if_closed(entry)


def preview(person: Person, client: str = STRANGER) -> None:
    """Print what a client at this address is told of the person. Root becomes the daemon's user first."""
    try:
        client = client if client == UNIX else str(parse_address(client))
    except ValueError:
        raise UsageError(f"--from: {client} is neither an IP address nor {UNIX}") from None
    name, settings = check_name(person.name), person.config.settings
    with open_entry(person.config, name) as entry:
        warn_if_closed(entry)
    if os.geteuid() == 0:
        drop_privileges(Identity.of(settings.process))
    context = AnswerContext(client, time.monotonic() + settings.limits.answer_seconds, time.time())
    reply = ActiveConfig(settings).ruip.answer_line(f"{name}\n".encode(), context).reply
    close_backend(settings.backend)
    print_result(reply)


def warn_if_closed(entry: Entry) -> None:
    """Print a warning if the daemon, which is another user, cannot enter the directory of the person."""
    if not (place := entry.places[0]).is_public:
        what = f"other users, and so the finger daemon, may not enter {place.path}: it knows no {entry.login}"
        print_error(f"fingerd-plan: warning: {what} (chmod o+x {place.path} lets them)")


def _for_terminal(data: bytes, *, colors: bool) -> bytes:
    text = data.decode(errors="replace")
    return end_colors((UNSAFE_UNCOLORED if colors else UNSAFE).sub("?", text)).encode()
