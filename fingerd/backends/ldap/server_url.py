"""The addresses of LDAP servers, written as LDAP URLs (RFC 4516 section 2)."""

from typing import NamedTuple
from urllib.parse import unquote

from fingerd.net.addresses import is_this_host
from fingerd.net.urls import split_url

PORTS = {"ldap": 389, "ldaps": 636, "ldapi": 0}


class LdapServer(NamedTuple):
    """The address of a server; for ldapi, ``host`` is the path of a unix socket."""

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
        """Whether the traffic stays on this machine."""
        return self.scheme == "ldapi" or is_this_host(self.host)


def parse_server_url(url: str) -> LdapServer:
    """The server of an LDAP URL that has no search in it; ValueError for anything else."""
    parts = split_url(url)
    if parts.scheme not in PORTS:
        raise ValueError("must begin with ldap://, ldaps:// or ldapi://")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user: use bind_dn and password_file")
    if parts.query or parts.fragment:
        raise ValueError("must end after the host and the port")
    if parts.scheme == "ldapi":
        path = unquote(parts.netloc) or parts.path
        if not path.startswith("/") or (parts.netloc and parts.path not in ("", "/")):
            raise ValueError("must be ldapi:// and the path of a socket, as in ldapi:///run/slapd/ldapi")
        return LdapServer("ldapi", path, 0)
    if not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("must be a host with an optional port, as in ldap://ldap.example.org")
    port = PORTS[parts.scheme] if parts.port is None else parts.port
    if not port:
        raise ValueError("port 0 is not valid")
    return LdapServer(parts.scheme, parts.hostname, port)
