"""A server of PostgreSQL, asked through psycopg2 by a deadline.

The server ends a statement by itself. psycopg2, which would wait for a frozen
server without end, waits through :func:`_wait` here; and libpq, which would
look up a name without end, is told the addresses.
"""

import codecs
import functools
import math
import re
import select
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from fingerd.backends.sql.drivers import Driver, due, first_rows, tell
from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.resolver import addresses_of, missing_for_names
from fingerd.net.stream import cause_of, is_address

FIRST_TURN = 0.25  # seconds before the deadline at which a server should give up itself, which keeps the connection
UNTRANSLATABLE = ("22021", "22P05")  # PostgreSQL's codes for characters that the database's charset does not have
SOCKETS = "/run/postgresql"  # where Debian's PostgreSQL has its sockets, and libpq looks for them
# Options of libpq that name files, which it reads when it connects.
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
PYTHON = ("async", "async_", "connection_factory", "cursor_factory", "dsn")  # options of psycopg2 that are no text


class Postgresql(Driver):
    """A server that is told how long a statement may take, and that nothing is to be written."""

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        if url.get_driver_name() != "psycopg2":
            raise ValueError(f"PostgreSQL is asked by psycopg2: write postgresql://, and not {url.drivername}://")
        for name in PYTHON:
            if name in url.query:
                raise ValueError(f"{name} is no option of libpq")

    def options(self, seconds: float) -> Mapping[str, Any]:
        """How to connect, as far as the address does not say so itself."""
        ours = {
            "application_name": "fingerd",
            "client_encoding": "utf8",
            "connect_timeout": str(max(2, math.ceil(seconds))),
            # A connection that a firewall has forgotten is found out before it is needed.
            "keepalives_idle": "60",
            "keepalives_interval": "10",
            "keepalives_count": "3",
        }
        given = {key: value for key, value in ours.items() if key not in self.url.query}
        return {
            "connect_args": given,
            "use_native_hstore": False,
        }  # for which every connection would begin with a query

    def attach(self, engine: Engine) -> None:
        """Wait here, and look names up here, instead of in libpq, which knows no deadline."""
        module: Any = engine.dialect.dbapi
        module.extensions.set_wait_callback(functools.partial(_wait, module.OperationalError))
        event.listen(engine, "do_connect", _connected)
        charset = self.url.query.get("client_encoding", "utf8")
        try:  # as psycopg2 does after connecting, where a jail may have no module for it
            codecs.lookup(module.extensions.encodings[re.sub("[^A-Z0-9]", "", str(charset).upper())])
        except LookupError:
            raise ValueError(f"client_encoding: there is no charset {charset}") from None

    def prepare(self, connection: Connection, seconds: float, streaming: bool) -> None:
        """Tell the server what it has not been told before; rows come one by one in a transaction only."""
        raw: Any = connection.connection.dbapi_connection
        _keep_transactions(raw, False)
        seconds -= min(FIRST_TURN, seconds / 4)
        tell(connection, "SET statement_timeout = {}; SET default_transaction_read_only = on", seconds)
        _keep_transactions(raw, streaming)

    def limited(self, query: str, most: int) -> str:
        """The query inside of another one."""
        return first_rows(query, most)

    def is_untranslatable(self, error: BaseException) -> bool:
        """The server's or the driver's word for it."""
        code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
        return code in UNTRANSLATABLE or super().is_untranslatable(error)

    def missing_requirements(self, root: Path, listing: str | None) -> Iterator[str]:
        """The folder of the server's socket, the way to look up its name, and the files that libpq reads."""
        query = self.url.query
        hosts = query.get("host") or self.url.host or SOCKETS
        for each in (hosts,) if isinstance(hosts, str) else hosts:
            host = each if is_address(each) else re.sub(r":\d*$", "", each)
            if not host.startswith("/"):
                if not is_address(host) and "hostaddr" not in query:
                    yield from missing_for_names(root)
            elif not (root / host.lstrip("/")).is_dir():
                yield f"there is no folder {root / host.lstrip('/')} with the server's socket"
        for name in FILES:
            file = query.get(name)
            if isinstance(file, str) and file != "system" and not (root / file.lstrip("/")).is_file():
                yield f"there is no file {root / file.lstrip('/')} ({name})"
        mode = str(query.get("sslmode", ""))
        if mode.startswith("verify-") and "sslrootcert" not in query and root != Path("/"):
            yield f"sslmode={mode} needs an sslrootcert in {root}: nobody has a home there"


def _keep_transactions(raw: Any, wanted: bool) -> None:
    """Whether statements are in transactions. Not set anew where it is so: that lets other threads take over."""
    if raw.autocommit is wanted:
        raw.autocommit = not wanted


def _wait(failure: type[Exception], connection: Any) -> None:
    """What psycopg2 waits by: ``failure`` at the deadline, upon which it closes the connection."""
    try:
        while state := connection.poll():  # 0 is done, 1 to be read from, 2 to be written to
            left = due.at - time.monotonic()
            ready = select.poll()
            ready.register(connection.fileno(), select.POLLIN if state == 1 else select.POLLOUT)
            if left <= 0 or not ready.poll(None if left == math.inf else math.ceil(left * 1000)):
                raise failure(DEADLINE_PASSED)
    finally:
        del connection  # which would stay open with the traceback that this is a part of


def _connected(dialect: Any, _: object, arguments: Any, options: Mapping[str, Any]) -> Any:
    """A connection of psycopg2, whose hosts have been looked up by the deadline; OSError where there are none.

    libpq goes on to check certificates by their names.
    """
    hosts, ports = (str(options.get(name, "")).split(",") for name in ("host", "port"))
    if hosts == [""] or "hostaddr" in options:
        return dialect.connect(*arguments, **options)
    places: list[tuple[str, str, str]] = []
    failures = []
    for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False):
        try:
            addresses = [""] if not host or host.startswith(("/", "@")) else addresses_of(host, due.at)
            places += [(host, address, port) for address in addresses]
        except OSError as error:
            failures.append(f"{host}: {cause_of(error)}")
    if not places:
        raise OSError("; ".join(failures))
    listed = (",".join(column) for column in zip(*places, strict=True))
    found = {
        name: column for name, column in zip(("host", "hostaddr", "port"), listed, strict=True) if column.strip(",")
    }
    return dialect.connect(*arguments, **{**options, **found})
