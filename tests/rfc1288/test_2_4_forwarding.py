"""RFC 1288 2.4, 3.2.1 and 4.4: queries for other hosts, refused or forwarded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, Daemon
from tests.helpers.requirements import need
from tests.rfc1288.conftest import SHIPPED
from tests.rfc1288.network import Network

DENIED = b"Finger forwarding service denied\r\n"
REPLY_BYTES = 262144  # the default
TOO_MUCH = b"and so on\r\n" * 30_000
TO_OTHERS = (b"zoe@host\r\n", b"@host\r\n", b"/W zoe@host\r\n", b"zoe@host1@host2\r\n")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    need("root", "namespaces", "ip")
    network = Network(tmp_path_factory.mktemp("network"))
    yield network
    network.close()


@pytest.mark.parametrize("query", TO_OTHERS, ids=ascii)
def test_r13_forwarding_is_actively_refused(rfc_daemon: Daemon, query: bytes) -> None:
    assert rfc_daemon.ask(query) == DENIED
    assert rfc_daemon.ask(query) != rfc_daemon.ask(b"nobody\r\n")


def test_r13_or_it_is_provided_and_never_silent(network: Network) -> None:
    for said in (b"heard\r\n", b"", b"\r\n"):
        network.set_answer(said)
        assert network.ask(1, b"hedrick@parrot.example.org\r\n") == b"[parrot.example.org]\r\n" + said
    assert network.ask(1, b"hedrick@10.88.2.5\r\n") == b"Host cannot be reached\r\n"  # where nobody listens
    refused = network.ask(1, b"hedrick@127.0.0.1@math.rutgers.edu\r\n")
    assert refused == b"[math.rutgers.edu]\r\n" + DENIED  # though math itself knows a hedrick


def test_r14_of_the_remainder_for_this_host_itself_no_host_is_asked(network: Network) -> None:
    there = network.ask(1, b"hedrick@math.rutgers.edu\r\n")
    assert b"Charles Hedrick" in there
    assert network.ask(1, b"hedrick@localhost@math.rutgers.edu\r\n") == there
    network.set_answer(b"heard\r\n")
    assert network.ask(1, b"foo@parrot.example.org@localhost\r\n") == b"[parrot.example.org]\r\nheard\r\n"
    assert network.last_query() == b"foo\r\n"


def test_r14_the_right_most_host_is_asked_for_the_remainder(network: Network) -> None:
    for query, remainder in (
        (b"foo@host1@parrot.example.org", b"foo@host1"),
        (b"foo@parrot.example.org", b"foo"),
        (b"@parrot.example.org", b""),
        (b"/W foo@host1@host2@parrot.example.org", b"/W foo@host1@host2"),
        (b"/W @parrot.example.org", b"/W"),
    ):
        network.set_answer(b"heard\r\n")
        assert network.ask(1, query + b"\r\n").endswith(b"heard\r\n")
        assert network.last_query() == remainder + b"\r\n"


def test_r15_the_server_itself_opens_the_connection(network: Network) -> None:
    network.set_answer(b"heard\r\n")
    network.ask(0, b"foo@parrot.example.org@pilot.njin.net\r\n")  # there is no other way from the one to the other
    assert network.last_query() == b"foo\r\n"


def test_r16_all_that_is_received_is_returned(network: Network) -> None:
    answer = b"".join(b"%06d: Gr\xc3\xbc\xc3\x9fe\r\n" % number for number in range(10_000))  # some 180 KB
    network.set_answer(answer)
    assert network.ask(1, b"foo@parrot.example.org\r\n") == b"[parrot.example.org]\r\n" + answer


def test_r16_control_characters_are_masked(network: Network) -> None:
    network.set_answer(b"a\x1b]0;owned\x07\tb \xc2\x9b31m\x7f\r\nc\rd\n")
    assert network.ask(1, b"foo@parrot.example.org\r\n") == (
        b"[parrot.example.org]\r\na?]0;owned?\tb ?31m?\r\nc\r\nd\r\n"
    )


def test_r16_an_answer_that_is_cut_says_so(network: Network) -> None:
    network.set_answer(TOO_MUCH)
    told = network.ask(1, b"foo@parrot.example.org\r\n")
    assert len(told) <= REPLY_BYTES
    assert told.endswith(b"and so on\r\n[answer cut]\r\n")


@pytest.fixture
def hold(network: Network) -> Iterator[Path]:
    """While this file exists, parrot neither sends the rest nor closes."""
    hold = network.directory / "hold"
    hold.touch()
    yield hold
    hold.unlink(missing_ok=True)
    network.set_answer(b"here\r\n")
    assert b"here" in network.ask(1, b"a@parrot.example.org\r\n")  # it has finished with the client that it held


def test_r17_the_connection_is_closed_when_the_next_host_closes(network: Network, hold: Path) -> None:
    expected = b"[parrot.example.org]\r\n" + b"some of it\r\n" * 1000
    network.set_answer(b"some of it\r\n" * 1000, b"and the last of it\r\n")
    with network.client(1, b"foo@parrot.example.org\r\n") as client:
        assert client.stdout
        assert client.stdout.read(len(expected)) == expected  # all that there is was said, and the next host waits
        hold.unlink()
        assert client.stdout.read() == b"and the last of it\r\n"
        assert client.wait(TIMEOUT) == 0


@pytest.mark.parametrize("answer", [TOO_MUCH, b"some of it\r\n"], ids=["too long", "takes too long"])
@pytest.mark.usefixtures("hold")
def test_r17_it_is_closed_before_where_the_answer_is_too_long_or_takes_too_long(
    network: Network, answer: bytes
) -> None:
    network.set_answer(answer)
    assert network.ask(1, b"foo@parrot.example.org\r\n").endswith(b"[answer cut]\r\n")  # and parrot still holds


def test_r18_forwarding_is_turned_on_and_off_by_the_administrator(network: Network, rfc_daemon: Daemon) -> None:
    network.set_answer(b"heard\r\n")
    assert b"heard" in network.ask(1, b"zoe@parrot.example.org\r\n")
    assert rfc_daemon.ask(b"zoe@parrot.example.org\r\n") == DENIED


@pytest.mark.parametrize("query", TO_OTHERS, ids=ascii)
def test_r19_the_refusal_is_in_the_words_of_the_rfc(rfc_daemon: Daemon, query: bytes) -> None:
    assert rfc_daemon.ask(query, source=SHIPPED) == DENIED


def test_r20_refusing_is_the_default(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: static, users: {zoe: Zoe}}\n')
    assert daemon.ask(b"zoe@127.0.0.1\r\n") == DENIED


def test_r21_only_hosts_that_the_administrator_names_are_asked(network: Network) -> None:
    asked: Path = network.directory / "asked"
    asked.unlink(missing_ok=True)
    for query in (b"a@stranger.example.org", b"a@10.88.1.1", b"a@127.0.0.1", b"a@127.1", b"a@b@[::1]"):
        assert network.ask(1, query + b"\r\n") == DENIED
    assert not asked.exists()
    network.set_answer(b"heard\r\n")
    assert b"heard" in network.ask(1, b"a@10.88.2.4\r\n")


def test_r21_a_name_that_may_be_asked_leads_to_no_address_within_the_site(network: Network) -> None:
    assert network.ask(1, b"a@inside.example.org\r\n") == DENIED  # the name is in a rule, its address is in none
    network.set_answer(b"heard\r\n")
    assert b"heard" in network.ask(1, b"a@parrot.example.org\r\n")  # as the address of this one is


def test_r22_each_hop_is_named_in_brackets(network: Network) -> None:
    network.set_answer(b"heard\r\n")
    answer = network.ask(0, b"foo@parrot.example.org@pilot.njin.net\r\n")
    assert answer == b"[pilot.njin.net]\r\n[parrot.example.org]\r\nheard\r\n"


def test_r38_slash_w_is_passed_on_to_the_next_host(network: Network) -> None:
    network.set_answer(b"heard\r\n")
    for query, passed_on in ((b"/W foo", b"/W foo"), (b"/w foo", b"/W foo"), (b"foo", b"foo"), (b"/W ", b"/W")):
        assert b"heard" in network.ask(0, query + b"@parrot.example.org@pilot.njin.net\r\n")
        assert network.last_query() == passed_on + b"\r\n"


def test_r57_the_example_of_a_forwarded_query(network: Network) -> None:
    answer = network.ask(0, b"hedrick@math.rutgers.edu@pilot.njin.net\r\n").decode().splitlines()
    assert answer[:2] == ["[pilot.njin.net]", "[math.rutgers.edu]"]
    assert answer[2].split() == ["Login", "name:", "hedrick", "In", "real", "life:", "Charles", "Hedrick"]
    assert answer[3] == "Office: 484 Hill, x3088"
    assert answer[-1] == "No Plan."
