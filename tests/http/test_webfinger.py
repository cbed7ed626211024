"""WebFinger (RFC 7033): whose account is found, what is told of it, and how clients ask."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from fingerd.http.webfinger import Account, parse_resource
from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.http import HttpDaemon, Response, parse, send
from tests.helpers.ports import free_port
from tests.helpers.requirements import need
from tests.helpers.slapd import make_authority
from tests.http.conftest import StartHttp

BASE = "https://people.example.org"
URL = f'base_url: "{BASE}", domains: [example.org, Social.Example]'
PATH = "/.well-known/webfinger"
PROFILE_REL = "http://webfinger.net/rel/profile-page"
ZOE = {
    "subject": "acct:zoe@example.org",
    "aliases": [f"{BASE}/~zoe"],
    "links": [
        {"rel": PROFILE_REL, "href": f"{BASE}/~zoe", "type": "text/html"},
        {"rel": "me", "href": "https://zoe.example/"},
        {"rel": "self", "href": "https://social.example/users/zoe", "type": "application/activity+json"},
    ],
}
USERS = r"""
hosts: [example.org]
backend:
  type: aliases
  names: {quill: zoe}
  backend:
    type: static
    users:
      zoe:
        name: Zoe Quill
        links: |
          profile
          me https://zoe.example/
          self https://social.example/users/zoe application/activity+json
      Zoë q: {links: profile}
      dora@example.org: {links: profile}
      none: {name: No Links}
      text: A text
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDaemon]:
    found = HttpDaemon(tmp_path_factory.mktemp("webfinger"), USERS, URL)
    yield found
    assert found.stop() == 0
    assert not [line for line in found.log if "Traceback" in line or "internal error" in line]


def ask(daemon: HttpDaemon, query: str, method: str = "GET", **headers: str) -> Response:
    """The response to a query string; each must let scripts of other sites read it (RFC 7033 5)."""
    response = daemon.get(f"{PATH}?{query}" if query else PATH, method, **headers)
    assert response.headers["access-control-allow-origin"] == "*"
    return response


def test_who_publishes_links_is_found(daemon: HttpDaemon) -> None:
    response = ask(daemon, "resource=acct:zoe@example.org")
    assert (response.status, response.headers["content-type"]) == (200, "application/jrd+json")
    assert response.json == ZOE
    assert ask(daemon, "resource=acct:zoe@example.org", "HEAD").headers["etag"] == response.headers["etag"]
    assert ask(daemon, "resource=acct:zoe@example.org", If_None_Match=response.headers["etag"]).status == 304


@pytest.mark.parametrize(
    "resource",
    [
        "acct:zoe@example.org",
        "acct%3Azoe%40example.org",
        "ACCT:zoe@example.org",
        "acct:zoe@EXAMPLE.org",
        "acct:z%256Fe@example.org",
        "acct:zoe@ex%2561mple.org",
    ],
)
def test_an_account_may_be_written_in_several_ways(daemon: HttpDaemon, resource: str) -> None:
    assert ask(daemon, f"resource={resource}").json == ZOE


@pytest.mark.parametrize(
    ("account", "subject", "page"),
    [
        ("acct:zoe@social.example", "acct:zoe@social.example", "/~zoe"),
        ("acct:Zo%C3%AB%20q@example.org", "acct:Zo%C3%AB%20q@example.org", "/~Zo%C3%AB%20q"),
        ("acct:Zoe%CC%88%20q@example.org", "acct:Zo%C3%AB%20q@example.org", "/~Zo%C3%AB%20q"),
        ("acct:dora@example.org", "acct:dora@example.org", "/~dora%40example.org"),
        ("acct:dora%40example.org@social.example", "acct:dora%40example.org@social.example", "/~dora%40example.org"),
    ],
)
def test_the_subject_and_the_page(daemon: HttpDaemon, account: str, subject: str, page: str) -> None:
    """A login that ends in a host of ours is asked for by itself, as by Finger."""
    found = ask(daemon, f"resource={quote(account, safe='')}").json
    assert (found["subject"], found["aliases"]) == (subject, [f"{BASE}{page}"])
    assert found["links"][0]["href"] == f"{BASE}{page}"


@pytest.mark.parametrize(
    ("query", "rels"),
    [
        ("rel=me", ["me"]),
        (f"rel={PROFILE_REL}", [PROFILE_REL]),
        ("rel=self&rel=me", ["me", "self"]),
        ("rel=me&rel=me", ["me"]),
        ("rel=other", []),
        ("rel=me&rel=other", ["me"]),
        ("rel=", []),
        ("rel=me%0Aself", []),
        ("rel=me%20self", []),
        ("rel=ME", []),
        ("other=me", [PROFILE_REL, "me", "self"]),
    ],
)
def test_rel_filters_the_links_and_nothing_else(daemon: HttpDaemon, query: str, rels: list[str]) -> None:
    for _ in range(2):  # the second answer is remembered
        for text in (f"resource=acct:zoe@example.org&{query}", f"{query}&resource=acct:zoe@example.org"):
            found = ask(daemon, text).json
            assert [link["rel"] for link in found["links"]] == rels
            assert {**found, "links": []} == {**ZOE, "links": []}
    assert ask(daemon, "resource=acct:zoe@example.org&rel=self&rel=me").json["links"] == ZOE["links"][1:]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "rel=me",
        "resource",
        "resource=",
        "RESOURCE=acct:zoe@example.org",
        "resource=&resource=acct:zoe@example.org",
        "resource=acct:zoe@example.org&resource=acct:zoe@example.org",
        "resource=zoe@example.org",
        "resource=zoe",
        "resource=//example.org/zoe",
        "resource=%20acct:zoe@example.org",
        "resource=acct:zoe@example.org%20",
        "resource=acct:zoe@example.org%0A",
        "resource=acct:zo%20e@example.org",
        "resource=acct:Zo%C3%AB@example.org",
        "resource=acct:zo%25zz@example.org",
        "resource=acct:zo%zz@example.org",
        "resource=%",
        "resource=acct:zo%22@example.org",
        "resource=acct:%3Cscript%3E@example.org",
        "resource=acct:zoe%00@example.org",
        "resource=1acct:zoe@example.org",
        "resource=acct%E9:zoe@example.org",
        "resource=%ff",
        "resource=acct:zoe@example.org&" + "&".join(f"rel={number}" for number in range(200)),
    ],
)
def test_no_resource_or_no_uri_is_400(daemon: HttpDaemon, query: str) -> None:
    response = ask(daemon, query)
    assert (response.status, list(response.json)) == (400, ["error"])


@pytest.mark.parametrize(
    "resource",
    [
        "acct:nobody@example.org",
        "acct:none@example.org",
        "acct:text@example.org",
        "acct:quill@example.org",  # an alias is no login
        "acct:ZOE@example.org",
        "acct:zoe@elsewhere.example",
        "acct:zoe@example.org.",
        "acct:zoe@example.org:443",
        "acct:zoe@sub.example.org",
        "acct:zoe",
        "acct:@example.org",
        "acct:",
        "acct:zoe@",
        "acct:zoe@x@example.org",
        "acct:%2520zoe@example.org",
        "acct:zoe%2520@example.org",
        "acct:%252FW%2520zoe@example.org",
        "acct:zoe%2520%252FW@example.org",
        "acct:%2500@example.org",
        "acct:zoe%250D%250A@example.org",
        "acct:%25EF%25BB%25BFzoe@example.org",
        "acct:%25FF@example.org",
        "acct:..%252F..@example.org",
        "acct:-l@example.org",
        "acct:*@example.org",
        f"acct:{'a' * 2000}@example.org",
        "https://people.example.org/~zoe",
        "http://people.example.org/~zoe",
        "mailto:zoe@example.org",
        "finger://example.org/zoe",
        "xmpp:zoe@example.org",
    ],
)
def test_all_others_are_the_same_404(daemon: HttpDaemon, resource: str) -> None:
    response = ask(daemon, f"resource={resource}")
    assert (response.status, response.json) == (404, {"error": "No such user"})
    assert response.body == ask(daemon, "resource=acct:nobody@example.org").body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405(daemon: HttpDaemon, method: str) -> None:
    response = ask(daemon, "resource=acct:zoe@example.org", method)
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET %s HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET %s HTTP/1.1\r\n\r\n", 400),
        (b"GET %s HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n", 400),
        (b"GET http://a%s HTTP/1.1\r\nbroken\r\n\r\n", 400),
        (b"GET HTTPS://people.example.org%s?resource=%%ff HTTP/1.1\r\nbroken\r\n\r\n", 400),
        (b"GET %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET %s HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET %s?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ],
)
def test_what_is_no_request_may_be_read_by_scripts_too(daemon: HttpDaemon, request_bytes: bytes, status: int) -> None:
    response = parse(send(daemon.http, request_bytes % PATH.encode()))
    assert (response.status, response.headers["access-control-allow-origin"]) == (status, "*")
    assert list(response.json) == ["error"]
    other = parse(send(daemon.http, request_bytes % b"/~zoe"))
    assert (other.status, "access-control-allow-origin" in other.headers) == (status, False)


def test_mastodon_finds_a_person(daemon: HttpDaemon) -> None:
    """As app/lib/webfinger.rb asks, and what it reads."""
    accept = "application/jrd+json, application/json"
    response = ask(daemon, "resource=acct:zoe@example.org", Accept=accept, User_Agent="http.rb/5.2.0 (Mastodon/4.3.0)")
    assert response.status == 200
    (own,) = [link["href"] for link in response.json["links"] if link["rel"] == "self"]
    assert own == "https://social.example/users/zoe"
    assert response.json["subject"].removeprefix("acct:") == "zoe@example.org"
    for other in ("application/xrd+xml", "text/html", "application/json;q=0"):
        assert ask(daemon, "resource=acct:zoe@example.org", Accept=other).json == ZOE


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        ("{from: any, show: [login, links]}", 200),
        ("{from: any, show: everything}", 200),
        ("{from: any, show: office}", 404),
        ("{from: any, show: [name, links]}", 404),
        ("{from: any, deny: true}", 403),
        ("{from: any, http: false}", 403),
        ("{from: any, match: name, users_per_query: 5}", 200),
    ],
)
def test_the_policy_decides(start_http: StartHttp, policy: str, status: int) -> None:
    daemon = start_http(f"{USERS}policy: [{policy}]\n", URL)
    for name in ("zoe", "none", "nobody", "Zoe%2520Quill", "zoe%2520none"):
        expected = 404 if status == 200 and name != "zoe" else status
        assert ask(daemon, f"resource=acct:{name}@example.org").status == expected


def test_without_domains_nobody_is_found(start_http: StartHttp) -> None:
    daemon = start_http(USERS, f'base_url: "{BASE}"')
    assert ask(daemon, "resource=acct:zoe@example.org").status == 404
    assert ask(daemon, "").status == 400


def test_over_the_rate_is_429(start_http: StartHttp) -> None:
    daemon = start_http(f"{USERS}limits: {{rate: 2}}\n", URL)
    statuses = [ask(daemon, f"resource=acct:{name}@example.org").status for name in ("zoe", "nobody", "zoe")]
    assert statuses == [200, 404, 429]


def test_a_failing_and_a_slow_source(start_http: StartHttp) -> None:
    command = "backend: {type: command, fields: {login: id}, argv: [sh, -c, 'sleep 0.5; exit 3']}\n"
    for limits, status in (("", 500), ("limits: {answer_seconds: 0.2}\n", 503)):
        assert ask(start_http(command + limits, URL), "resource=acct:zoe@example.org").status == status


def test_hidden_people_and_bad_links_are_unknown(start_http: StartHttp, tmp_path: Path) -> None:
    texts = {
        "zoe": "\n\nme javascript:alert(1)\nme https://zoe.example/\nme data:text/html,x\nme https://x/\"onclick='\n",
        "bad": "me javascript:alert(1)\n",
        "blank": "\n",
        "hidden": "me https://hidden.example/\n",
    }
    for login, text in texts.items():
        (tmp_path / "people" / login).mkdir(parents=True)
        (tmp_path / "people" / login / "links").write_text(text)
    (tmp_path / "people" / "hidden" / "nofinger").touch()
    (tmp_path / "people" / "alone.txt").write_text("a plan")
    daemon = start_http(f"backend: {{type: files, folder: {tmp_path / 'people'}}}\n", URL)
    assert ask(daemon, "resource=acct:zoe@example.org").json["links"] == [{"rel": "me", "href": "https://zoe.example/"}]
    absent = ask(daemon, "resource=acct:absent@example.org")
    for login in ("bad", "blank", "hidden", "alone"):
        response = ask(daemon, f"resource=acct:{login}@example.org")
        assert (response.status, response.body) == (404, absent.body)
        assert {**response.headers, "date": ""} == {**absent.headers, "date": ""}


CLIENT = """
require "webfinger"
port, authority, resource, *rels = ARGV
WebFinger.url_builder = Class.new do
  define_singleton_method(:build) { |parts| URI::HTTPS.build([nil, "localhost", port.to_i, *parts[3..]]) }
end
WebFinger.http_config { |client| client.ssl_config.clear_cert_store; client.ssl_config.add_trust_ca(authority) }
begin
  found = WebFinger.discover!(resource, rel: rels)
  puts MultiJson.dump([found.subject, found.aliases, found.links])
rescue WebFinger::HttpError => error
  puts MultiJson.dump(error.class.name)
end
"""
NGINX = """
daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    location /.well-known/webfinger {{ proxy_pass http://127.0.0.1:{http}; }}
  }}
}}
"""


@pytest.fixture
def tls_port(daemon: HttpDaemon, tmp_path: Path) -> Iterator[int]:
    """The port of a web server that speaks TLS for the daemon, with a certificate for localhost."""
    need("nginx", "openssl")
    make_authority(tmp_path)
    port = free_port()
    path = tmp_path / "nginx.conf"
    path.write_text(NGINX.format(folder=tmp_path, port=port, http=daemon.http[1]))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([program, "-p", tmp_path, "-c", path], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port))
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_client_library_finds_a_person_by_tls(tls_port: int, tmp_path: Path) -> None:
    need("ruby")

    def discover(*arguments: str) -> object:
        command = ["ruby", "-e", CLIENT, str(tls_port), str(tmp_path / "ca.pem"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        if "webfinger (LoadError)" in done.stderr:
            pytest.skip("needs webfinger for Ruby (Debian: apt install ruby-webfinger)")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert discover("acct:zoe@example.org") == [ZOE["subject"], ZOE["aliases"], ZOE["links"]]
    assert discover("acct:zoe@example.org", "me", "self") == [ZOE["subject"], ZOE["aliases"], ZOE["links"][1:]]
    assert discover("acct:nobody@example.org") == "WebFinger::NotFound"
    assert discover("zoe@example.org") == "WebFinger::BadRequest"


def test_the_domain_and_the_name_are_decoded_once() -> None:
    domains = ("example.org",)
    assert parse_resource(["acct:z%6Fe@example.org"], domains, 100) == Account("zoe", "example.org")
    assert parse_resource(["acct:z%256Fe@example.org"], domains, 100) == Account("z%6Fe", "example.org")
    assert Account("z%6Fe", "example.org").uri == "acct:z%256Fe@example.org"
