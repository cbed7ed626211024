"""HAProxy in front of two daemons, as docs/fleet.md has it: who is asked, what is lost, and which limits hold."""

import contextlib
import itertools
import re
import signal
from collections import Counter

from tests.fleet.conftest import BANNED, MEMBER, NAMES, STRANGER, Fleet
from tests.fleet.load import Load, is_closed, silent
from tests.helpers.daemons import ROOT, Daemon, ask, hear, wait_until
from tests.helpers.fronts import recipe, told
from tests.helpers.ports import free_port
from tests.unit.client.test_cli import outcome as outcome_of
from tests.unit.client.test_cli import pyfinger

FRESH = (
    f"127.10.{number // 200}.{number % 200 + 1}" for number in itertools.count()
)  # clients that nobody has counted
PAGE = (ROOT / "docs" / "fleet.md").read_text()
MAINTENANCE = re.findall(r"^    echo '([^']*)' \| socat stdio /run/haproxy/admin.sock$", PAGE, re.MULTILINE)
LIMITED = b"Too many queries, try again later\r\n"


# Who is asked, and who asks


def test_policy_and_log_have_the_client_s_address(fleet: Fleet) -> None:
    assert b"Counting the tides" in fleet.ask(b"zoe\r\n", MEMBER)
    shown = fleet.ask(b"zoe\r\n", STRANGER)
    assert "Zoë Lanternfish".encode() in shown
    assert b"Counting" not in shown
    assert fleet.ask(b"\r\n", MEMBER).count(b"\r\n") == 3
    assert fleet.ask(b"\r\n", STRANGER) == b"Finger online user list denied\r\n"
    assert fleet.ask(b"zoe\r\n", BANNED) == b"Finger service denied\r\n"
    assert fleet.ask(b"tansy\r\n", MEMBER) == b"No such user\r\n"
    outcomes = {
        MEMBER: ["answered", "answered", "unknown"],
        STRANGER: ["answered", "refused"],
        BANNED: ["denied"],
    }
    for source, expected in outcomes.items():
        lines = fleet.lines(source, len(expected))
        assert sorted(outcome(line) for line in lines) == expected
        assert all(line.endswith(" via=127.0.0.1") for line in lines)
    with contextlib.suppress(OSError):  # there may be no IPv6 here
        assert b"Zo" in ask(("::1", fleet.port), b"zoe\r\n")
        assert all(" via=127.0.0.1" in line for line in fleet.lines("::1", 1))


def outcome(line: str) -> str:
    """The word of an access line."""
    (word,) = re.findall(r"outcome=(\S+)", line)
    return str(word)


def test_only_the_balancer_is_let_in(fleet: Fleet) -> None:
    for name in NAMES:
        address = "127.0.0.1", fleet.ports[name]
        with contextlib.suppress(ConnectionResetError):
            assert ask(address, b"PROXY TCP4 192.0.2.7 192.0.2.1 1 79\r\nzoe\r\n", source="127.9.4.1") == b""
    assert [outcome(line) for line in fleet.lines("127.9.4.1", 2)] == ["denied", "denied"]


def test_a_client_keeps_its_server_and_all_servers_have_some(fleet: Fleet) -> None:
    sources = [next(FRESH) for _ in range(16)]
    for source in sources * 3:
        assert b"Kiln house" in fleet.ask(b"brindle\r\n", source)
    for source in sources:
        fleet.lines(source, 3)
    asked = {
        name: Counter(re.findall(r"client=(127\.10\S+) ", "\n".join(daemon.log)))
        for name, daemon in fleet.daemons.items()
    }
    for source in sources:
        assert sorted(counted[source] for counted in asked.values()) == [0, 3]
    assert all(any(counted[source] for source in sources) for counted in asked.values())


# Limits


def ask_freely(fleet: Fleet, source: str) -> bytes:
    """The answer; nothing if the connection is closed or reset."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        return fleet.ask(b"brindle\r\n", source)
    return b""


def test_the_rate_is_the_client_s_and_who_goes_on_is_cut_off(fleet: Fleet) -> None:
    client, other = next(FRESH), next(FRESH)
    answers = [ask_freely(fleet, client) for _ in range(120)]
    assert all(b"Kiln house" in answer for answer in answers[:60])
    assert set(answers[60:]) <= {answers[0], LIMITED}  # one more a second
    assert LIMITED in answers
    assert [ask_freely(fleet, client) for _ in range(5)] == [b""] * 5
    assert b"Kiln house" in fleet.ask(b"brindle\r\n", other)
    lines = fleet.lines(client, 120)
    assert len(lines) == 120
    assert {outcome(line) for line in lines} == {"answered", "limited"}


def test_a_client_has_so_many_connections_to_the_fleet(fleet: Fleet) -> None:
    client, other = next(FRESH), next(FRESH)
    with silent(fleet.port, client, 50) as connections:
        wait_until(lambda: re.search(rf"{client} .*conn_cur=50\b", told(fleet.stats, "show table clients")))
        assert ask_freely(fleet, client) == b""
        assert b"Kiln house" in fleet.ask(b"brindle\r\n", other)
        connections[0].sendall(b"brindle\r\n")
        assert b"Kiln house" in hear(connections[0])
    assert "limited" not in map(outcome, fleet.lines(client, 50))


def test_per_client_is_the_client_s_too(fleet: Fleet) -> None:
    """Behind a balancer that does not count connections."""
    client, other = next(FRESH), next(FRESH)
    with (
        fleet.balancer("uncounted", {"gt 50": "gt 5000", "gt 120": "gt 5000"}) as (port, _),
        silent(port, client, 53) as connections,
    ):
        wait_until(lambda: sum(is_closed(connection) for connection in connections) >= 3)
        assert b"Kiln house" in fleet.ask(b"brindle\r\n", other, port)
        assert sum(outcome(line) == "limited" for line in fleet.lines(client, 3)) == 3


def test_the_other_balancer_knows_what_a_client_has_had(fleet: Fleet) -> None:
    peers = {"192.0.2.1:10000": f"127.0.0.1:{free_port()}", "192.0.2.2:10000": f"127.0.0.1:{free_port()}"}
    client = next(FRESH)
    with (
        fleet.balancer("lb1", peers, "-L", "lb1") as (port, _),
        fleet.balancer("lb2", peers, "-L", "lb2") as (other, stats),
    ):
        for _ in range(130):
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                fleet.ask(b"brindle\r\n", client, port)

        def is_known() -> bool:
            rates = re.findall(rf"{client} .*conn_rate\(60000\)=(\d+)", told(stats, "show table clients"))
            return bool(rates) and int(rates[0]) > 120

        wait_until(is_known)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            assert fleet.ask(b"brindle\r\n", client, other) == b""
        assert b"Kiln house" in fleet.ask(b"brindle\r\n", next(FRESH), other)


# TLS


def test_the_balancer_can_have_tls_as_well(fleet: Fleet) -> None:
    """By the two lines of haproxy-tls.cfg, as the page says."""
    lines = re.findall(r"^ +bind .* ssl crt .*\n", recipe("haproxy-tls.cfg", {}), re.MULTILINE)
    certificate = fleet.authority.issue("IP:127.0.0.1")
    encrypted = free_port()
    added = "".join(lines).replace(":::8179", f"::1:{encrypted}").replace("bind :8179", f"bind 127.0.0.1:{encrypted}")
    added = added.replace("/etc/haproxy/finger.pem", str(certificate))
    before = "    tcp-request connection track-sc0"
    with fleet.balancer("with-tls", {before: added + before}) as (port, _):
        asked = pyfinger("--tls", "--ca", str(fleet.authority.ca), f"zoe@127.0.0.1:{encrypted}")
        assert outcome_of(asked) == outcome_of(pyfinger(f"zoe@127.0.0.1:{port}"))
        assert "Boat shed" in outcome_of(asked)[1]


# One of them goes


def test_a_killed_daemon_loses_what_was_in_flight_there_and_nothing_else(fleet: Fleet) -> None:
    with Load(fleet.ask) as load:
        load.wait_for(100)
        killed = fleet.stop("one", signal.SIGKILL)
        load.wait_for(150)
        assert fleet.is_down("one")
        lost = load.lost()
        fleet.restart("one")
        load.wait_for(150)
    assert lost <= Load.CLIENTS, load.answers
    assert load.lost() == lost, load.answers
    wait_until(lambda: all(clients_of(daemon) & set(load.sources) for daemon in fleet.daemons.values()))
    for daemon in (killed, *fleet.daemons.values()):
        assert "127.0.0.1" not in clients_of(daemon)


def clients_of(daemon: Daemon) -> set[str]:
    """Who has asked it for brindle, by its log so far."""
    return set(re.findall(r'client=(\S+) query="brindle"', "\n".join(daemon.logged_so_far())))


def test_a_daemon_that_hangs_gets_no_more_clients(fleet: Fleet) -> None:
    hanging = fleet.daemons["one"].process
    hanging.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: fleet.is_down("one"))
        for _ in range(8):
            assert b"Kiln house" in fleet.ask(b"brindle\r\n", next(FRESH))
    finally:
        hanging.send_signal(signal.SIGCONT)
    wait_until(lambda: fleet.is_up("one"))


def test_a_daemon_that_the_balancer_leaves_out_is_restarted_without_loss(fleet: Fleet) -> None:
    with Load(fleet.ask) as load:
        load.wait_for(100)
        take_out, put_back = MAINTENANCE
        told(fleet.stats, take_out)
        fleet.stop("two")
        load.wait_for(100)
        fleet.start("two")
        told(fleet.stats, put_back)
        wait_until(lambda: fleet.is_up("two"))
        load.wait_for(100)
    assert load.lost() == 0, load.answers
    assert sum(load.sources.values()) > 300

    def all_are_logged() -> bool:
        daemons = (*fleet.ended, *fleet.daemons.values())
        text = "\n".join(line for daemon in daemons for line in daemon.logged_so_far())
        logged = Counter(re.findall(r'client=(\S+) query="brindle" outcome=answered', text))
        return load.sources <= logged

    wait_until(all_are_logged)


# The database


def test_while_the_database_is_down_what_it_told_last_is_told(fleet: Fleet) -> None:
    sources = [next(FRESH) for _ in range(8)]
    for source in sources:
        assert b"Kiln house" in fleet.ask(b"brindle\r\n", source)
    fleet.database.kill()
    try:
        for source in sources:
            assert b"Kiln house" in fleet.ask(b"brindle\r\n", source)
        assert b"Internal error" in fleet.ask(b"nobody-asked-before\r\n", next(FRESH))
        for source in sources:  # what the health checks ask
            assert fleet.ask(b"healthcheck\r\n", source) == b"No such user\r\n"
    finally:
        fleet.database.start()
    wait_until(lambda: fleet.ask(b"nobody-asked-before\r\n", next(FRESH)) == b"No such user\r\n")
