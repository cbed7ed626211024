"""The options of the sections ``http`` and ``plan``. They need no library that the extra ``http`` brings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fingerd.config.system_options import read_path
from fingerd.config.values import Scalar, named, read_host_name, to_text
from fingerd.errors import OptionError
from fingerd.net.addresses import parse_host
from fingerd.net.sources import Proxy
from fingerd.server.listeners import InheritedSocket, ListenAddress, read_proxy, systemd_names

# Fields of a request that mean something else, for ``remote_user``.
_TAKEN = ("authorization", "cookie", "host", "origin", "x-forwarded-for")


@named("URL")
def read_base_url(scalar: Scalar) -> str:
    """The URL without a slash at its end; ValueError if it is not one of a web server's top."""
    text = to_text(scalar).removesuffix("/")
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and text.isascii()
        parse_host(parts.hostname or "")
    except ValueError:
        is_valid = False
    if not is_valid or parts.username is not None:
        raise ValueError("must be a URL such as https://people.example.org")
    if parts.path or parts.query or parts.fragment or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("must have no path, query or fragment: the pages are at the top of their host")
    return text


@named("name of a header field")
def read_field_name(scalar: Scalar) -> str:
    """The name of a header field in lower case; ValueError if it is none, or that of a field with a meaning."""
    name = to_text(scalar).lower()
    if not re.fullmatch("[a-z0-9]+(?:-[a-z0-9]+)*", name):  # proxies leave out or confuse names with underscores
        raise ValueError("must be the name of a header field, such as X-Remote-User")
    if name in _TAKEN or name.startswith(("content-", "if-")):
        raise ValueError(f"{scalar.text} has a meaning of its own: take another name, such as X-Remote-User")
    return name


@dataclass(frozen=True, slots=True)
class Http:
    """The pages: where they are served, how they are reached from outside, and who may find them."""

    listen: tuple[ListenAddress, ...]
    base_url: Annotated[str, read_base_url] | None = None
    proxies: tuple[Annotated[Proxy, read_proxy], ...] = ()
    title: str | None = None
    index: bool = False  # whether search engines may index the pages
    domains: tuple[Annotated[str, read_host_name], ...] = ()  # of accounts that WebFinger answers for

    def __post_init__(self) -> None:
        _check_listen(self.listen)
        if self.domains and not self.base_url:
            raise OptionError("needs base_url: WebFinger tells where a page is", "domains")

    @property
    def host(self) -> str:
        """The host of ``base_url``; empty without a ``base_url``."""
        return urlsplit(self.base_url or "").hostname or ""


def _check_listen(listen: Sequence[ListenAddress]) -> None:
    """Raise OptionError for addresses on which no front door beside Finger's can be."""
    if not listen:
        raise OptionError("is empty: name an address", "listen")
    if any(isinstance(address, InheritedSocket) and not address.name for address in listen):
        raise OptionError("must be addresses; a socket from systemd has a name: {systemd: NAME}", "listen")
    if len(names := systemd_names(listen)) > len(set(names)):
        raise OptionError("has a socket from systemd twice", "listen")


@dataclass(frozen=True, slots=True)
class Plan:
    """Where people change their plans by HTTP, and how they say who they are. The daemon does nothing of it."""

    listen: tuple[ListenAddress, ...]
    base_url: Annotated[str, read_base_url] | None = None
    proxies: tuple[Annotated[Proxy, read_proxy], ...] = ()
    tokens: Annotated[str, read_path] | None = None  # the file with their digests
    remote_user: Annotated[str, read_field_name] | None = None  # the header field, believed from proxies only

    def __post_init__(self) -> None:
        _check_listen(self.listen)
        if not self.tokens and not self.remote_user:
            raise OptionError("is missing, and so is remote_user: nobody could change anything", "tokens")
        if self.remote_user and not self.proxies:
            raise OptionError("needs proxies: no other client is believed", "remote_user")
        if self.remote_user and not self.base_url:
            raise OptionError("needs base_url: a browser's request must come from its pages", "remote_user")
