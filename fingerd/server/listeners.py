"""Where clients are waited for: the addresses that ``listen`` may name, and their sockets."""

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fingerd.config.system_options import User, read_group, read_mode, read_path, read_user, resolve_path
from fingerd.config.values import Scalar, named, to_text
from fingerd.errors import StartError
from fingerd.net.addresses import UNIX, is_this_host, parse_address, parse_network
from fingerd.net.sources import Proxy

BACKLOG = 4096  # connections that the kernel holds until they are accepted; it may hold fewer (net.core.somaxconn)

LOOPBACK_NAMES = ("localhost", "localdomain", "ip6-localhost", "ip6-loopback")  # RFC 6761 6.3, and Debian's hosts(5)

_HOST_PORT = re.compile(r"(?:\[(?P<ipv6>[^]]+)\]|(?P<host>[^:]*)):(?P<port>[0-9]{1,5})")


@named("network")
def read_proxy(scalar: Scalar) -> Proxy:
    """One entry of ``proxies``; ValueError if it is not an address, a network or ``unix``."""
    text = to_text(scalar)
    return "unix" if text == UNIX else parse_network(text, f"an address, a network or {UNIX}")


Proxies = tuple[Annotated[Proxy, read_proxy], ...]  # whose connections begin with a PROXY header; () for none


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """``host:port``; no host means all addresses, IPv4 and IPv6."""

    host: str
    port: int
    proxies: Proxies = ()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system: the path ``unix``, and who may write to it, which is who may ask."""

    unix: Annotated[str, read_path]
    mode: Annotated[int, read_mode] = 0o666
    user: Annotated[User, read_user] | None = None
    group: Annotated[int, read_group] | None = None
    proxies: Proxies = ()

    def __str__(self) -> str:
        return f"unix:{self.unix}"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """Who binds for us: ``systemd``, which passes listening sockets, or ``inetd``, one client as descriptor 0."""

    by: str
    name: str = ""  # FileDescriptorName= of systemd.socket(5); empty for those that have no other place
    proxies: Proxies = ()

    def __str__(self) -> str:
        return f"{self.by} {self.name}".rstrip()


ListenAddress = TcpAddress | UnixAddress | InheritedSocket


def parse_listen(text: str) -> ListenAddress:
    """The address that ``text`` names; ValueError where it names none."""
    if text in ("systemd", "inetd"):
        return InheritedSocket(text)
    if text.startswith("unix:"):
        if text == "unix:" or "\0" in text:
            raise ValueError("must be a path after unix:")
        return UnixAddress(resolve_path(text.removeprefix("unix:")))
    match = _HOST_PORT.fullmatch(text)
    if match and int(match["port"]) > 65535:
        raise ValueError(f"there is no port {match['port']}")
    if not match:
        hint = f' (did you mean ":{text}"?)' if text.isdigit() else ""
        raise ValueError(f'must be "host:port", ":port", "[ipv6]:port", "unix:/path", systemd or inetd{hint}')
    return TcpAddress(match["ipv6"] or match["host"] or "", int(match["port"]))


def read_address(scalar: Scalar) -> TcpAddress | UnixAddress:
    """The address that an option names; ValueError where it names none, or a socket that is inherited."""
    address = parse_listen(scalar.text if scalar.text.isdigit() else to_text(scalar))
    if isinstance(address, InheritedSocket):
        raise ValueError("must be an address; a socket from systemd has a name: {systemd: NAME}")
    return address


def systemd_names(listen: Iterable[ListenAddress]) -> list[str]:
    """The names of the sockets that systemd passes for these addresses."""
    return [address.name for address in listen if isinstance(address, InheritedSocket) and address.name]


def is_local_listener(address: ListenAddress) -> bool:
    """Whether only this host reaches it; not known of one that is inherited."""
    if isinstance(address, UnixAddress):
        return True
    if not isinstance(address, TcpAddress) or not address.host:
        return False
    name = address.host.lower().removesuffix(".")
    try:
        return is_this_host(str(parse_address(name)))
    except ValueError:
        return name.split(".")[-1] in LOOPBACK_NAMES or name.startswith("127.")  # 127.1 is an address, too


def is_open_to_all(address: ListenAddress) -> bool:
    """Whether it is a unix socket to which any local user may connect."""
    return isinstance(address, UnixAddress) and bool(address.mode & stat.S_IWOTH)


def proxies_warning(address: ListenAddress) -> str:
    """What may not be meant by the ``proxies`` of an address; empty for nothing."""
    if isinstance(address, UnixAddress) and UNIX not in address.proxies:
        return f"all clients of a unix socket are denied unless proxies names {UNIX}"
    if isinstance(address, TcpAddress) and set(address.proxies) == {UNIX}:
        return f"all clients are denied: none of them is {UNIX}, which proxies names"
    if is_open_to_all(address):
        return "every local user can connect, and proxies lets all of them name any client: set mode and group"
    return ""


def open_listeners(
    addresses: Iterable[ListenAddress], inherited: Mapping[str, Sequence[socket.socket]] | None = None
) -> list[socket.socket]:
    """A listening, non-blocking socket for every address; a name may have several.

    ``inherited`` are those that have been passed to this process, by their names.

    StartError with exit code 77 where the port needs root, 69 where an
    address cannot be bound for another reason; none is left open then.
    """
    listeners: list[socket.socket] = []
    try:
        for address in addresses:
            try:
                listeners += _open(address, inherited or {})
            except PermissionError as error:
                hint = " (ports below 1024 need root)" if isinstance(address, TcpAddress) else ""
                raise StartError(f"cannot listen on {address}: {error.strerror}{hint}", os.EX_NOPERM) from error
            except (OSError, UnicodeError) as error:  # of which the last is what a name that cannot be one gives
                raise StartError(
                    f"cannot listen on {address}: {getattr(error, 'strerror', None) or error}", os.EX_UNAVAILABLE
                ) from error
    except StartError:
        for listener in listeners:
            close_listener(listener)
        raise
    return listeners


def _open(address: ListenAddress, inherited: Mapping[str, Sequence[socket.socket]]) -> list[socket.socket]:
    if isinstance(address, InheritedSocket):
        if address.name in inherited:
            return list(inherited[address.name])
        raise StartError(f"listen is {address}, but no socket was passed to this process", os.EX_CONFIG)
    return [_open_unix(address)] if isinstance(address, UnixAddress) else _open_internet(address)


def _open_internet(address: TcpAddress) -> list[socket.socket]:
    if not address.host and socket.has_dualstack_ipv6():
        return [_listen(socket.AF_INET6, ("::", address.port), both=True)]
    found = socket.getaddrinfo(
        address.host or None,
        address.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    listeners: list[socket.socket] = []
    absent: OSError | None = None
    for family, _, _, _, target in dict.fromkeys(found):
        try:
            listeners.append(_listen(family, target))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for listener in listeners:
                    listener.close()
                raise
            absent = error  # a name's IPv6 address on a host without IPv6, say
    if absent and not listeners:
        raise absent
    return listeners


def _listen(family: int, target: object, both: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        listener.bind(target)  # type: ignore[arg-type]  # whatever getaddrinfo gave for this family
        listener.listen(BACKLOG)  # which may find the address taken, where bind did not
        listener.setblocking(False)
        return listener
    except OSError:
        listener.close()
        raise


def is_supported(sock: socket.socket) -> bool:
    """Whether a socket that was passed is of a kind whose clients have addresses that a policy knows."""
    return sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class _UnixListener(socket.socket):
    """A listening unix socket that knows its name in the file system again."""

    identity: os.stat_result | None = None


def _open_unix(address: UnixAddress) -> socket.socket:
    """Bind the path; a socket that nobody listens on any more is taken over, anything else left alone."""
    listener = _UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_abandoned(address.unix):
            os.unlink(address.unix)
        umask = os.umask(0o777 & ~address.mode)  # so that it never has another mode
        try:
            listener.bind(address.unix)
        finally:
            os.umask(umask)
        if address.user or address.group is not None:  # a sandbox may forbid it, even where it changes nothing
            uid = address.user.uid if address.user else -1
            os.chown(address.unix, uid, -1 if address.group is None else address.group, follow_symlinks=False)
        listener.identity = os.lstat(address.unix)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        return listener
    except OSError:
        listener.close()
        raise


def _is_abandoned(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # EAGAIN: somebody listens, and has clients waiting
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def close_listener(listener: socket.socket) -> None:
    """Close the socket; the name of a unix socket that is ours goes with it, where we see it and may remove it."""
    if isinstance(listener, _UnixListener) and listener.identity and listener.fileno() >= 0:
        path = listener.getsockname()
        with contextlib.suppress(OSError):  # in a jail, or in a folder of root's: the next start takes it over
            if os.path.samestat(os.lstat(path), listener.identity):
                os.unlink(path)
    listener.close()


def describe_listener(listener: socket.socket) -> str:
    """The address that a listening socket has, as ``listen`` would name it."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    if host == "::" and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        host = ""
    return str(TcpAddress(host, port))
