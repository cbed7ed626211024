"""pyfinger --tls as a process, against servers with real certificates: good ones, and each kind of bad one."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.client.target import read_target
from fingerd.client.tls import Tls
from tests.conftest import Start
from tests.helpers.certificates import Authority, self_signed
from tests.helpers.daemons import TIMEOUT
from tests.helpers.ports import free_port
from tests.helpers.requirements import needs
from tests.unit.client.test_cli import outcome, pyfinger

pytestmark = needs("openssl")

ANSWER = b"Happy and well\r\n"
Answer = Callable[[ssl.SSLSocket], object]


def answer_well(client: ssl.SSLSocket) -> None:
    """Send the answer, and end it as TLS wants it."""
    client.sendall(ANSWER)
    client.unwrap()


class TlsServer:
    """Reads one line of each client within TLS, and then calls ``answer`` with the client."""

    def __init__(self, context: ssl.SSLContext, answer: Answer, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._context = context
        self._context.sni_callback = self._on_hello
        self._answer = answer
        self.port: int = self._listener.getsockname()[1]
        self.names: list[str | None] = []  # that clients have asked for (SNI)
        self.lines: list[bytes] = []
        self.ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _on_hello(self, _: object, name: str | None, __: object) -> None:
        self.names.append(name)

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            client.settimeout(TIMEOUT)
            with client, contextlib.suppress(OSError):
                if self.ending.is_set():
                    return
                with self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False) as encrypted:
                    try:
                        encrypted.do_handshake()
                    except ssl.SSLError:  # unread bytes would make a reset of the end, which may overtake the alert
                        while socket.socket.recv(encrypted, 4096):
                            pass
                        continue
                    self.lines.append(encrypted.recv(1024))
                    self._answer(encrypted)

    def close(self) -> None:
        """Stop it."""
        self.ending.set()
        socket.create_connection(self._listener.getsockname()[:2], timeout=TIMEOUT).close()
        self._thread.join(TIMEOUT)
        self._listener.close()
        assert not self._thread.is_alive()


Serve = Callable[..., TlsServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers with the certificate of a file, on free ports of loopback, and stops them."""
    started: list[TlsServer] = []

    def serve(
        certificate: Path,
        answer: Answer = answer_well,
        host: str = "127.0.0.1",
        change: Callable[[ssl.SSLContext], object] = bool,
    ) -> TlsServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        change(context)
        started.append(TlsServer(context, answer, host))
        return started[-1]

    yield serve
    for server in started:
        server.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def failure(done: tuple[int, str, str]) -> str:
    """The one line of standard error, when a target has not answered."""
    code, printed, complained = done
    assert (code, printed) == (1, "")
    (line,) = complained.splitlines()
    return line


# Good servers


def test_a_verified_server_is_asked_by_name_and_by_address(serve: Serve, authority: Authority) -> None:
    server = serve(authority.issue("DNS:localhost", "IP:127.0.0.1"))
    for host in ("localhost", "127.0.0.1"):
        done = pyfinger("-4", "--tls", "--ca", str(authority.ca), f"bob@{host}:{server.port}")
        assert outcome(done) == (0, "Happy and well\n", "")
    assert outcome(pyfinger("--tls", f"--ca={authority.ca}", "-4p", str(server.port), "-l", "bob"))[0] == 0
    assert server.names == ["localhost", None, "localhost"]  # an address is no name
    assert server.lines == [b"bob\r\n", b"bob\r\n", b"/W bob\r\n"]


def test_ipv6_addresses_are_verified(serve: Serve, authority: Authority) -> None:
    try:
        server = serve(authority.issue("IP:::1"), host="::1")
    except OSError as error:
        pytest.skip(f"needs IPv6 on loopback: {error}")
    for host in ("[::1]", "[0:0::1]"):
        done = pyfinger("--tls", "--ca", str(authority.ca), f"bob@{host}:{server.port}")
        assert outcome(done) == (0, "Happy and well\n", "")
    other = serve(authority.issue("IP:::2"), host="::1")
    done = pyfinger("--tls", "--ca", str(authority.ca), f"bob@[::1]:{other.port}")
    assert failure(outcome(done)) == "pyfinger: ::1: the certificate is for another host"


def test_the_zone_of_an_address_and_the_dot_of_the_root_are_not_in_certificates(
    serve: Serve, authority: Authority
) -> None:
    server = serve(
        authority.issue("DNS:people.example", "DNS:*.finger.example", "DNS:xn--bcher-kva.example", "IP:fe80::1")
    )
    tls = Tls(str(authority.ca))
    idna = read_target("bob@bücher.example").host
    for host in ("people.example.", "people.example", "a.finger.example", "PEOPLE.example", idna, "fe80::1%eth0"):
        with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as connection:
            tls.start(connection, host).close()
    for host in ("people.example..", "finger.example", "a.b.finger.example", "fe80::2%eth0", f"{'x' * 64}.example"):
        with (
            socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as connection,
            pytest.raises(OSError, match=r"not valid|no certificate"),
        ):
            tls.start(connection, host)


def test_without_a_file_the_system_s_authorities_are_trusted(serve: Serve, authority: Authority) -> None:
    server = serve(authority.issue("IP:127.0.0.1"))
    target = f"bob@127.0.0.1:{server.port}"
    assert outcome(pyfinger("--tls", target, SSL_CERT_FILE=str(authority.ca)))[:2] == (0, "Happy and well\n")
    assert "not trusted here" in failure(outcome(pyfinger("--tls", target)))


def test_a_file_takes_the_place_of_the_system_s_authorities(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    server = serve(authority.issue("IP:127.0.0.1"))
    other = Authority(tmp_path / "other")
    done = pyfinger("--tls", "--ca", str(other.ca), f"bob@127.0.0.1:{server.port}", SSL_CERT_FILE=str(authority.ca))
    assert "not trusted here" in failure(outcome(done))


def test_a_file_without_an_authority_trusts_no_authority_of_the_system(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    system = tmp_path / "system"
    system.mkdir()
    (system / "ca-certificates.crt").write_bytes(authority.ca.read_bytes())
    server = serve(authority.issue("IP:127.0.0.1"))
    known = {"SSL_CERT_DIR": str(system), "SSL_CERT_FILE": str(tmp_path / "none")}
    target = f"bob@127.0.0.1:{server.port}"
    assert outcome(pyfinger("--tls", target, **known))[:2] == (0, "Happy and well\n")
    pinned = Authority(tmp_path / "other").issue("IP:127.0.0.1")
    assert "not trusted here" in failure(outcome(pyfinger("--tls", "--ca", str(pinned), target, **known)))


def test_a_common_name_is_no_name_of_the_host(serve: Serve, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path / "own.pem", "", "localhost")
    server = serve(certificate)
    done = pyfinger("-4", "--tls", "--ca", str(certificate), f"bob@localhost:{server.port}")
    assert "is for another host" in failure(outcome(done))


def test_a_self_signed_certificate_can_be_trusted(serve: Serve, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path / "own.pem", "IP:127.0.0.1")
    server = serve(certificate)
    done = pyfinger("--tls", "--ca", str(certificate), f"bob@127.0.0.1:{server.port}")
    assert outcome(done) == (0, "Happy and well\n", "")


def test_each_of_several_targets_is_verified_and_all_are_queried(serve: Serve, authority: Authority) -> None:
    good, bad = serve(authority.issue("IP:127.0.0.1")), serve(authority.issue("DNS:people.example"))
    targets = [f"bob@127.0.0.1:{server.port}" for server in (good, bad, good)]
    code, printed, complained = outcome(pyfinger("--tls", "--ca", str(authority.ca), *targets))
    assert (code, printed.count("Happy and well\n")) == (1, 2)
    assert complained == "pyfinger: 127.0.0.1: the certificate is for another host\n"
    assert bad.lines == []


# Certificates


def wrong(kind: str, folder: Path, authority: Authority) -> Path:
    """A certificate with this fault; the authority is trusted."""
    address = "IP:127.0.0.1"
    match kind:
        case "of an unknown authority":
            return Authority(folder / "other").issue(address)
        case "of an unknown authority, with its chain":
            other = Authority(folder / "other")
            chain = other.issue(address)
            chain.write_bytes(chain.read_bytes() + other.ca.read_bytes())
            return chain
        case "self-signed":
            return self_signed(folder / "own.pem", address)
        case "expired":
            return authority.issue(address, days=(-9, -1))
        case "not yet valid":
            return authority.issue(address, days=(1, 9))
        case "for another address":
            return authority.issue("IP:127.0.0.2", "DNS:localhost")
        case "for a name only":
            return authority.issue("DNS:127.0.0.1")
        case _:
            return authority.issue(address, usage="clientAuth")


CERTIFICATES = {
    "of an unknown authority": "is from an authority that is not trusted here; name a file of authorities with --ca",
    "of an unknown authority, with its chain": (
        "is from an authority that is not trusted here; name a file of authorities with --ca"
    ),
    "self-signed": "is self-signed, and no file of --ca has it",
    "expired": "has expired, or that of its authority has",
    "not yet valid": "is not valid yet, or this machine's clock is wrong",
    "for another address": "is for another host",
    "for a name only": "is for another host",
    "for clients": "is not for servers",
}


@pytest.mark.parametrize(("kind", "fault"), CERTIFICATES.items(), ids=CERTIFICATES)
def test_a_wrong_certificate_is_one_line_and_nothing_is_sent(
    kind: str, fault: str, serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    server = serve(wrong(kind, tmp_path, authority))
    done = pyfinger("--tls", "--ca", str(authority.ca), f"bob@127.0.0.1:{server.port}")
    assert failure(outcome(done)) == f"pyfinger: 127.0.0.1: the certificate {fault}"
    assert server.lines == []


def test_a_certificate_for_another_name_is_refused(serve: Serve, authority: Authority) -> None:
    for name in ("DNS:people.example", "DNS:*", "DNS:localhost.example", "IP:127.0.0.1"):
        server = serve(authority.issue(name))
        done = pyfinger("-4", "--tls", "--ca", str(authority.ca), f"bob@localhost:{server.port}")
        assert failure(outcome(done)) == "pyfinger: localhost: the certificate is for another host"


def test_other_faults_are_told_in_openssl_s_words(serve: Serve, authority: Authority) -> None:
    """Here, a certificate for 127.0.0.1 by one that is no authority."""
    no_authority = authority.issue("DNS:people.example")
    folder = authority.ca.parent
    for name, path in (("ca.pem", no_authority), ("ca.key", Path(f"{no_authority}.key"))):
        (folder / name).rename(folder / f"real-{name}")
        (folder / name).write_bytes(path.read_bytes())
    chain = authority.issue("IP:127.0.0.1")
    chain.write_bytes(chain.read_bytes() + no_authority.read_bytes())
    server = serve(chain)
    done = pyfinger("--tls", "--ca", str(folder / "real-ca.pem"), f"bob@127.0.0.1:{server.port}")
    assert failure(outcome(done)) == "pyfinger: 127.0.0.1: the certificate is not valid: invalid CA certificate"


# Handshakes


def refuse_old(context: ssl.SSLContext) -> None:
    """Speak TLS 1.1 only."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1


def want_a_certificate(context: ssl.SSLContext) -> None:
    """Want one of the client."""
    context.verify_mode = ssl.CERT_REQUIRED


def want_one_in_the_handshake(context: ssl.SSLContext) -> None:
    """Want one as TLS 1.2 does, before the end of the handshake."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2


HANDSHAKES = {
    "TLS 1.1": (refuse_old, "the server has no TLS 1.2 or newer"),
    "a client's certificate": (want_a_certificate, "the server refuses TLS: certificate required"),
    "a client's certificate, in TLS 1.2": (want_one_in_the_handshake, "the server refuses TLS: handshake failure"),
}


@pytest.mark.parametrize(("change", "fault"), HANDSHAKES.values(), ids=HANDSHAKES)
def test_a_refused_handshake_is_one_line(
    change: Callable[[ssl.SSLContext], object], fault: str, serve: Serve, authority: Authority
) -> None:
    server = serve(authority.issue("IP:127.0.0.1"), change=change)
    done = pyfinger("--tls", "--ca", str(authority.ca), f"bob@127.0.0.1:{server.port}")
    assert failure(outcome(done)) == f"pyfinger: 127.0.0.1: {fault}"
    assert server.lines == []


def test_an_unknown_name_is_told(serve: Serve, authority: Authority) -> None:
    server = serve(authority.issue("DNS:localhost"))
    server._context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    done = pyfinger("-4", "--tls", "--ca", str(authority.ca), f"bob@localhost:{server.port}")
    assert failure(outcome(done)) == "pyfinger: localhost: the server refuses TLS: unrecognized name"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_1_2_and_1_3_are_spoken(version: str, serve: Serve, authority: Authority) -> None:
    def speak(context: ssl.SSLContext) -> None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    server = serve(authority.issue("IP:127.0.0.1"), change=speak)
    done = pyfinger("--tls", "--ca", str(authority.ca), f"bob@127.0.0.1:{server.port}")
    assert outcome(done) == (0, "Happy and well\n", "")


# No TLS there


@contextlib.contextmanager
def plain_server(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a server without TLS, which calls ``answer`` with its one client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            client.settimeout(TIMEOUT)
            with client, contextlib.suppress(OSError):
                answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def say(text: bytes) -> Callable[[socket.socket], object]:
    """Answer this to whatever has been sent, and wait until the client is gone."""

    def answer(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        client.recv(4096)

    return answer


def drip(client: socket.socket) -> None:
    """Send the head of a TLS record a byte at a time, and never its end."""
    for byte in b"\x16\x03\x03\x40\x00" + bytes(400):
        client.sendall(bytes([byte]))
        if client.recv(4096) == b"":
            return


NO_TLS = "the server does not speak TLS on that port"
PLAIN = {
    "an answer of Finger's": (say(b"Malformed query\r\n"), NO_TLS),
    "an answer of HTTP's": (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), NO_TLS),
    "a greeting of ssh's": (say(b"SSH-2.0-OpenSSH_9.2p1\r\n"), NO_TLS),
    "a short answer": (say(b"No\r\n"), "closed during the TLS handshake: is it a port for TLS?"),
    "no answer": (say(b""), "closed during the TLS handshake: is it a port for TLS?"),
    "closed at once": (socket.socket.close, "closed during the TLS handshake: is it a port for TLS?"),
    "silence": (drip, "no TLS handshake in time: is it a port for TLS?"),
}


@pytest.mark.parametrize(("answer", "fault"), PLAIN.values(), ids=PLAIN)
def test_a_server_without_tls_is_told(answer: Callable[[socket.socket], object], fault: str) -> None:
    with plain_server(answer) as port:
        done = pyfinger("--tls", "-t", "1" if "in time" in fault else "30", f"bob@127.0.0.1:{port}")
    assert failure(outcome(done)) == f"pyfinger: 127.0.0.1: {fault}"


def test_fingerd_itself_is_not_asked_within_tls(start: Start) -> None:
    """It takes the greeting of TLS for a line that does not end, or for a malformed one."""
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: empty}\nlimits: {read_seconds: 1}\n')
    told = failure(outcome(pyfinger("--tls", f"bob@127.0.0.1:{daemon.address[1]}")))
    assert "TLS" in told


def test_a_refused_connection_is_told_as_without_tls() -> None:
    port = free_port()
    told = failure(outcome(pyfinger("--tls", f"bob@127.0.0.1:{port}")))
    assert told == f"pyfinger: 127.0.0.1: port {port}: Connection refused"


# Answers


def send_half(client: ssl.SSLSocket) -> None:
    """Send an answer that ends without close_notify."""
    client.sendall(ANSWER)
    client.shutdown(socket.SHUT_RDWR)


def send_slowly(client: ssl.SSLSocket) -> None:
    """Send a byte now and then, until the client is gone."""
    ended = threading.Event()
    while not ended.wait(0.2):
        client.sendall(b"x")


def end(client: ssl.SSLSocket) -> None:
    """Send nothing but the end."""
    client.unwrap()


ANSWERS = {
    "cut": (
        send_half,
        "Happy and well\n",
        "the answer broke off: the connection ended, and TLS had not announced it (close_notify)",
    ),
    "empty": (end, "", "the connection was closed without an answer"),
    "none": (
        lambda client: client.shutdown(2),
        "",
        "the connection ended, and TLS had not announced it (close_notify)",
    ),
}


@pytest.mark.parametrize(("answer", "shown", "fault"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_may_be_incomplete_is_an_error(
    answer: Answer, shown: str, fault: str, serve: Serve, authority: Authority
) -> None:
    server = serve(authority.issue("IP:127.0.0.1"), answer)
    done = pyfinger("--tls", "--ca", str(authority.ca), f"bob@127.0.0.1:{server.port}")
    assert outcome(done) == (1, shown, f"pyfinger: 127.0.0.1: {fault}\n")


def test_the_timeout_covers_all_of_it(serve: Serve, authority: Authority) -> None:
    server = serve(authority.issue("IP:127.0.0.1"), send_slowly)
    done = pyfinger("--tls", "-t", "1", "--ca", str(authority.ca), f"bob@127.0.0.1:{server.port}")
    code, shown, complained = outcome(done)
    assert code == 1
    assert set(shown) == {"x", "\n"}
    assert complained == "pyfinger: 127.0.0.1: no complete answer within 1 seconds\n"


def test_a_long_answer_is_whole_or_cut_where_it_should_be(serve: Serve, authority: Authority) -> None:
    def send(client: ssl.SSLSocket) -> None:
        client.sendall(b"x" * 200_000)
        client.unwrap()

    server = serve(authority.issue("IP:127.0.0.1"), send)
    options = ("--tls", "--ca", str(authority.ca), f"bob@127.0.0.1:{server.port}")
    assert outcome(pyfinger(*options)) == (0, "x" * 200_000 + "\n", "")
    cut = outcome(pyfinger("--max-bytes", "100000", *options))
    assert cut == (1, "x" * 100_000 + "\n", "pyfinger: 127.0.0.1: the answer was cut after 100000 bytes\n")


# Files of authorities


FILES = {
    "missing": "No such file or directory",
    "empty": "contains no certificates",
    "a key only": "contains no certificates",
    "a text": "contains no certificates",
    "a directory": "Not a regular file",
    "\x1b]0;owned\x07": "No such file or directory",
    "too long": "File name too long",
}


@pytest.mark.parametrize(("kind", "fault"), FILES.items(), ids=FILES)
def test_an_unusable_file_of_authorities_is_64_and_nothing_is_sent(
    kind: str, fault: str, serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    server = serve(authority.issue("IP:127.0.0.1"))
    file = tmp_path / kind
    if kind == "empty":
        file.touch()
    elif kind == "a key only":
        file.write_bytes((authority.ca.parent / "ca.key").read_bytes())
    elif kind == "a text":
        file.write_bytes(ANSWER)
    elif kind == "a directory":
        file.mkdir()
    elif kind == "too long":
        file = tmp_path / ("x" * 300)
    done = pyfinger("--tls", "--ca", str(file), f"bob@127.0.0.1:{server.port}")
    shown = str(file).replace("\x1b", r"\x1b").replace("\x07", r"\x07")
    assert outcome(done) == (64, "", f"pyfinger: --ca: {shown}: {fault}\n")
    assert server.lines == []


def test_a_file_of_authorities_without_tls_is_wrong_usage(authority: Authority) -> None:
    code, printed, complained = outcome(pyfinger("--ca", str(authority.ca), "bob@127.0.0.1:9"))
    assert (code, printed) == (64, "")
    assert complained.endswith("pyfinger: argument --ca: only with --tls\n")
