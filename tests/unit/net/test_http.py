"""What is shown of addresses and errors in a log, and which headers can be sent."""

import socket

import pytest
import requests
import urllib3

from fingerd.net.http import Fetcher, cause_of, check_header, origin, without_password

ORIGINS = {
    "http://Example.org/~": ("http", "example.org", 80),
    "https://u:p@example.org": ("https", "example.org", 443),
    "http://[::1]:8080/": ("http", "::1", 8080),
    "ftp://a/": ("ftp", "a", None),
}


@pytest.mark.parametrize(("address", "expected"), ORIGINS.items(), ids=ORIGINS)
def test_an_origin_is_scheme_host_and_port(address: str, expected: tuple[str, str, int | None]) -> None:
    assert origin(address) == expected


def test_an_invalid_port_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a valid address"):
        origin("http://a:65536/")


SHOWN = {
    "http://u:p@s3cret@a/~": "http://a/~",
    "http://a/?key=s3cret": "http://a/",
    "http://a/x@y#s3cret": "http://a/x@y",
}


@pytest.mark.parametrize(("address", "shown"), SHOWN.items(), ids=SHOWN)
def test_an_address_in_a_log_has_no_secret(address: str, shown: str) -> None:
    assert without_password(address) == shown


@pytest.mark.parametrize(("name", "value"), [("X", "a\r\nY: b"), ("X", "\u20ac"), ("X:\n", "a"), ("X", " a")])
def test_an_invalid_header_is_refused_without_its_value(name: str, value: str) -> None:
    check_header("X-Token", "s3cret \u00e9")
    with pytest.raises(ValueError, match=r"^is not a valid header$"):
        check_header(name, value)


POOL = urllib3.HTTPConnectionPool("a")
CAUSES = {
    "a timeout within": (
        requests.ConnectionError(urllib3.exceptions.ReadTimeoutError(POOL, "/", "x")),
        "not done in time",
    ),
    "a retry's reason": (
        requests.ConnectionError(urllib3.exceptions.MaxRetryError(POOL, "/", ConnectionResetError(104, "reset"))),
        "[Errno 104] reset",
    ),
    "a connection object": (OSError("<urllib3.connection.HTTPConnection object at 0x1>: refused"), "refused"),
    "a password": (ValueError("http://u:s3cret@a/ is wrong"), "http://a/ is wrong"),
    "no text": (socket.gaierror(), "gaierror"),
}


@pytest.mark.parametrize(("error", "cause"), CAUSES.values(), ids=CAUSES)
def test_the_innermost_cause_is_logged(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


def test_nothing_is_fetched_past_the_deadline() -> None:
    fetcher = Fetcher({})
    with pytest.raises(TimeoutError):
        fetcher.get("http://127.0.0.1:1/", 0)
    fetcher.close()
