"""PostgreSQL through psycopg2, with a deadline.

A pooler between here and the server may give the server's connection to another program after each transaction. So
read only and the statement timeout, which the server enforces, are settings of the transaction, never of the session.
psycopg2 would wait for a frozen server without limit, so it waits in :func:`_wait_callback`. libpq would wait for a
name server without limit, so it is given addresses.
"""

import codecs
import contextlib
import functools
import math
import re
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from fingerd.backends.sql.driver import Driver, Listing, Rows, columns_of, current_deadline
from fingerd.backends.sql.statement import Statement
from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.resolver import addresses_of, missing_for_names
from fingerd.net.stream import cause_of, is_address
from fingerd.people.mapping import plain_number
from fingerd.text import read_text

SERVER_HEAD_START = 0.25  # seconds before the deadline at which the server cancels, which keeps the connection usable
UNTRANSLATABLE = ("22021", "22P05")  # SQLSTATEs for a character that the database's charset lacks
SOCKET_DIRECTORY = "/run/postgresql"  # libpq's default on Debian
FILE_OPTIONS = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")  # libpq reads these files when it connects
READ_BY_TYPE = {16, 17}  # OIDs of boolean and bytea, which psycopg2 reads; the others remain the server's text
FLOATS = (700, 701)  # OIDs; the server writes them with an exponent
NOT_LIBPQ = ("async", "async_", "connection_factory", "cursor_factory", "dsn")  # options of psycopg2 itself

_PASSES_BYTES = "passes bytes"  # in the information about a connection: texts are bytes that are read as LATIN1


class Postgresql(Driver):
    """A server with a timeout for each statement and read-only transactions; values as the server writes them."""

    supports_limit = True
    reset_on_return = None

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
        number = module.extensions.new_type(FLOATS, "FLOAT", _read_number)
        event.listen(engine, "connect", functools.partial(self._set_up, module.extensions, number))
        charset = self.url.query.get("client_encoding", "utf8")
        try:  # psycopg2 looks them up after connecting, when a chroot may lack the codecs' modules
            for name in ("LATIN1", re.sub("[^A-Z0-9]", "", str(charset).upper())):
                codecs.lookup(module.extensions.encodings[name])
        except LookupError:
            raise ValueError("client_encoding: unknown charset") from None

    def select(self, connection: Any, statement: Statement, user: str, seconds: float, max_rows: int) -> Rows:
        """The rows, in one round trip: several statements that are sent together are one transaction."""
        passing_bytes = _PASSES_BYTES in connection.info
        values = {name: _as_bytes(user) if passing_bytes else user for name in statement.names}
        sql = f"SET TRANSACTION READ ONLY; {_timeout(seconds)}; {statement.sql}"
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(_as_bytes(sql) if passing_bytes else sql, values)
            rows = Rows(columns_of(cursor), cursor.fetchmany(max_rows))
            return _from_bytes(rows) if passing_bytes else rows

    def open_list(self, connection: Connection, statement: Statement, seconds: float) -> Listing:
        """The rows of a cursor of the server's, in a transaction that ``close`` ends."""
        pooled = connection.connection
        passing_bytes = _PASSES_BYTES in pooled.info
        cursor: Any = pooled.cursor()

        def fetch(count: int) -> Sequence[Sequence[object]]:
            cursor.execute(f"FETCH {count} FROM people")
            rows = Rows(columns_of(cursor), cursor.fetchall())
            return (_from_bytes(rows) if passing_bytes else rows).rows

        def close() -> None:
            cursor.execute("ROLLBACK")
            cursor.close()

        sql = f"BEGIN READ ONLY; {_timeout(seconds)}; DECLARE people NO SCROLL CURSOR FOR {statement.sql}"
        try:
            cursor.execute(_as_bytes(sql) if passing_bytes else sql, {})
            fetch(0)
        except Exception:
            with contextlib.suppress(Exception):  # a broken connection is recognized by its user
                close()
            raise
        columns = Rows(columns_of(cursor), ())
        return Listing((_from_bytes(columns) if passing_bytes else columns).columns, fetch, close)

    def _set_up(self, extensions: Any, number: Any, connection: Any, record: Any) -> None:
        """Make a new connection commit by itself, and return values as the server writes them."""
        connection.autocommit = True
        types = connection.string_types
        known = {*extensions.string_types, *types}
        types.update(dict.fromkeys(known - READ_BY_TYPE, extensions.UNICODE) | dict.fromkeys(FLOATS, number))
        # A database without a charset may hold any bytes, and its server refuses to send those that are not in the
        # client's charset. As LATIN1, all pass both ways as they are.
        has_charset = connection.get_parameter_status("server_encoding") != "SQL_ASCII"
        if not has_charset and "client_encoding" not in self.url.query:
            connection.set_client_encoding("LATIN1")
            record.info[_PASSES_BYTES] = True

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


def _timeout(seconds: float) -> str:
    """The statement that sets the server's timeout for the transaction, a little before the deadline."""
    milliseconds = int((seconds - min(SERVER_HEAD_START, seconds / 4)) * 1000)
    return f"SET LOCAL statement_timeout = {max(1, milliseconds)}"


def _read_number(value: str | None, _: object) -> str | None:
    return None if value is None else plain_number(value)


def _as_bytes(text: str) -> str:
    """A text that LATIN1 turns into the UTF-8 bytes of this one."""
    return text.encode().decode("latin-1")


def _from_bytes(rows: Rows) -> Rows:
    """The rows with texts that were read as LATIN1 decoded from their bytes."""

    def decoded(value: object) -> object:
        return read_text(value.encode("latin-1")) if isinstance(value, str) else value

    return Rows(
        tuple(read_text(column.encode("latin-1")) for column in rows.columns),
        [[decoded(value) for value in row] for row in rows.rows],
    )


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
