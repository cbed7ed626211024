"""The options of the section ``http``. It needs no library that the extra ``http`` brings."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fingerd.config.values import Scalar, named, read_host_name, to_text
from fingerd.errors import OptionError
from fingerd.net.addresses import parse_host
from fingerd.net.sources import Proxy
from fingerd.server.listeners import InheritedSocket, ListenAddress, read_proxy, systemd_names


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
        if not self.listen:
            raise OptionError("is empty: name an address", "listen")
        if any(isinstance(address, InheritedSocket) and not address.name for address in self.listen):
            raise OptionError("must be addresses; a socket from systemd has a name: {systemd: NAME}", "listen")
        if len(names := systemd_names(self.listen)) > len(set(names)):
            raise OptionError("has a socket from systemd twice", "listen")
        if self.domains and not self.base_url:
            raise OptionError("needs base_url: WebFinger tells where a page is", "domains")

    @property
    def host(self) -> str:
        """The host of ``base_url``; empty without a ``base_url``."""
        return urlsplit(self.base_url or "").hostname or ""
