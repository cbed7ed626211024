"""``type: web`` and its web servers: certificates, redirects to other hosts, and a server that dies and comes back."""

import contextlib
import http.server
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fingerd.backends import Lookup
from fingerd.backends.web import Web, read_verify
from fingerd.config.system_options import Secret
from fingerd.config.values import Scalar
from fingerd.errors import BackendError
from fingerd.settings import read_config
from tests.conftest import Start
from tests.daemon.test_reload import reload
from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Daemon, Host, ask, descriptors, status, wait_until
from tests.helpers.requirements import need


def find(backend: Web, username: str) -> str | None:
    people = backend.find(Lookup(username, False, "192.0.2.1", time.monotonic() + TIMEOUT))
    return people[0].text if people else None


# Certificates


class Pages(http.server.BaseHTTPRequestHandler):
    """Tells what it was sent; ``down`` leads to http, and ``up`` to https."""

    elsewhere: dict[str, str] = {}  # noqa: RUF012 - of the whole test

    def do_GET(self) -> None:
        """Answer, or lead elsewhere."""
        target = self.elsewhere.get(self.path.rpartition("/")[2])
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.end_headers()
        if not target:
            self.wfile.write(f"{self.headers['Authorization']} {self.headers['X-Token']}".encode())

    def log_message(self, *_: object) -> None:
        """Quietly."""


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA's certificate, ``ca.pem``, and a host's that it has signed, ``host.pem``."""
    need("openssl")
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "rsa:2048", "-noenc")
    usage = ("-addext", "keyUsage=critical,keyCertSign")
    openssl(folder, "req", "-x509", *key, *usage, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA")
    openssl(folder, "req", *key, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl(folder, "x509", "-req", "-in", "host.csr", *signed, "-out", "host.crt")
    (folder / "host.pem").write_text((folder / "host.key").read_text() + (folder / "host.crt").read_text())
    return folder


@contextlib.contextmanager
def serving_pages(certificate: Path | None = None) -> Iterator[int]:
    """A web server on loopback; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(TIMEOUT)


def test_a_certificate_is_checked_against_the_ca_and_the_host(certificates: Path) -> None:
    with serving_pages(certificates / "host.pem") as port:
        ca = str(certificates / "ca.pem")
        good = Web(prefix=f"https://localhost:{port}/", verify=ca, auth_file=Secret("token"))
        assert [find(good, "alice") for _ in range(2)] == ["Bearer token None"] * 2
        unchecked = Web(prefix=f"https://127.0.0.1:{port}/", verify=False)
        assert find(unchecked, "alice") == "None None"
        other_ca = Web(prefix=f"https://localhost:{port}/")
        with pytest.raises(BackendError, match="certificate verify failed"):
            find(other_ca, "alice")
        other_name = Web(prefix=f"https://127.0.0.1:{port}/", verify=ca)
        with pytest.raises(BackendError, match=r"127\.0\.0\.1"):
            find(other_name, "alice")
        for backend in (good, unchecked, other_ca, other_name):
            backend.close()


def test_no_redirect_leads_from_https_to_http(certificates: Path) -> None:
    with serving_pages(certificates / "host.pem") as port, serving_pages() as open_port:
        Pages.elsewhere = {"down": f"http://localhost:{open_port}/seen", "same": f"https://localhost:{port}/seen"}
        backend = Web(
            prefix=f"https://localhost:{port}/", verify=str(certificates / "ca.pem"), auth_file=Secret("token")
        )
        with pytest.raises(BackendError) as caught:
            find(backend, "down")
        assert str(caught.value).endswith(f"redirected from https to http: http://localhost:{open_port}/seen")
        assert find(backend, "same") == "Bearer token None"
        backend.close()


def scalar(text: str, kind: str = "text", value: Any = None) -> Scalar:
    return Scalar(text, kind, False, value)


def test_verify_is_a_file_with_certificates(certificates: Path, tmp_path: Path) -> None:
    assert read_verify(scalar("no", "true or false", False)) is False
    assert read_verify(scalar(str(certificates / "ca.pem"))) == str(certificates / "ca.pem")
    (tmp_path / "empty").touch()
    for name, complaint in (("empty", "holds no certificates"), ("none", "No such file or directory")):
        with pytest.raises(ValueError, match=f"{name}: {complaint}$"):
            read_verify(scalar(str(tmp_path / name)))


def test_a_jail_needs_the_file_of_the_ca(certificates: Path, tmp_path: Path) -> None:
    ca = str(certificates / "ca.pem")
    (complaint,) = Web(prefix="https://127.0.0.1/", verify=ca).missing_requirements(tmp_path)
    assert complaint == f"without {ca.lstrip('/')} in {tmp_path} no certificate can be checked"
    assert not list(Web(prefix="https://127.0.0.1/", verify=False).missing_requirements(tmp_path))


def test_secrets_and_doubts_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("bob:s3cret\nmore\n")
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: web, prefix: 'http://example.org/~', auth_file: {tmp_path}/secret}}\n")
    settings, doubts = read_config(str(path), {})
    assert isinstance(settings.backend, Web)
    assert settings.backend.auth_file == Secret("bob:s3cret")
    assert "s3cret" not in repr(settings)
    assert [doubt for doubt in doubts if doubt.startswith(f"{path}:1:10: backend: auth_file is sent over http: ")]


def test_a_new_secret_is_used_after_a_reload(start: Start, tmp_path: Path) -> None:
    with serving_pages() as port:
        secret = tmp_path / "secret"
        secret.write_text("one\n")
        config = (
            'listen: "127.0.0.1:0"\n'
            f"backend: {{type: web, prefix: 'http://127.0.0.1:{port}/', auth_file: {secret}}}\n"
        )
        daemon = start(config)
        assert daemon.ask(b"alice\r\n") == b"Bearer one None\r\n"
        secret.write_text("two\n")
        assert daemon.ask(b"alice\r\n") == b"Bearer one None\r\n"
        reload(daemon, config)
        assert daemon.ask(b"alice\r\n") == b"Bearer two None\r\n"
        secret.unlink()
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged("not reloaded")
        assert daemon.ask(b"alice\r\n") == b"Bearer two None\r\n"
        assert daemon.stop() == 0
        assert not [line for line in daemon.log if "Bearer" in line]


# Redirects to other hosts. 1.1.1.1 and 1.1.1.2 are public hosts, and 10.0.0.1 to 10.0.0.3 are not; all are on loopback.

WORLD = """
import http.server, socket, ssl, sys, threading

home, public = "http://10.0.0.1", "http://1.1.1.1"
TARGETS = {
    "out": f"{public}/seen", "name": "http://out.test/seen", "inside": "http://10.0.0.2/seen",
    "port": f"{home}:8080/seen", "mapped": "http://[::ffff:10.0.0.2]/seen", "zero": "http://0.0.0.0/seen",
    "number": "http://167772162/seen", "loopback": "http://localhost/seen", "inner": "http://in.test/seen",
    "back": f"{public}/home", "home": f"{home}/seen", "further": f"{public}/again", "again": "http://1.1.1.2/seen",
    "named": "http://user:word@1.1.1.1/seen", "rebind": "http://rebind.test/seen", "same": f"{home}:80/seen",
    "circle": f"{public}/circle", "link": "http://169.254.169.254/seen", "gone": "http://1.1.1.3/seen",
    "twice": f"{public}/hop", "hop": f"{public}/seen", "user": "http://eve:word@10.0.0.1/seen",
    "mute": "http://mute.test/seen", "tls": "https://1.1.1.1/seen",
}

class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        here = self.connection.getsockname()[0]
        say("web", here, self.path, self.headers["Authorization"], self.headers["X-Token"])
        target = TARGETS.get(self.path[1:])
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.end_headers()
        if not target:
            self.wfile.write(f"from {here}".encode())

    def log_message(self, *_):
        pass

def say(*words):
    with open(sys.argv[1], "a") as file:
        print(*words, file=file)

def answer_names():
    names, lookups = {"out": ["1.1.1.2"], "in": ["10.0.0.2"], "rebind": ["10.0.0.2", "1.1.1.1"]}, {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        while True:
            query, client = server.recvfrom(512)
            labels, here = [], 12
            while query[here]:
                labels.append(query[here + 1 : here + 1 + query[here]].decode())
                here += 1 + query[here]
            if labels[0] == "mute":
                continue
            is_a, answer = query[here + 1 : here + 3] == b"\\0\\1", b""
            if is_a and labels[0] in names and labels[1:] == ["test"]:
                say("dns", labels[0])
                lookups[labels[0]] = lookups.get(labels[0], 0) + 1
                addresses = names[labels[0]]
                address = socket.inet_aton(addresses[lookups[labels[0]] % len(addresses)])
                answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4" + address
            head = query[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([bool(answer)]) + b"\\0\\0\\0\\0"
            server.sendto(head + query[12 : here + 5] + answer, client)

threading.Thread(target=answer_names, daemon=True).start()
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "world", self.server_address[1]
for port in (8080, 80, 443):
    server = Server(("::", port), Pages)
    if port == 443:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""


class World:
    """A host where some addresses are web servers, which note who was asked for what."""

    def __init__(self, host: Host, folder: Path, certificate: Path) -> None:
        self.host, self.folder, self.noted = host, folder, folder / "noted"
        for address in ("1.1.1.1", "1.1.1.2", "10.0.0.1", "10.0.0.2", "10.0.0.3", "169.254.169.254"):
            host.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        for name, text in (("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: files dns\n")):
            (folder / name).write_text(text)
            done = host.run("mount", "--bind", str(folder / name), f"/etc/{name}")
            assert done.returncode == 0, done.stderr
        (folder / "world.py").write_text(WORLD)
        command = (*host.inside, sys.executable, folder / "world.py", self.noted, certificate)
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert self.server.stdout
            assert self.server.stdout.readline() == "ready\n"
        except BaseException:
            self.close()
            raise

    def ask(self, name: str, options: str = "retries: 1") -> tuple[str, str, list[str]]:
        """The answer, the cause of a failure, and what the servers have noted."""
        self.noted.write_text("")
        (self.folder / "secret").write_text("token")
        config = self.folder / "fingerd.yaml"
        config.write_text(
            "backend: {type: web, prefix: 'http://10.0.0.1/', headers: {X-Token: t}, "
            f"auth_file: {self.folder}/secret, {options}}}\n"
        )
        done = self.host.run("env", f"PYTHONPATH={ROOT}", *FINGERD, "-c", str(config), "--query", name)
        return done.stdout.strip(), done.stderr.strip(), self.noted.read_text().splitlines()

    def close(self) -> None:
        """End the servers."""
        self.server.kill()
        self.server.wait()
        if self.server.stdout:
            self.server.stdout.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with contextlib.ExitStack() as stack:
        host = Host(folder)
        stack.callback(host.close)
        world = World(host, folder, certificates / "host.pem")
        stack.callback(world.close)
        yield world


FOLLOWED = {
    "a public address": ("out", ["web 1.1.1.1 /seen None None"]),
    "the name of a public address": ("name", ["dns out", "web 1.1.1.2 /seen None None"]),
    "from there to a further one": ("further", ["web 1.1.1.1 /again None None", "web 1.1.1.2 /seen None None"]),
    "from there to another page of it": ("twice", ["web 1.1.1.1 /hop None None", "web 1.1.1.1 /seen None None"]),
    "with a name and a password": ("named", ["web 1.1.1.1 /seen Basic dXNlcjp3b3Jk None"]),
    "the host itself, by its port": ("same", ["web 10.0.0.1 /seen Bearer token t"]),
}


@pytest.mark.root
@pytest.mark.parametrize(("name", "seen"), FOLLOWED.values(), ids=FOLLOWED)
def test_a_redirect_to_another_public_host_is_followed_without_secrets(
    world: World, name: str, seen: list[str]
) -> None:
    answer, _, noted = world.ask(name)
    unmapped = [line.replace("::ffff:", "") for line in noted]
    assert unmapped == [f"web 10.0.0.1 /{name} Bearer token t", *seen]
    assert answer.replace("::ffff:", "") == f"from {seen[-1].split()[1]}"


REFUSED = {
    "another private host": ("inside", 1),
    "another port of the host": ("port", 1),
    "a private address as IPv6": ("mapped", 1),
    "a private address as a number": ("number", 1),
    "no address": ("zero", 1),
    "loopback": ("loopback", 1),
    "a link's own address": ("link", 1),
    "the name of a private address": ("inner", 2),
    "back home, from another host": ("back", 2),
    "the host itself, as somebody else": ("user", 1),
    "in a circle": ("circle", 6),
}


@pytest.mark.root
@pytest.mark.parametrize(("name", "count"), REFUSED.values(), ids=REFUSED)
def test_a_redirect_to_what_only_this_host_can_reach_is_refused(world: World, name: str, count: int) -> None:
    answer, cause, noted = world.ask(name)
    assert answer == "Internal error in server"
    wanted = "too many redirects" if name == "circle" else "redirected to another host: http://"
    assert f"web http://10.0.0.1/{name}: {wanted}" in cause
    assert name == "circle" or cause.endswith("has no public address")
    assert len(noted) == count
    assert not [line for line in noted if "/seen" in line]


@pytest.mark.root
def test_the_address_that_was_looked_at_is_the_one_that_is_asked(world: World) -> None:
    answers = [world.ask("rebind") for _ in range(4)]
    for answer, _, noted in answers:  # the name is another address each time it is looked up
        assert [line for line in noted if line.startswith("dns")] == ["dns rebind"]
        assert not [line for line in noted if "10.0.0.2" in line]
        assert answer in ("from ::ffff:1.1.1.1", "Internal error in server")
    assert len({answer for answer, _, _ in answers}) == 2


@pytest.mark.root
def test_a_public_host_that_is_not_there_is_named_in_the_cause(world: World) -> None:
    _, cause, _ = world.ask("gone")
    assert "redirected to another host: http://1.1.1.3/seen: [Errno 101] Network is unreachable" in cause


@pytest.mark.root
def test_certificates_of_other_hosts_are_checked_whatever_is_said_of_the_own(world: World) -> None:
    answer, cause, noted = world.ask("tls", "verify: false")
    assert answer == "Internal error in server"
    assert "redirected to another host: https://1.1.1.1/seen: " in cause
    assert "certificate verify failed" in cause
    assert len(noted) == 1


@pytest.mark.root
def test_looking_up_another_host_keeps_to_the_deadline(world: World) -> None:
    _, cause, _ = world.ask("mute", "timeout: 1")
    assert cause.endswith("redirected to another host: http://mute.test/seen: not done in time")


# A server that dies and comes back

SERVER = """
import http.server, sys
class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"fine")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Pages)
print("ready", flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def web_server(port: int) -> Iterator[None]:
    """The server as a process, which is killed at the end."""
    with subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


class Crowd:
    """Clients that ask again and again, and note what they are told and how long that takes."""

    def __init__(self, daemon: Daemon, count: int) -> None:
        self.told: list[tuple[float, float, bytes]] = []
        self._address = daemon.address
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(f"127.0.0.{2 + number}",)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, source: str) -> None:
        while not self._over.wait(0.01):
            begun = time.monotonic()
            answer = ask(self._address, b"alice\r\n", source=source)
            self.told.append((begun, time.monotonic() - begun, answer))

    def since(self, moment: float) -> Counter[bytes]:
        """What those were told who asked after this moment."""
        return Counter(answer for begun, _, answer in self.told if begun > moment)

    def end(self) -> None:
        """Ask no more."""
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()


FINE, BROKEN = b"fine\r\n", b"Internal error in server\r\n"


def test_a_web_server_that_is_killed_and_comes_back_under_load(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    limits = 'listen: "127.0.0.1:0"\nlimits: {threads: 8, answer_seconds: 3, per_client: 5}\n'
    empty = limits + "backend: {type: chain, backends: [{type: command, argv: [echo, fine]}]}\n"
    daemon = start(empty)
    assert daemon.ask(b"alice\r\n") == FINE
    pid = daemon.process.pid
    before = descriptors(pid)
    reload(daemon, limits + f"backend: {{type: web, prefix: 'http://127.0.0.1:{port}/'}}\n")
    crowd = Crowd(daemon, 6)
    try:
        for _ in range(2):
            with web_server(port):
                up = time.monotonic()
                wait_until(lambda up=up: crowd.since(up)[FINE] > 50)  # type: ignore[misc]
            down = time.monotonic()
            wait_until(lambda down=down: crowd.since(down)[BROKEN] > 20)  # type: ignore[misc]
            assert set(crowd.since(down)) == {BROKEN}
    finally:
        crowd.end()
    assert set(crowd.since(0)) == {FINE, BROKEN}
    assert max(seconds for _, seconds, _ in crowd.told) < 3
    threads = status(pid, "Threads")
    reload(daemon, empty)
    assert daemon.ask(b"alice\r\n") == FINE
    wait_until(lambda: descriptors(pid) <= before)
    assert status(pid, "Threads") == threads
    assert int(threads[0]) <= 8 + 3
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]
    assert os.path.exists(f"/proc/{pid}") is False
