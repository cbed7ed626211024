"""The addresses of the contract: what each answers, to whom, and in which form."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import ask
from tests.helpers.http import HttpDaemon
from tests.http.conftest import StartHttp

PEOPLE = """
backend:
  type: static
  users:
    zoe: {name: Zoe Quill, office: "B 12", plan: "Reading", links: "profile\\nme https://zoe.example/"}
    bob: Happy and well
    carol@example.org: {name: Carol, plan: ""}
hosts: [example.org]
"""
LIST = "policy: [{from: any, list: true}]\n"
URL = 'base_url: "https://people.example.org", domains: [example.org]'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDaemon]:
    found = HttpDaemon(tmp_path_factory.mktemp("http"), PEOPLE + LIST, URL)
    yield found
    assert found.stop() == 0


@pytest.mark.parametrize(
    ("target", "status", "content_type"),
    [
        ("/", 200, "text/html; charset=utf-8"),
        ("/~zoe", 200, "text/html; charset=utf-8"),
        ("/~bob", 200, "text/html; charset=utf-8"),
        ("/~zoe/json", 200, "application/json"),
        ("/~zoe/text", 200, "text/plain; charset=utf-8"),
        ("/~zoe/feed", 200, "application/atom+xml"),
        ("/~carol%40example.org", 200, "text/html; charset=utf-8"),
        ("/~zoe@example.org", 200, "text/html; charset=utf-8"),
        ("/list/json", 200, "application/json"),
        ("/list/text", 200, "text/plain; charset=utf-8"),
        ("/feed", 200, "application/atom+xml"),
        ("/.well-known/webfinger?resource=acct:zoe@example.org", 200, "application/jrd+json"),
        ("/robots.txt", 200, "text/plain; charset=utf-8"),
        ("/style.css", 200, "text/css; charset=utf-8"),
        ("/~nobody", 404, "text/html; charset=utf-8"),
        ("/~nobody/json", 404, "application/json"),
        ("/~nobody/text", 404, "text/plain; charset=utf-8"),
        ("/~zoe@elsewhere.example", 404, "text/html; charset=utf-8"),
        ("/~zoe@elsewhere.example/text", 404, "text/plain; charset=utf-8"),
        ("/~@example.org", 404, "text/html; charset=utf-8"),
        ("/~", 404, "text/html; charset=utf-8"),
        ("/~%2FW%20zoe", 404, "text/html; charset=utf-8"),
        ("/~zoe/", 404, "text/html; charset=utf-8"),
        ("/~zoe/xml", 404, "text/html; charset=utf-8"),
        ("/~../~zoe", 404, "text/html; charset=utf-8"),
        ("/zoe", 404, "text/html; charset=utf-8"),
        ("/list", 404, "text/html; charset=utf-8"),
        ("/~zoe%00", 400, "text/html; charset=utf-8"),
        ("/~zoe%0d%0abob/json", 400, "application/json"),
        ("/~" + "a" * 2000, 414, "text/html; charset=utf-8"),
    ],
)
def test_status_and_type(daemon: HttpDaemon, target: str, status: int, content_type: str) -> None:
    response = daemon.get(target)
    assert (response.status, response.headers["content-type"]) == (status, content_type)
    assert response.headers["cache-control"] == "private, no-cache"
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert (response.headers["x-content-type-options"], response.headers["referrer-policy"]) == (
        "nosniff",
        "no-referrer",
    )
    assert (response.headers["vary"], response.headers["connection"]) == ("Accept", "close")
    assert response.headers["x-robots-tag"].startswith("noindex")
    assert response.headers["etag"].startswith('"')


def test_the_text_is_what_finger_answers(daemon: HttpDaemon) -> None:
    for name in ("zoe", "bob", "nobody", "carol@example.org"):
        assert daemon.get(f"/~{name}/text").body == ask(daemon.address, f"{name}\r\n".encode())
    assert daemon.get("/list/text").body == ask(daemon.address, b"\r\n")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("text/html;q=0.5, application/json;q=0.9", "application/json"),
        ("text/*, text/html;q=0.1", "text/plain"),
        ("application/json;q=0, */*", "text/html"),
        ("image/png", "text/html"),
        ("nonsense;;;q=x", "text/html"),
    ],
)
def test_accept_decides_the_form(daemon: HttpDaemon, accept: str, content_type: str) -> None:
    assert daemon.get("/~zoe", Accept=accept).headers["content-type"].partition(";")[0] == content_type
    assert daemon.get("/~nobody", Accept=accept).headers["content-type"].partition(";")[0] == content_type


def test_head_304_and_date(daemon: HttpDaemon) -> None:
    whole = daemon.get("/~zoe")
    only_head = daemon.get("/~zoe", "HEAD")
    assert {**only_head.headers, "date": ""} == {**whole.headers, "date": ""}
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", whole.headers["date"])
    tag = whole.headers["etag"]
    for condition in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        assert daemon.get("/~zoe", If_None_Match=condition).status == 304
    assert daemon.get("/~zoe", If_None_Match='"other"').status == 200
    assert daemon.get("/~nobody", If_None_Match="*").status == 404
    assert daemon.get("/~zoe/json").headers["etag"] != tag


def test_the_form_leads_to_the_person(daemon: HttpDaemon) -> None:
    for name, path in (("zoe", "/~zoe"), ("Zo%C3%A9+Q", "/~Zo%C3%A9%20Q"), ("a%2Fb%3Fc", "/~a%2Fb%3Fc")):
        response = daemon.get(f"/?q={name}")
        assert (response.status, response.headers["location"]) == (303, path)
    assert daemon.get("/?q=%20").status == 200
    assert daemon.get("/?x=zoe").status == 200


def test_json(daemon: HttpDaemon) -> None:
    (zoe,) = daemon.get("/~zoe/json").json["people"]
    assert zoe["links"][0] == {
        "rel": "http://webfinger.net/rel/profile-page",
        "href": "https://people.example.org/~zoe",
        "type": "text/html",
    }
    assert {key: zoe[key] for key in zoe if key not in ("links", "plan_changed")} == {
        "login": "zoe",
        "name": "Zoe Quill",
        "office": "B 12",
        "plan": "Reading",
    }
    assert daemon.get("/~bob/json").json == {"people": [{"login": "bob", "text": "Happy and well"}]}
    assert [person["login"] for person in daemon.get("/list/json").json["people"]] == [
        "zoe",
        "bob",
        "carol@example.org",
    ]
    assert daemon.get("/~nobody/json").json == {"error": "No such user"}


def test_a_hidden_person_is_an_absent_one(start_http: StartHttp, tmp_path: Path) -> None:
    for login in ("zoe", "hid"):
        (tmp_path / "people" / login).mkdir(parents=True)
        (tmp_path / "people" / login / "plan").write_text("Reading\n")
    (tmp_path / "people" / "hid" / "nofinger").write_text("")
    daemon = start_http(f"backend: {{type: files, folder: {tmp_path / 'people'}}}\n")
    assert daemon.get("/~zoe").status == 200
    for end in ("", "/json", "/text"):
        hidden, absent = daemon.get(f"/~hid{end}"), daemon.get(f"/~not{end}")
        assert hidden.status == absent.status == 404
        assert hidden.headers.keys() == absent.headers.keys()
        assert hidden.body.replace(b"hid", b"not") == absent.body


def test_what_a_policy_hides_is_absent(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE + "policy: [{from: any, show: minimal, list: true}]\n", URL)
    assert daemon.get("/~zoe/json").json == {"people": [{"name": "Zoe Quill"}]}
    assert {"name": "Zoe Quill"} in daemon.get("/list/json").json["people"]
    assert "/~zoe" not in daemon.get("/").text
    assert daemon.get("/.well-known/webfinger?resource=acct:zoe@example.org").status == 404
    assert b"<entry>" not in daemon.get("/~zoe/feed").body


def test_a_refused_list_is_403(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE, URL)
    for target in ("/list/json", "/list/text", "/feed"):
        assert daemon.get(target).status == 403
    assert daemon.get("/list/json").json == {"error": "Finger online user list denied"}
    assert "<table" not in daemon.get("/").text


@pytest.mark.parametrize("rule", ["deny: true", "http: false"])
def test_a_denied_client_gets_403(start_http: StartHttp, rule: str) -> None:
    daemon = start_http(f"{PEOPLE}policy: [{{from: any, {rule}}}]\n")
    for target in ("/", "/~zoe", "/~nobody", "/x", "/robots.txt"):
        response = daemon.get(target)
        assert response.status == 403
        assert "Finger service denied" in response.text
    assert "outcome=denied" in daemon.logged("proto=http")
    if rule == "http: false":
        assert b"Zoe Quill" in daemon.ask(b"zoe\r\n")


def test_the_access_line(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE)
    daemon.get("/~zoe?x=1")
    line = daemon.logged("proto=http")
    assert re.search(
        r'client=127\.0\.0\.1 query="GET /~zoe\?x=1" outcome=answered bytes=\d+ ms=[\d.]+ proto=http status=200$', line
    )
    daemon.get("/~nobody", "HEAD")
    assert 'query="HEAD /~nobody" outcome=unknown' in daemon.logged("status=404")
    daemon.ask(b"zoe\r\n")
    assert not daemon.logged('query="zoe"').count("proto=")


def test_a_json_log_has_the_fields(start_http: StartHttp) -> None:
    daemon = start_http(f"{PEOPLE}log: {{format: json}}\n")
    daemon.get("/~zoe")
    record = json.loads(daemon.logged('"proto"'))
    assert (record["query"], record["outcome"], record["proto"], record["status"]) == (
        "GET /~zoe",
        "answered",
        "http",
        200,
    )


def test_over_the_rate_is_429(start_http: StartHttp) -> None:
    daemon = start_http(f"{PEOPLE}limits: {{rate: 2}}\n")
    assert [daemon.get("/~zoe").status for _ in range(3)] == [200, 200, 429]
    limited = daemon.get("/~zoe/json")
    assert (limited.status, limited.json) == (429, {"error": "Too many queries, try again later"})
    assert int(limited.headers["retry-after"]) > 0
    assert daemon.get("/style.css").status == 200
    assert daemon.ask(b"zoe\r\n") == b"Too many queries, try again later\r\n"


def test_a_slow_backend_is_busy(start_http: StartHttp) -> None:
    config = "backend: {type: command, argv: [sh, -c, 'sleep 9'], timeout: 9}\nlimits: {answer_seconds: 0.3}\n"
    busy = start_http(config).get("/~zoe/json")
    assert (busy.status, busy.json) == (503, {"error": "Finger service is busy, try again later"})
    assert int(busy.headers["retry-after"]) > 0


def test_a_failing_backend_is_500(start_http: StartHttp) -> None:
    daemon = start_http("backend: {type: command, argv: [sh, -c, 'exit 3']}\n")
    for end, word in (("", "<h1>Internal error in server</h1>"), ("/json", '"error"'), ("/text", "Internal error")):
        response = daemon.get(f"/~zoe{end}")
        assert response.status == 500
        assert word in response.text
        assert "outcome=error" in daemon.logged("proto=http")


def test_a_text_has_no_login_where_that_is_hidden(start_http: StartHttp, tmp_path: Path) -> None:
    """Nor the name of the file that an alias leads to."""
    (tmp_path / "secret-name.txt").write_text("Closed on Mondays\n")
    aliases = f"{{postmaster: bob, hours: {tmp_path / 'secret-name.txt'}}}"
    backend = f"backend: {{type: aliases, names: {aliases}, backend: {{type: static, users: {{bob: Happy}}}}}}\n"
    hidden = start_http(f"{backend}policy: [{{from: any, show: minimal}}]\n")
    assert hidden.get("/~postmaster/json").json == {"people": [{"text": "Happy"}]}
    assert hidden.get("/~hours/json").json == {"people": [{"text": "Closed on Mondays"}]}
    assert "bob" not in hidden.get("/~postmaster").text
    shown = start_http(backend)
    assert shown.get("/~postmaster/json").json == {"people": [{"login": "bob", "text": "Happy"}]}
    assert shown.get("/~hours/json").json == {"people": [{"login": "hours", "text": "Closed on Mondays"}]}
    assert "secret-name" not in shown.get("/~hours").text


def test_what_one_client_has_typed_is_not_shown_to_another(start_http: StartHttp) -> None:
    daemon = start_http(f"{PEOPLE}policy: [{{from: any, users_per_query: 2}}]\n")
    first, second = daemon.get("/~foo%20%20%09bar"), daemon.get("/~foo%20bar")
    assert (first.status, first.body) == (second.status, second.body) == (404, second.body)
    assert "foo bar" in second.text
