"""What holds of any bytes that a balancer may send: a header that names a client, an error, or more is waited for."""

from fingerd.errors import ProxyHeaderError
from fingerd.net.addresses import UNIX, is_this_host, parse_address
from fingerd.protocol.proxy_header import MAX_HEADER_BYTES, MAX_LINE_BYTES, ProxyHeader, parse_proxy_header
from fingerd.ruip.policy import NOT_LOCAL, Policy, Rule
from fingerd.server.proxied.clients import client_of, own_rule_key

_BALANCER = "192.0.2.1"
_POLICY = Policy([Rule(("local",)), Rule(("any",))])


def proxy(raw: bytes) -> None:
    """``parse_proxy_header``: the same for the bytes as a whole and in pieces; and whom it names."""
    header = _parsed(raw)
    sizes = range(len(raw) + 1) if len(raw) < 300 else (0, 1, 12, 13, 16, 106, 107, 108, len(raw) - 1, len(raw))
    for size in sizes:
        early = _parsed(raw[:size])
        if isinstance(header, tuple):
            assert early == (None if size < header[0] else header), "a header has one end, however it comes"
        elif header is None:
            assert early is None
        else:
            assert not isinstance(early, tuple)
    if header is None:
        assert len(raw) < (MAX_LINE_BYTES if raw[:1] == b"P" else MAX_HEADER_BYTES), "more is waited for"
    elif isinstance(header, tuple):
        assert _parsed(raw + b"\0\r\n") == header
        _check_client(header)


def _parsed(raw: bytes) -> ProxyHeader | str | None:
    try:
        return parse_proxy_header(raw)
    except ProxyHeaderError as error:
        return str(error)


def _check_client(header: ProxyHeader) -> None:
    _, client, port = header
    assert 0 <= port <= 65535
    if client not in ("", UNIX):
        parse_address(client)
    for balancer in (_BALANCER, "127.0.0.1", UNIX):
        peer = client_of(client, balancer)
        key = peer[0] if peer else own_rule_key(balancer)
        number = _POLICY.find(key).number
        if number == 0:
            assert balancer != _BALANCER, "nobody behind another host is local"
            assert peer
            assert client == UNIX or is_this_host(peer[0])
        assert peer is None or not peer[0].startswith(NOT_LOCAL)
