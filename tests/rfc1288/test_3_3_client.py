"""RFC 1288 3.3, and the part of 2.3 about clients: the queries of pyfinger, and its filter for terminals."""

import os
import socket
import subprocess
import sys
import threading

from tests.helpers.daemons import TIMEOUT, hear

UNPRINTABLE = b"\x1b]0;title\x07 tab\there \x9b31m \xff caf\xc3\xa9 \x00\x08\x7f.\r\nsecond line\nthird\r\n"


def pyfinger(reply: bytes, *options: str, target: str = "zoe@127.0.0.1", **environment: str) -> tuple[bytes, bytes]:
    """The output of pyfinger for an answer, and the query that it sent."""
    sent: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.settimeout(TIMEOUT)
                sent.append(client.recv(4096))
                client.sendall(reply)
                client.shutdown(socket.SHUT_WR)
                hear(client)

        thread = threading.Thread(target=answer)
        thread.start()
        port = str(server.getsockname()[1])
        shown = subprocess.run(
            [sys.executable, "-m", "fingerd.client", "-p", port, *options, target],
            capture_output=True,
            check=True,
            timeout=TIMEOUT,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | environment,
        )
        thread.join(TIMEOUT)
    return shown.stdout, sent[0]


def printable(shown: bytes) -> bool:
    """Whether all characters are those of the default of RFC 1288 3.3: 32 to 126, tabs and line ends."""
    return set(shown) <= {*range(32, 127), *b"\t\r\n"}


def test_r10_the_host_of_the_command_line_is_not_in_the_query() -> None:
    assert pyfinger(b"Zoe\r\n")[1] == b"zoe\r\n"
    assert pyfinger(b"Zoe\r\n", "-l")[1] == b"/W zoe\r\n"
    assert pyfinger(b"all\r\n", target="@127.0.0.1")[1] == b"\r\n"
    assert pyfinger(b"Zoe\r\n", target="zoe@host1@127.0.0.1")[1] == b"zoe@host1\r\n"


def test_r50_unprintable_characters_are_filtered_by_default() -> None:
    shown, _ = pyfinger(UNPRINTABLE)
    assert printable(shown)
    for text in (b"tab\there", b"31m", b"caf", b"second line", b"third"):
        assert text in shown


def test_r51_two_options_let_control_and_international_characters_through() -> None:
    controls, _ = pyfinger(UNPRINTABLE, "--controls")
    assert b"\x1b]0;title\x07" in controls
    assert not any(byte > 126 for byte in controls)
    international, _ = pyfinger(UNPRINTABLE, "--international")
    assert "café".encode() in international
    assert not set(international) & {*range(9), *range(14, 32)}
    both, _ = pyfinger(UNPRINTABLE, "--controls", "--international")
    assert b"\x1b]0;title\x07" in both
    assert "café".encode() in both


def test_r52_a_global_environment_variable_lets_international_characters_through_for_all() -> None:
    assert "café".encode() in pyfinger(UNPRINTABLE, PYFINGER_INTERNATIONAL="1")[0]
    assert printable(pyfinger(UNPRINTABLE, PYFINGER_INTERNATIONAL="0")[0])
