"""``type: web``: certificates, redirects to other hosts, and a server that is killed and restarted."""

import contextlib
import http.server
import os
import signal
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
from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Daemon, Machine, ask, descriptors, status, wait_until
from tests.helpers.ports import free_port
from tests.helpers.requirements import need


def find(backend: Web, username: str) -> str | None:
    people = backend.find(Lookup(username, False, "192.0.2.1", time.monotonic() + TIMEOUT))
    return people[0].text if people else None


# Certificates


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers with the headers that it was sent, or redirects."""

    elsewhere: dict[str, str] = {}  # noqa: RUF012 - of the whole test

    def do_GET(self) -> None:
        """Answer, or redirect."""
        target = self.elsewhere.get(self.path.rpartition("/")[2])
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.end_headers()
        if not target:
            self.wfile.write(f"{self.headers['Authorization']} {self.headers['X-Token']}".encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA certificate, ``ca.pem``, and a host certificate signed by it, ``host.pem``."""
    need("openssl")
    directory = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "rsa:2048", "-noenc")
    usage = ("-addext", "keyUsage=critical,keyCertSign")
    openssl(directory, "req", "-x509", *key, *usage, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA")
    openssl(directory, "req", *key, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=localhost")
    (directory / "names").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl(directory, "x509", "-req", "-in", "host.csr", *signed, "-out", "host.crt")
    (directory / "host.pem").write_text((directory / "host.key").read_text() + (directory / "host.crt").read_text())
    return directory


@contextlib.contextmanager
def serving_pages(certificate: Path | None = None) -> Iterator[int]:
    """Run a web server on loopback; yield its port."""
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


def test_a_certificate_is_verified_by_the_ca_and_the_host_name(certificates: Path) -> None:
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


def test_a_redirect_from_https_to_http_is_refused(certificates: Path) -> None:
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


def test_verify_may_be_a_file_with_certificates(certificates: Path, tmp_path: Path) -> None:
    assert read_verify(scalar("no", "true or false", False)) is False
    assert read_verify(scalar(str(certificates / "ca.pem"))) == str(certificates / "ca.pem")
    (tmp_path / "empty").touch()
    for name, message in (("empty", "contains no certificates"), ("none", "No such file or directory")):
        with pytest.raises(ValueError, match=f"{name}: {message}$"):
            read_verify(scalar(str(tmp_path / name)))


@pytest.mark.parametrize("name", ["file", "ca-certificates.crt", "ca-bundle.crt", "hash"])
def test_without_a_file_the_cas_of_the_system_are_trusted(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ca = (certificates / "ca.pem").read_text()
    if name == "hash":
        asked = ["openssl", "x509", "-hash", "-noout", "-in", f"{certificates}/ca.pem"]
        name = f"{subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()}.0"
    (tmp_path / name).write_text(ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "file"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with serving_pages(certificates / "host.pem") as port:
        backend = Web(prefix=f"https://localhost:{port}/")
        assert [find(backend, "alice") for _ in range(2)] == ["None None"] * 2
        backend.close()
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
        monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
        backend = Web(prefix=f"https://localhost:{port}/")
        with pytest.raises(BackendError, match="certificate verify failed"):
            find(backend, "alice")
        backend.close()


def test_a_ca_file_is_read_once(certificates: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text((certificates / "ca.pem").read_text())
    with serving_pages(certificates / "host.pem") as port:
        backend = Web(prefix=f"https://localhost:{port}/", verify=str(ca))
        ca.unlink()
        assert find(backend, "alice") == "None None"
        assert list(backend.missing_requirements(tmp_path)) == list(
            Web(prefix="http://localhost/").missing_requirements(tmp_path)
        )
        backend.close()


def test_a_system_without_cas_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    message = "no certificate can be verified: give verify a file of CAs"
    assert list(Web(prefix="https://127.0.0.1/").missing_requirements(tmp_path)) == [message]
    assert list(Web(prefix="https://127.0.0.1/").missing_requirements(Path("/"))) == [message]
    assert not list(Web(prefix="https://127.0.0.1/", verify=False).missing_requirements(tmp_path))


def test_secrets_and_warnings_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("bob:s3cret\nmore\n")
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: web, prefix: 'http://example.org/~', auth_file: {tmp_path}/secret}}\n")
    settings, warnings = read_config(str(path), {})
    assert isinstance(settings.backend, Web)
    assert settings.backend.auth_file == Secret("bob:s3cret")
    assert "s3cret" not in repr(settings)
    assert [
        warning for warning in warnings if warning.startswith(f"{path}:1:10: backend: auth_file is sent over http: ")
    ]


def test_a_reload_reads_a_new_secret(start: Start, tmp_path: Path) -> None:
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


# Redirects to other hosts. 1.1.1.1 and 1.1.1.2 are public, 10.0.0.1 to 10.0.0.3 are not; all are on loopback.

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
    "octal": "http://0012.0.0.02/seen", "hexadecimal": "http://0x0a000002/seen", "short": "http://10.2/seen",
    "nat64": "http://[64:ff9b::a00:2]/seen", "six-to-four": "http://[2002:a00:2::1]/seen",
    "compatible": "http://[::a00:2]/seen", "mapped-hexadecimal": "http://[::FFFF:a00:2]/seen",
    "backslash": "http://1.1.1.1\\\\@10.0.0.2/seen", "credentials": "http://1.1.1.1@10.0.0.2/seen",
    "fragment": "http://10.0.0.2#@1.1.1.1/seen", "no-scheme": "//10.0.0.2/seen", "dot": "http://10.0.0.2./seen",
    "full-width": "http://\uff11\uff10.0.0.2/seen".encode().decode("latin-1"),
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
    """A host whose addresses are web servers, which record their requests."""

    def __init__(self, host: Machine, directory: Path, certificate: Path) -> None:
        self.host, self.directory, self.recorded = host, directory, directory / "recorded"
        for address in ("1.1.1.1", "1.1.1.2", "10.0.0.1", "10.0.0.2", "10.0.0.3", "169.254.169.254"):
            host.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        for name, text in (("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: files dns\n")):
            (directory / name).write_text(text)
            done = host.run("mount", "--bind", str(directory / name), f"/etc/{name}")
            assert done.returncode == 0, done.stderr
        (directory / "world.py").write_text(WORLD)
        command = (*host.inside, sys.executable, directory / "world.py", self.recorded, certificate)
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert self.server.stdout
            assert self.server.stdout.readline() == "ready\n"
        except BaseException:
            self.close()
            raise

    def ask(self, name: str, options: str = "retries: 1") -> tuple[str, str, list[str]]:
        """Return the answer, the cause of a failure, and the recorded requests."""
        self.recorded.write_text("")
        (self.directory / "secret").write_text("token")
        config = self.directory / "fingerd.yaml"
        config.write_text(
            "backend: {type: web, prefix: 'http://10.0.0.1/', headers: {X-Token: t}, "
            f"auth_file: {self.directory}/secret, {options}}}\n"
        )
        done = self.host.run("env", f"PYTHONPATH={ROOT}", *FINGERD, "-c", str(config), "--query", name)
        return done.stdout.strip(), done.stderr.strip(), self.recorded.read_text().splitlines()

    def close(self) -> None:
        """Stop the servers."""
        self.server.kill()
        self.server.wait()
        if self.server.stdout:
            self.server.stdout.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    with contextlib.ExitStack() as stack:
        host = Machine(directory)
        stack.callback(host.close)
        world = World(host, directory, certificates / "host.pem")
        stack.callback(world.close)
        yield world


FOLLOWED = {
    "a public address": ("out", ["web 1.1.1.1 /seen None None"]),
    "the name of a public address": ("name", ["dns out", "web 1.1.1.2 /seen None None"]),
    "from there to a further one": ("further", ["web 1.1.1.1 /again None None", "web 1.1.1.2 /seen None None"]),
    "from there to another page of it": ("twice", ["web 1.1.1.1 /hop None None", "web 1.1.1.1 /seen None None"]),
    "with a name and a password": ("named", ["web 1.1.1.1 /seen Basic dXNlcjp3b3Jk None"]),
    "a private address as the path of a public one": ("backslash", ["web 1.1.1.1 /%5C@10.0.0.2/seen None None"]),
    "the host itself, by its port": ("same", ["web 10.0.0.1 /seen Bearer token t"]),
}


@pytest.mark.root
@pytest.mark.parametrize(("name", "seen"), FOLLOWED.values(), ids=FOLLOWED)
def test_a_redirect_to_another_public_host_is_followed_without_secrets(
    world: World, name: str, seen: list[str]
) -> None:
    answer, _, recorded = world.ask(name)
    unmapped = [line.replace("::ffff:", "") for line in recorded]
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
    "back to the first host, from another host": ("back", 2),
    "the host itself, as another user": ("user", 1),
    "a redirect loop": ("circle", 6),
    **{
        f"a private address, spelled {name}": (name, 1)
        for name in ("octal", "hexadecimal", "short", "nat64", "six-to-four", "compatible", "mapped-hexadecimal")
    },
    **{
        f"a private address behind {name}": (name, 1)
        for name in ("credentials", "fragment", "no-scheme", "dot", "full-width")
    },
}


@pytest.mark.root
@pytest.mark.parametrize(("name", "count"), REFUSED.values(), ids=REFUSED)
def test_a_redirect_to_a_private_address_is_refused(world: World, name: str, count: int) -> None:
    answer, cause, recorded = world.ask(name)
    assert answer == "Internal error in server"
    wanted = "too many redirects" if name == "circle" else "redirected to another host: http://"
    assert f"web http://10.0.0.1/{name}: {wanted}" in cause
    assert name == "circle" or cause.endswith("has no public address") or "Failed to parse" in cause
    assert len(recorded) == count
    assert not [line for line in recorded if "/seen" in line]


@pytest.mark.root
def test_the_address_that_was_checked_is_the_one_that_is_connected_to(world: World) -> None:
    answers = [world.ask("rebind") for _ in range(4)]
    for answer, _, recorded in answers:  # the name resolves to another address each time
        assert [line for line in recorded if line.startswith("dns")] == ["dns rebind"]
        assert not [line for line in recorded if "10.0.0.2" in line]
        assert answer in ("from ::ffff:1.1.1.1", "Internal error in server")
    assert len({answer for answer, _, _ in answers}) == 2


@pytest.mark.root
def test_an_unreachable_public_host_is_named_in_the_cause(world: World) -> None:
    _, cause, _ = world.ask("gone")
    assert "redirected to another host: http://1.1.1.3/seen: [Errno 101] Network is unreachable" in cause


@pytest.mark.root
def test_certificates_of_other_hosts_are_verified_whatever_verify_says(world: World) -> None:
    answer, cause, recorded = world.ask("tls", "verify: false")
    assert answer == "Internal error in server"
    assert "redirected to another host: https://1.1.1.1/seen: " in cause
    assert "certificate verify failed" in cause
    assert len(recorded) == 1


@pytest.mark.root
def test_resolving_another_host_ends_at_the_deadline(world: World) -> None:
    _, cause, _ = world.ask("mute", "timeout: 1")
    assert cause.endswith("redirected to another host: http://mute.test/seen: not done in time")


# A server that is killed and restarted

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
    """Run the server as a process, and kill it at the end."""
    with subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


class Clients:
    """Clients that send queries continuously, and record the answers and how long they took."""

    def __init__(self, daemon: Daemon, count: int) -> None:
        self.answers: list[tuple[float, float, bytes]] = []
        self._address = daemon.address
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(f"127.0.0.{2 + number}",)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, source: str) -> None:
        while not self._over.wait(0.01):
            begun = time.monotonic()
            answer = ask(self._address, b"alice\r\n", source=source)
            self.answers.append((begun, time.monotonic() - begun, answer))

    def since(self, start: float) -> Counter[bytes]:
        """Count the answers to the queries that were sent after this time."""
        return Counter(answer for begun, _, answer in self.answers if begun > start)

    def end(self) -> None:
        """Stop."""
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()


FINE, BROKEN = b"fine\r\n", b"Internal error in server\r\n"


def test_a_web_server_that_is_killed_and_restarted_under_load(start: Start) -> None:
    port = free_port()
    limits = 'listen: "127.0.0.1:0"\nlimits: {threads: 8, answer_seconds: 3, per_client: 5}\n'
    empty = limits + "backend: {type: chain, backends: [{type: command, argv: [echo, fine]}]}\n"
    daemon = start(empty)
    assert daemon.ask(b"alice\r\n") == FINE
    pid = daemon.process.pid
    before = descriptors(pid)
    reload(daemon, limits + f"backend: {{type: web, prefix: 'http://127.0.0.1:{port}/'}}\n")
    clients = Clients(daemon, 6)
    try:
        for _ in range(2):
            with web_server(port):
                up = time.monotonic()
                wait_until(lambda up=up: clients.since(up)[FINE] > 50)  # type: ignore[misc]
            down = time.monotonic()
            wait_until(lambda down=down: clients.since(down)[BROKEN] > 20)  # type: ignore[misc]
            assert set(clients.since(down)) == {BROKEN}
    finally:
        clients.end()
    assert set(clients.since(0)) == {FINE, BROKEN}
    assert max(seconds for _, seconds, _ in clients.answers) < 3
    threads = status(pid, "Threads")
    reload(daemon, empty)
    assert daemon.ask(b"alice\r\n") == FINE
    wait_until(lambda: descriptors(pid) <= before)
    assert status(pid, "Threads") == threads
    assert int(threads[0]) <= 8 + 3
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]
    assert os.path.exists(f"/proc/{pid}") is False
