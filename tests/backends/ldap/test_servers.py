"""Servers of ``type: ldap`` that misbehave, are down, or come back."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.config.system_options import Secret
from fingerd.errors import BackendError
from tests.backends.ldap.conftest import BRINDLE, Make, find
from tests.helpers.daemons import ROOT, wait_until
from tests.helpers.requirements import need
from tests.helpers.slapd import Slapd, make_authority, needs_slapd


@contextmanager
def bad_server(behave: Callable[[socket.socket], object]) -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that treats every client so: its URL, and the clients' sockets."""
    seen: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            seen.append(client)
            threading.Thread(target=work, args=(client,), daemon=True).start()

    def work(client: socket.socket) -> None:
        with suppress(OSError):
            behave(client)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"ldap://127.0.0.1:{server.getsockname()[1]}", seen
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in seen:
                client.close()


def silent(_: socket.socket) -> None:
    """Never sends anything."""


def drip(client: socket.socket) -> None:
    """Sends a response byte by byte."""
    for byte in b"\x30\x84\x00\x00\x10\x00\x02\x01\x02" + b"\0" * 4000:
        client.sendall(bytes([byte]))
        time.sleep(0.05)


def flood(client: socket.socket) -> None:
    """Sends a response of four gigabytes."""
    client.recv(1000)
    client.sendall(b"\x30\x84\xff\xff\xff\xff")
    while True:
        client.sendall(b"x" * 100_000)


def garbled(client: socket.socket) -> None:
    """Sends a malformed response."""
    client.recv(1000)
    client.sendall(b"\x30\x0a\x02\x01\x01" + b"\xff" * 7)


def other_protocol(client: socket.socket) -> None:
    """Speaks another protocol."""
    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)


BAD = {
    "silent": (silent, "not done in time"),
    "drip": (drip, "not done in time"),
    "flood": (flood, "answer exceeds 2 MiB"),
    "garbled": (garbled, "malformed response ("),
    "other protocol": (other_protocol, ""),
    "hangs up": (socket.socket.close, ""),
}


@pytest.mark.parametrize(("behave", "cause"), BAD.values(), ids=BAD)
def test_a_misbehaving_server_fails_by_the_deadline(
    make: Make, behave: Callable[[socket.socket], object], cause: str
) -> None:
    for options in ({}, {"starttls": True}, {"bind_dn": "cn=x", "password_file": Secret("s3cret")}):
        with bad_server(behave) as (url, _):
            started = time.monotonic()
            with pytest.raises(BackendError) as caught:
                find(make(url, timeout=0.4 if behave in (silent, drip, other_protocol) else 10.0, **options), "brindle")
            assert str(caught.value).startswith(f"ldap {url}: {cause}")
            assert "s3cret" not in str(caught.value)
            assert time.monotonic() - started < 9


def test_a_misbehaving_tls_server_fails_by_the_deadline(make: Make) -> None:
    for behave in (silent, drip, other_protocol):
        with bad_server(behave) as (url, _):
            with pytest.raises(BackendError, match=r"^ldap ldaps://"):
                find(make(url.replace("ldap:", "ldaps:"), timeout=0.4), "brindle")


def test_a_search_is_limited_by_the_deadline_of_the_lookup(make: Make) -> None:
    with bad_server(silent) as (url, seen):
        backend = make(url)
        with pytest.raises(BackendError, match="not done in time"):
            find(backend, "brindle", seconds=0.3)
        assert len(seen) == 1
        with pytest.raises(BackendError, match="not done in time"):
            find(backend, "brindle", seconds=-1)
        assert len(seen) == 1


def test_an_unreachable_server_is_a_failure(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"^ldap ldap://127\.0\.0\.1:1: Connection refused$"):
        find(make("ldap://127.0.0.1:1"), "brindle")
    with pytest.raises(BackendError, match=r"^ldap ldapi:///.*/none: No such file or directory$"):
        find(make(f"ldapi://{tmp_path}/none"), "brindle")
    with pytest.raises(BackendError, match=r"^ldap ldap://nowhere\.invalid: "):
        find(make("ldap://nowhere.invalid"), "brindle")
    with pytest.raises(BackendError, match=r"^ldap ldap://\[::1\]:1: "):
        find(make("ldap://[::1]:1"), "brindle")


# Looks up a user twice where the name server never answers.
SILENT_NAME_SERVER = """
mount --bind {directory}/resolv.conf /etc/resolv.conf && ip link set lo up && exec {python} - <<.
import socket, time
from fingerd.backends import Lookup, load_type
from fingerd.errors import BackendError
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
backend = load_type("{type}")(**{options})
for name in range(2):
    started = time.monotonic()
    try:
        backend.find(Lookup("brindle", False, "unix", started + 5))
    except BackendError as error:
        print(error, time.monotonic() - started < 4)
assert server.recv(1000)
.
"""
UNRESOLVABLE = {
    "ldap": ({"url": ("ldap://ldap.example.org",), "base": "", "timeout": 0.4}, "ldap ldap://ldap.example.org: "),
    "sql": (
        {"url": "postgresql://u@db.example.org/db", "query": "SELECT :user AS login", "timeout": 0.4},
        "sql postgresql://db.example.org/db: db.example.org: ",
    ),
}


@pytest.mark.root
@pytest.mark.parametrize(("kind", "how"), UNRESOLVABLE.items(), ids=UNRESOLVABLE)
def test_a_silent_name_server_fails_by_the_deadline(kind: str, how: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    need("namespaces", "ip")
    if kind == "sql":
        pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install psycopg2-binary)")
    options, cause = how
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    script = SILENT_NAME_SERVER.format(directory=tmp_path, python=sys.executable, type=kind, options=options)
    command = ["unshare", "--net", "--mount", "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (result.stderr, result.stdout) == ("", f"{cause}not done in time True\n" * 2)


@needs_slapd
def test_servers_that_are_down_are_skipped(slapd: Slapd, make: Make) -> None:
    with bad_server(silent) as (url, seen):
        backend = make("ldap://127.0.0.1:1", url, slapd.ldap, timeout=1.5)
        assert [find(backend, "brindle") for _ in range(5)] == [[BRINDLE]] * 5
        assert len(seen) == 1
    both = make("ldap://127.0.0.1:1", "ldap://[::1]:1")
    with pytest.raises(BackendError, match=r"^ldap ldap://127\.0\.0\.1:1: .*; ldap ldap://\[::1\]:1: "):
        find(both, "brindle")


@needs_slapd
def test_encrypted_and_unencrypted_servers_can_be_mixed(slapd: Slapd, make: Make, tmp_path: Path) -> None:
    make_authority(tmp_path)
    backend = make(slapd.ldaps, slapd.ldap, ca_file=str(tmp_path / "ca.pem"))  # the second has no certificate to check
    assert find(backend, "brindle") == [BRINDLE]


@needs_slapd
def test_a_server_that_was_down_is_tried_again(
    own_slapd: Slapd, slapd: Slapd, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fingerd.backends.ldap.pool.DOWN_SECONDS", 0.1)
    backend = make(own_slapd.ldap, slapd.ldap)
    assert find(backend, "u7") == []
    own_slapd.stop()
    assert [person.login for person in find(backend, "u7")] == ["u7"]
    own_slapd.start()
    wait_until(lambda: find(backend, "u7") == [])
