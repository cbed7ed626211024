"""PostgreSQL through psycopg2, with a deadline.

The server enforces the statement timeout. psycopg2 would wait for a frozen server without limit, so it waits in
:func:`_wait_callback`. libpq would wait for a name server without limit, so it is given addresses.
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

from fingerd.backends.sql.driver import Driver, current_deadline, set_timeout
from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.resolver import addresses_of, missing_for_names
from fingerd.net.stream import cause_of, is_address

SERVER_HEAD_START = 0.25  # seconds before the deadline at which the server cancels, which keeps the connection usable
UNTRANSLATABLE = ("22021", "22P05")  # SQLSTATEs for a character that the database's charset lacks
SOCKET_DIRECTORY = "/run/postgresql"  # libpq's default on Debian
FILE_OPTIONS = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")  # libpq reads these files when it connects
NOT_LIBPQ = ("async", "async_", "connection_factory", "cursor_factory", "dsn")  # options of psycopg2 itself


class Postgresql(Driver):
    """A server with a timeout for each statement and read-only sessions."""

    supports_limit = True

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        if url.get_driver_name() != "psycopg2":
            raise ValueError(f"PostgreSQL needs psycopg2: write postgresql:// instead of {url.drivername}://")
        if found := [name for name in NOT_LIBPQ if name in url.query]:
            raise ValueError(f"{found[0]} is not a libpq option")

    def engine_options(self, timeout: float) -> Mapping[str, Any]:
        """The libpq options that the URL does not set itself."""
        defaults = {
            "application_name": "fingerd",
            "client_encoding": "utf8",
            "connect_timeout": str(max(2, math.ceil(timeout))),
            # Detects a connection that a firewall has dropped before a query needs it.
            "keepalives_idle": "60",
            "keepalives_interval": "10",
            "keepalives_count": "3",
        }
        connect_args = {name: value for name, value in defaults.items() if name not in self.url.query}
        return {"connect_args": connect_args, "use_native_hstore": False}  # hstore costs a query for each connection

    def attach(self, engine: Engine) -> None:
        """Wait and resolve names here, with a deadline, instead of in libpq."""
        module: Any = engine.dialect.dbapi
        module.extensions.set_wait_callback(functools.partial(_wait_callback, module.OperationalError))
        event.listen(engine, "do_connect", _connect_to_addresses)
        charset = self.url.query.get("client_encoding", "utf8")
        try:  # psycopg2 looks it up after connecting, when a chroot may lack the codec's module
            codecs.lookup(module.extensions.encodings[re.sub("[^A-Z0-9]", "", str(charset).upper())])
        except LookupError:
            raise ValueError("client_encoding: unknown charset") from None

    def prepare(self, connection: Connection, seconds: float, streaming: bool) -> None:
        """Set the timeout if it changed; rows are streamed in a transaction only."""
        raw: Any = connection.connection.dbapi_connection
        _use_transactions(raw, False)
        seconds -= min(SERVER_HEAD_START, seconds / 4)
        set_timeout(connection, "SET statement_timeout = {}; SET default_transaction_read_only = on", seconds)
        _use_transactions(raw, streaming)

    def is_untranslatable(self, error: BaseException) -> bool:
        """By the server's SQLSTATE, or the driver's exception."""
        code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
        return code in UNTRANSLATABLE or super().is_untranslatable(error)

    def missing_requirements(self, root: Path, list_query: str | None) -> Iterator[str]:
        """The directory of the server's socket, what resolves its name, and the files that libpq reads."""
        query = self.url.query
        hosts = query.get("host") or self.url.host or SOCKET_DIRECTORY
        for each in (hosts,) if isinstance(hosts, str) else hosts:
            host = each if is_address(each) else re.sub(r":\d*$", "", each)
            if not host.startswith("/"):
                if not is_address(host) and "hostaddr" not in query:
                    yield from missing_for_names(root)
            elif not (root / host.lstrip("/")).is_dir():
                yield f"there is no directory {root / host.lstrip('/')} with the server's socket"
        for name in FILE_OPTIONS:
            file = query.get(name)
            if isinstance(file, str) and file != "system" and not (root / file.lstrip("/")).is_file():
                yield f"there is no file {root / file.lstrip('/')} ({name})"
        mode = str(query.get("sslmode", ""))
        if mode.startswith("verify-") and "sslrootcert" not in query and root != Path("/"):
            yield f"sslmode={mode} needs sslrootcert: ~/.postgresql/root.crt is not visible in {root}"


def _use_transactions(raw: Any, enabled: bool) -> None:
    """Switch transactions on or off, only if that is a change: setting autocommit lets other threads take over."""
    if raw.autocommit is enabled:
        raw.autocommit = not enabled


def _wait_callback(failure: type[Exception], connection: Any) -> None:
    """psycopg2's wait callback: raises ``failure`` at the deadline, after which psycopg2 closes the connection."""
    try:
        while state := connection.poll():  # 0 is done, 1 waits for input, 2 for output
            remaining = current_deadline.at - time.monotonic()
            ready = select.poll()
            ready.register(connection.fileno(), select.POLLIN if state == 1 else select.POLLOUT)
            if remaining <= 0 or not ready.poll(None if remaining == math.inf else math.ceil(remaining * 1000)):
                raise failure(DEADLINE_PASSED)
    finally:
        del connection  # the traceback holds this frame, and would keep the connection open


def _connect_to_addresses(dialect: Any, _: object, arguments: Any, options: Mapping[str, Any]) -> Any:
    """A psycopg2 connection to the resolved addresses of its hosts; OSError if none resolves by the deadline."""
    hosts, ports = (str(options.get(name, "")).split(",") for name in ("host", "port"))
    if hosts == [""] or "hostaddr" in options:
        return dialect.connect(*arguments, **options)
    endpoints: list[tuple[str, str, str]] = []
    failures = []
    for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False):
        try:
            addresses = [""] if not host or host.startswith(("/", "@")) else addresses_of(host, current_deadline.at)
            endpoints += [(host, address, port) for address in addresses]
        except OSError as error:
            failures.append(f"{host}: {cause_of(error)}")
    if not endpoints:
        raise OSError("; ".join(failures))
    columns = zip(("host", "hostaddr", "port"), zip(*endpoints, strict=True), strict=True)
    resolved = {name: ",".join(values) for name, values in columns if any(values)}
    # With the names too: libpq checks certificates against them.
    return dialect.connect(*arguments, **{**options, **resolved})
