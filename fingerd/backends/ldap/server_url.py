"""The addresses of directory servers, as LDAP URLs write them (RFC 4516 section 2)."""

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fingerd.net.addresses import is_this_host
from fingerd.net.stream import is_address

PORTS = {"ldap": 389, "ldaps": 636, "ldapi": 0}


class LdapServer(NamedTuple):
    """Where a server is: ``host`` is the path of the socket for ldapi."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        if self.scheme == "ldapi":
            return f"ldapi://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    @property
    def is_local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return self.scheme == "ldapi" or is_this_host(self.host)

    @property
    def is_number(self) -> bool:
        """Whether nothing has to be looked up to find it."""
        return self.scheme == "ldapi" or is_address(self.host)


def parse_address(url: str) -> LdapServer:
    """The server that an LDAP URL names, without a search in it (RFC 4516); ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        raise ValueError("an address begins with ldap://, ldaps:// or ldapi://")
    if "@" in parts.netloc:
        raise ValueError("an address holds no user: there are bind_dn and password_file")
    if parts.query or parts.fragment:
        raise ValueError("an address ends after the host and the port")
    if parts.scheme == "ldapi":
        path = unquote(parts.netloc) or parts.path
        if not path.startswith("/") or (parts.netloc and parts.path not in ("", "/")):
            raise ValueError("ldapi:// is followed by the path of a socket, as in ldapi:///run/slapd/ldapi")
        return LdapServer("ldapi", path, 0)
    if not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("an address is a host, and a port where it is not the usual one")
    port = PORTS[parts.scheme] if parts.port is None else parts.port
    if not port:
        raise ValueError("a directory server has no port 0")
    return LdapServer(parts.scheme, parts.hostname, port)
