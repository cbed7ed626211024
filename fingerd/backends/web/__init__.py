"""``type: web``: fetches a page for each query.

The user's name becomes one percent-encoded path segment, so that it cannot change the rest of the path, the query or
the host. A page is read up to a size limit and by one deadline, however slowly the web server sends.
"""

import base64
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from fingerd.backends import Backend, Lookup
from fingerd.backends.web.html import is_charset, is_html, read_html, read_page
from fingerd.config.system_options import Secret, SecretFile, read_path
from fingerd.config.values import Integer, Scalar, Seconds, Size
from fingerd.errors import BackendError, OptionError, option_errors
from fingerd.net.addresses import is_this_host
from fingerd.net.http import FAILURES, Fetcher, cause_of, check_header, origin, without_password
from fingerd.net.resolver import missing_for_names
from fingerd.net.stream import is_address
from fingerd.net.tls import client_context, missing_certificates
from fingerd.net.urls import split_url
from fingerd.people import Person
from fingerd.people.mapping import check_paths, people_of
from fingerd.text import is_one_of, mark_cut, whole_characters

CHUNK_BYTES = 1 << 14

_NO_CODINGS = {"", "identity", "none", "7bit", "8bit", "binary"}


def read_verify(scalar: Scalar) -> bool | str:
    """Return true, false, or the path of a file with CA certificates; raise ValueError if it has none."""
    if scalar.kind == "true or false":
        return bool(scalar.value)
    path = read_path(scalar)
    client_context(path)
    return path


@dataclass(frozen=True)
class Web(Backend):
    """Fetches the user's page from a web server.

    Its address is ``prefix`` followed by the percent-encoded user, or ``url``
    with ``{user}`` replaced by it. Status 200 is the answer, 404 an unknown
    user, and everything else a failure. With ``fields`` the answer is JSON;
    each field is the path of an atom. ``list_url`` is the page with the list
    of users.
    """

    prefix: str | None = field(default=None, repr=False)  # these two may hold a password
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)  # may hold secrets
    timeout: Annotated[float, Seconds(0.1)] = 10  # for the whole page
    page_bytes: Annotated[int, Size()] = 256 << 10  # the rest is not read
    format: Literal["auto", "text", "html", "json"] = "auto"
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    people: str | None = None
    list_url: str | None = field(default=None, repr=False)
    list_people: str | None = None
    auth_file: SecretFile | None = None
    verify: Annotated[bool | str, read_verify] = True
    retries: Annotated[int, Integer(0, 10)] = 1  # of a failed connection; after 0.1 s, then 0.2, 0.4 …
    names: tuple[str, ...] | None = None  # nothing is asked for any other name; "weather:*" is all that begin so

    def __post_init__(self) -> None:
        self._check_address()
        with option_errors("list_url"):
            if self.list_url is not None and origin(self.list_url) != origin(self._address("a")):
                raise ValueError("must have the host and port of the users' pages")
        if self.format == "json" and not self.fields:
            raise OptionError("json needs fields", "format")
        if self.fields and self.format not in ("auto", "json"):
            raise OptionError(f"need format: json, not {self.format}", "fields")
        check_paths(self.fields, self.list_url is not None, people=self.people, list_people=self.list_people)
        _ = self._fetcher  # now, before there are threads: it checks the headers

    def _check_address(self) -> None:
        if self.prefix is None and self.url is None:
            raise ValueError("needs either prefix or url")
        if self.prefix is not None and self.url is not None:
            raise ValueError("give prefix or url, not both")
        if self.url is not None and "{user}" not in self.url:
            raise OptionError("must contain {user}", "url")
        with option_errors("prefix" if self.url is None else "url"):
            parts, other = split_url(self._address("a")), split_url(self._address("b"))
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must begin with http:// or https:// and a host")
            if parts.port == 0:
                raise ValueError("must not have port 0")
            if parts.netloc != other.netloc:
                raise ValueError("the user's name must not be part of the host")

    @cached_property
    def _fetcher(self) -> Fetcher:
        """Sends ``headers`` and the password of ``auth_file``; OptionError for invalid ones."""
        for name, value in self.headers.items():
            with option_errors("headers", name):
                check_header(name, value)
        headers = dict(self.headers)
        if self.auth_file is not None:
            if "authorization" in map(str.lower, self.headers) or "@" in urlsplit(self._address("a")).netloc:
                raise OptionError("the address or the headers contain a password, too", "auth_file")
            headers["Authorization"] = _authorization(self.auth_file)
        fetcher = Fetcher(headers, self.verify, self.retries)
        if isinstance(self.verify, str) or urlsplit(self._address("a")).scheme == "https":
            _ = fetcher.tls_context  # created now: a chroot has no certificates
        return fetcher

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Return the page as a person's text, or its people; () for a 404. Raise BackendError for any other failure."""
        if self.names is not None and not is_one_of(lookup.username, self.names):
            return ()
        # Percent-encoding cannot stop dot segments from changing the path; some servers decode a name's slashes first.
        if not {".", ".."}.isdisjoint(re.split(r"[/\\]", lookup.username)):
            return ()
        return self._people(self._address(lookup.username), self.people, lookup) or ()

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """Yield the page at ``list_url`` as a text, or its people; None without that option."""
        if self.list_url is None:
            return None
        people = self._people(self.list_url, self.list_people, lookup)
        if people is None:
            raise BackendError(f"web {without_password(self.list_url)}: status {HTTPStatus.NOT_FOUND.value}")
        return (person for person in people if person.login or person.text is not None)

    def close(self) -> None:
        """Close the idle connections."""
        self._fetcher.close()

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """Yield what is missing below ``root`` to resolve the host's name and to verify its certificate."""
        parts = urlsplit(self._address("a"))
        if not is_address(parts.hostname or ""):
            yield from missing_for_names(root)
        if parts.scheme == "https":
            yield from missing_certificates(self._fetcher.tls_context, root, "give verify a file of CAs")

    def warnings(self) -> Iterator[str]:
        """Yield what may disclose a secret, or let others answer."""
        parts = urlsplit(self._address("a"))
        if parts.scheme == "https" and self.verify is False:
            yield "verify is false: anyone on the path to the web server can read and change everything"
        if parts.scheme == "http" and not is_this_host(parts.hostname or ""):
            secrets = {
                "auth_file": self.auth_file,
                "the password in the address": parts.password,
                "the Authorization header": "authorization" in map(str.lower, self.headers),
            }
            for secret in (secret for secret, is_sent in secrets.items() if is_sent):
                yield f"{secret} is sent over http: anyone on the path to the web server can read it"

    def _address(self, username: str) -> str:
        segment = quote(username, safe="")
        return f"{self.prefix}{segment}" if self.url is None else self.url.replace("{user}", segment)

    def _people(self, address: str, path: str | None, lookup: Lookup) -> Sequence[Person] | None:
        """Return the people of the page, None for a 404; raise BackendError for any other failure."""
        source = f"web {without_password(address)}"
        try:
            page = self._page(address, min(lookup.deadline, time.monotonic() + self.timeout))
            if page is None:
                return None
            body, content_type = page
            if not self.fields:
                return (Person(lookup.username, self._text(body, content_type)),)
            if len(body) > self.page_bytes:
                raise ValueError("longer than page_bytes")
            return people_of(body, path, self.fields, lookup.username, source)
        except FAILURES as error:
            raise BackendError(f"{source}: {cause_of(error)}") from error

    def _page(self, address: str, deadline: float) -> tuple[bytes, str] | None:
        """Return the body, if cut slightly more than ``page_bytes``, and its type; None for a 404; raise FAILURES."""
        with self._fetcher.get(address, deadline) as page:
            if page.status_code == HTTPStatus.NOT_FOUND:
                return None
            if page.status_code != HTTPStatus.OK:
                raise ValueError(f"status {page.status_code}")
            if not _is_plain(page.headers.get("Content-Encoding", "")):
                raise ValueError("compressed, which was not requested")
            body = bytearray()
            # Not stream(): before urllib3 2 it reads chunk sizes and trailers without a limit.
            while len(body) <= self.page_bytes and (chunk := page.raw.read(CHUNK_BYTES, decode_content=False)):
                body += chunk
            return bytes(body), page.headers.get("Content-Type", "")

    def _text(self, body: bytes, content_type: str) -> str:
        as_html = self.format == "html" or (self.format == "auto" and is_html(content_type))
        text = (read_html if as_html else read_page)(whole_characters(body, self.page_bytes), content_type)
        return text if len(body) <= self.page_bytes else mark_cut(text)


def _is_plain(content_encoding: str) -> bool:
    """Whether the body is the page itself. Some servers name a charset, or the coding of a mail."""
    codings = (coding.strip().lower() for coding in content_encoding.split(","))
    return all(coding in _NO_CODINGS or is_charset(coding) for coding in codings)


def _authorization(secret: Secret) -> str:
    """Return the header's value for ``user:password`` (RFC 7617) or a bearer token (RFC 6750)."""
    if ":" in secret.text:
        return f"Basic {base64.b64encode(secret.text.encode()).decode()}"
    if not re.fullmatch("[A-Za-z0-9._~+/-]+=*", secret.text):
        raise OptionError("must contain user:password or a bearer token", "auth_file")
    return f"Bearer {secret.text}"
