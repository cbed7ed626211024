"""What a request costs: counted in calls and bytes, not in time."""

import sys
import tracemalloc
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType

import pytest

from fingerd.http.pages import Pages
from fingerd.http.request import MAX_FIELDS, SHORT_HEAD_BYTES, SHORT_HEADS_MAX, HttpError, parse_request, read_request
from fingerd.people import Person
from tests.helpers.http import HttpDaemon, head
from tests.http.conftest import StartHttp

MEMORY_MAX = 4 << 20
CONFIG = "backend: {type: static, users: {alice: {name: Alice Example, plan: Happy and well.}}}\n"


def calls(function: Callable[[], object]) -> list[tuple[str, str]]:
    """The Python functions that a call of this one calls: the module of each, and its name."""
    found: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found.append((frame.f_globals.get("__name__", ""), frame.f_code.co_name))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


def h11_calls(request: bytes) -> int:
    return sum(module.startswith("h11.") for module, _ in calls(lambda: read_request(request)))


def test_a_short_head_that_is_repeated_is_parsed_once() -> None:
    request = head("/~repeated", Accept="*/*", User_Agent="curl/7.88.1")
    assert h11_calls(request) > 0
    assert h11_calls(request) == 0
    assert read_request(request) == parse_request(request)


def test_a_long_head_is_parsed_each_time() -> None:
    request = head("/~long", X="x" * SHORT_HEAD_BYTES)
    assert h11_calls(request) > 0
    assert h11_calls(request) > 0


@pytest.mark.parametrize("request_line", [b"GET  / HTTP/1.1", b"G@T / HTTP/1.1", b"GET / HTTP/1.1x"])
def test_what_is_no_request_is_none_again(request_line: bytes) -> None:
    for _ in range(3):
        with pytest.raises(HttpError) as caught:
            read_request(request_line + b"\r\nHost: localhost\r\n\r\n")
        assert caught.value.status == HTTPStatus.BAD_REQUEST


def many_fields(number: int) -> bytes:
    return head("/?" + "&".join(f"{field:02}{number:03}=" for field in range(MAX_FIELDS)))


def many_proxies(number: int) -> bytes:
    line = f"X-Forwarded-For: {number}\r\n".encode()
    return head("/")[:-2] + line * 20 + b"\r\n"


@pytest.mark.parametrize("request_of", [many_fields, many_proxies])
def test_ever_new_heads_take_bounded_memory(request_of: Callable[[int], bytes]) -> None:
    assert len(request_of(999)) <= SHORT_HEAD_BYTES
    tracemalloc.start()
    try:
        for number in range(3 * SHORT_HEADS_MAX):
            read_request(request_of(number))
        assert tracemalloc.get_traced_memory()[0] < MEMORY_MAX
    finally:
        tracemalloc.stop()


@pytest.fixture
def daemon(start_http: StartHttp) -> HttpDaemon:
    return start_http(CONFIG)


def test_repeated_requests_are_answered_by_their_own_headers(daemon: HttpDaemon) -> None:
    etag = daemon.get("/~alice").headers["etag"]
    for _ in range(3):
        assert daemon.get("/~alice").text.startswith("<!DOCTYPE html>")
        assert daemon.get("/~alice", Accept="application/json").json["people"][0]["login"] == "alice"
        assert daemon.get("/~alice", If_None_Match=etag).status == HTTPStatus.NOT_MODIFIED
        assert daemon.get("/~alice", "HEAD").body == b""
        assert daemon.get("/~alice", Content_Length="1").status == HTTPStatus.BAD_REQUEST
        assert daemon.get("/~alice", "POST").status == HTTPStatus.METHOD_NOT_ALLOWED


def test_a_page_goes_through_a_person_once() -> None:
    pages = Pages("People", 1024, 65536, False)
    people = [Person(login="alice", name="Alice Example", plan="Happy and well.")]
    made = calls(lambda: pages.person(people, "alice", searches=False))
    assert made.count(("fingerd.http.records", "record_of")) == 1
