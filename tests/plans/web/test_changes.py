"""Changes by PUT, DELETE and the form, as programs make them: who may, of what version, and what is told of it then."""

import contextlib
import fcntl
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fingerd.plans import store
from fingerd.plans.configuration import read_plan_config
from fingerd.plans.errors import ChangedError
from fingerd.plans.places import open_entry
from fingerd.plans.web.routes import ROUTES
from tests.helpers.daemons import Daemon, ask, wait_until
from tests.helpers.http import HttpDaemon, parse, send
from tests.plans.conftest import Run, left_behind
from tests.plans.web.conftest import NEW, PlanServer, StartPlans, new_token


def etag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode()).hexdigest()}"'


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """The descriptor of a directory that is open for reading, as for any user who may list it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def form(text: str, token: str = "") -> str:
    encoded = "".join(f"%{byte:02X}" for byte in text.encode())
    return f"text={encoded}&token={token}"


def test_a_plan_is_replaced_removed_and_made_again(server: PlanServer, token: str, people: Path) -> None:
    plan = people / "zoe" / "plan"
    changed = server.put("zoe", "  new\r\nplan \xfc\n", token)
    assert (changed.status, changed.body, "etag" in changed.headers) == (204, b"", False)
    assert plan.read_text() == "  new\nplan \xfc\n"
    assert stat.S_IMODE(plan.stat().st_mode) == 0o644
    assert server.request("DELETE", "/~zoe/plan", token=token).status == 204
    assert not plan.exists()
    assert server.request("DELETE", "/~zoe/plan", token=token).status == 204
    made = server.put("zoe", NEW, token)
    assert (made.status, made.headers["etag"]) == (201, etag(NEW))
    assert plan.read_text() == NEW
    assert left_behind(people) == []


def test_a_person_who_is_one_file(server: PlanServer, people: Path, run: Run) -> None:
    token = new_token(run, "quill")
    assert server.put("quill", NEW, token).status == 204
    assert (people / "quill.txt").read_text() == NEW
    assert server.request("DELETE", "/~quill/plan", token=token).status == 204
    assert (people / "quill.txt").read_text() == ""


def test_what_was_written_is_told_within_a_second(server: PlanServer, token: str, people: Path, tmp_path: Path) -> None:
    daemon = HttpDaemon(tmp_path, f"backend: {{type: files, folder: {people}}}\n")
    try:
        assert b"old" in daemon.ask(b"zoe\r\n")
        assert server.put("zoe", NEW, token).status == 204
        wait_until(lambda: b"new" in daemon.ask(b"zoe\r\n"), 1.5)
        assert b"new" in daemon.get("/~zoe").body
        assert server.request("POST", "/~zoe/edit", form("by form", token)).status == 303
        wait_until(lambda: b"by form" in daemon.get("/~zoe/text").body, 1.5)
        wait_until(lambda: b"by form" in daemon.ask(b"zoe\r\n"), 1.5)
    finally:
        assert daemon.stop() == 0


def test_a_form_stores_and_leads_to_a_page_that_says_so(server: PlanServer, token: str, people: Path) -> None:
    done = server.request("POST", "/~zoe/edit", form("a\r\nb", token))
    assert (done.status, done.headers["location"]) == (303, "/~zoe/edit?stored")
    assert (people / "zoe" / "plan").read_text() == "a\nb"
    page = server.request("GET", done.headers["location"])
    assert "The plan is stored." in page.text
    assert "a\nb" not in page.text
    assert server.request("POST", "/~zoe/edit", form("", token)).status == 303
    assert (people / "zoe" / "plan").read_text() == ""


WRONG_TEXTS = {
    "a control character": ("x\x07y", 422, "plan: line 1, column 2: control character U+0007"),
    "several": ("\x1b[1m\n\x00", 422, "plan: line 2, column 1: control character U+0000"),
    "too long": ("x" * 4097, 413, "plan: longer than the 4096 bytes that the daemon reads"),
}


@pytest.mark.parametrize(("text", "status", "message"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_a_wrong_text_changes_nothing(
    text: str, status: int, message: str, server: PlanServer, token: str, people: Path
) -> None:
    refused = server.put("zoe", text, token)
    assert refused.status == status
    assert message in refused.text.splitlines()
    page = server.request("POST", "/~zoe/edit", form(text, token))
    assert page.status == status
    assert 'id="text-error" class="error" role="alert">\n<p>' in page.text
    assert f"<p>{message}</p>" in page.text
    assert f">\n{text}</textarea>" in page.text
    assert token not in page.text
    assert (people / "zoe" / "plan").read_text() == "old\n"


def test_what_is_not_utf_8_is_422(server: PlanServer, token: str, people: Path) -> None:
    assert server.put("zoe", b"\xff\xfe", token).status == 422
    page = server.request("POST", "/~zoe/edit", b"text=ab%FFc&token=" + token.encode())
    assert (page.status, "line 1, column 3: not UTF-8" in page.text, ">\nab\ufffdc<" in page.text) == (422, True, True)
    assert (people / "zoe" / "plan").read_text() == "old\n"


def test_what_was_typed_is_kept_as_text(server: PlanServer, people: Path) -> None:
    typed = "</textarea><script>alert(1)</script>&amp;\n\"'<b>\n"
    page = server.request("POST", "/~zoe/edit", form(typed, "fgd_wrong"))
    assert page.status == 401
    escaped = typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f">\n{escaped.replace(chr(34), '&#34;').replace(chr(39), '&#39;')}</textarea>" in page.text
    assert 'id="token-error"' in page.text
    assert "fgd_wrong" not in page.text
    assert page.headers["www-authenticate"].startswith("Bearer")


# Who may


def test_tokens_that_may_not(server: PlanServer, token: str, people: Path, run: Run) -> None:
    of_quill = new_token(run, "quill")
    without = server.put("zoe", NEW)
    assert (without.status, without.headers["www-authenticate"]) == (401, 'Bearer realm="plan"')
    for wrong in (token[:-1], token + "A", token.swapcase(), "x", of_quill[:10]):
        refused = server.put("zoe", NEW, wrong)
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="plan", error="invalid_token"'
    assert server.put("zoe", NEW, of_quill).status == 403
    assert server.request("DELETE", "/~zoe/plan", token=of_quill).status == 403
    assert server.request("POST", "/~zoe/edit", form(NEW, of_quill)).status == 403
    assert server.put("nobody", NEW, token).status == 403
    assert (people / "zoe" / "plan").read_text() == "old\n"
    assert not (people / "nobody").exists()


def test_a_token_that_is_revoked_or_added_while_it_serves(server: PlanServer, token: str, run: Run) -> None:
    second = new_token(run, "zoe", "desk")
    assert server.put("zoe", NEW, second).status == 204
    assert run("token", "revoke", "zoe", "laptop").returncode == 0
    assert server.put("zoe", NEW, token).status == 401
    assert server.put("zoe", NEW, second).status == 204
    assert run("token", "revoke", "zoe", "desk").returncode == 0
    assert server.put("zoe", NEW, second).status == 401


@pytest.mark.parametrize("scheme", ["Basic {}", "{}", "Bearer", "Bearer {} {}", "Bearer, {}", "Token {}"])
def test_a_token_in_another_scheme_is_none(scheme: str, server: PlanServer, token: str) -> None:
    assert server.put("zoe", NEW, Authorization=scheme.replace("{}", token)).status == 401
    assert server.put("zoe", NEW, Authorization=f"bearer   {token}").status == 204


def test_a_token_in_an_address_is_refused_and_not_logged(start: StartPlans, run: Run, people: Path) -> None:
    server = start()
    token = new_token(run, "zoe")
    encoded = token.replace("fgd", "%66%67%64")
    for target in (
        f"/~zoe/plan?token={token}",
        f"/~zoe/edit?token={encoded}&text=x",
        f"/~{token}/plan",
        f"/~{encoded}/edit",
        f"http://localhost/~zoe/edit?{token.upper()}",
        f"/{token}",
        f"/~zoe/edit?{token.replace('_', '%255f', 1)}",
        f"/~{token.replace('_', '%2525255F', 1)}/plan",
    ):
        for method in ("PUT", "GET", "POST", "DELETE"):
            assert server.request(method, target, "x", token).status == 400
    server.put("zoe", "x\x07", token)
    server.request("POST", "/~zoe/edit", form("x", token + "x"))
    server.put("zoe", "x", Authorization=f"Bearer {token}, {token}")
    head = f"PUT /~zoe/plan?{token} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
    assert ask(server.address, head.encode(), hang_up=True)  # not even where the request is not complete
    assert server.stop() == 0
    secret = token.removeprefix("fgd_").lower()
    assert len(server.log) > 25
    assert not [line for line in server.log if secret in line.lower()]
    assert (people / "zoe" / "plan").read_text() == "old\n"


TOKENS_IN_REQUESTS = {
    "a word": b"TOKEN\r\n",
    "a word that may go on": b"TOKEN",
    "the method": b"TOKEN / HTTP/1.1\r\nHost: a\r\n\r\n",
    "the method of an address": b"TOKEN /~zoe/plan HTTP/1.1\r\nHost: a\r\n\r\n",
    "the secret as the method": b"SECRET /~zoe/plan HTTP/1.1\r\nHost: a\r\n\r\n",
    "the version": b"PUT /~zoe/plan TOKEN\r\n\r\n",
    "a method and no address": b"PUT TOKEN HTTP/1.1\r\nHost: a\r\n\r\n",
    "the header as the first line": b"Authorization: Bearer TOKEN\r\n\r\n",
    "another address": b"GET /SECRET HTTP/1.1\r\nHost: a\r\n\r\n",
    "another address of a person": b"GET /~SECRET/feed HTTP/1.1\r\nHost: a\r\n\r\n",
    "a name": b"GET /~SECRET/edit HTTP/1.1\r\nHost: a\r\n\r\n",
    "a part of a name": b"GET /~x.SECRET/edit HTTP/1.1\r\nHost: a\r\n\r\n",
    "a host": b"GET http://SECRET/~zoe/edit HTTP/1.1\r\nHost: a\r\n\r\n",
    "a user of a host": b"GET http://SECRET@a/~zoe/edit HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": b"GET /~zoe/edit#SECRET HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded twice": b"GET /~fgd%255fSECRET/edit HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded three times": b"GET /~fgd%25255FSECRET/edit HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded forty times": b"GET /~fgd%" + 40 * b"25" + b"5fSECRET/edit HTTP/1.1\r\nHost: a\r\n\r\n",
    "a secret that is encoded": b"GET /~HALF%252541HALF/edit HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("raw", TOKENS_IN_REQUESTS.values(), ids=TOKENS_IN_REQUESTS)
def test_no_part_of_a_request_puts_a_token_into_the_log(raw: bytes, start: StartPlans) -> None:
    """Wherever it is, also in what is no request, or not a complete one."""
    secret = "-_" + "A7b" * 13 + "xy"
    server = start()
    for name, text in (("TOKEN", f"fgd_{secret}"), ("SECRET", secret), ("HALF", secret[:20])):
        raw = raw.replace(name.encode(), text.encode())
    assert ask(server.address, raw, hang_up=True)
    assert server.stop() == 0
    logged = [line for line in server.log if "query=" in line]
    assert len(logged) == 1
    assert secret[:20] not in logged[0]


SPELLINGS = (
    "/~zoe/plan",
    "/~z%6fe/plan",
    "/%7Ezoe/plan",
    "/%7e%7A%6f%65/plan",
    "/~zoe/plan?x=y",
    "http://a/~z%6Fe/plan",
)


def test_every_change_is_in_the_log_by_the_one_spelling_of_its_address(start: StartPlans, run: Run) -> None:
    """As the search for the use of a token needs it."""
    server = start()
    token = new_token(run, "zoe")
    for target in SPELLINGS:
        assert server.request("PUT", target, NEW, token).status == 204
    assert server.stop() == 0
    assert sum('query="PUT /~zoe/plan" outcome=answered' in line for line in server.log) == len(SPELLINGS)


def test_a_name_is_logged_in_nfc_and_what_no_address_has_not(start: StartPlans) -> None:
    server = start()
    shown = {
        "/~m%C3%BCller/edit": "GET /~m%C3%BCller/edit",
        "/~mu%CC%88ller/edit": "GET /~m%C3%BCller/edit",
        "/~a%20b/edit": "GET /~a%20b/edit",
        "/style.css": "GET /style.css",
        "/": "GET -",
        "/~zoe/project": "GET -",
        "/~%FF/edit": "GET -",
        "/~a%2Fb/edit": "GET -",
    }
    for target in shown:
        assert server.request("GET", target).status in (200, 404)
    for method in ("put", "MKCOL"):
        assert server.request(method, "/~zoe/plan").status == 405
    assert server.stop() == 0
    queries = [line.partition('query="')[2].partition('"')[0] for line in server.log if "query=" in line]
    assert queries == [*shown.values(), "- /~zoe/plan", "- /~zoe/plan"]


def test_after_ten_guesses_a_client_must_wait(server: PlanServer, token: str) -> None:
    def guess(number: int) -> int:
        if number % 2:
            return server.request("POST", "/~zoe/edit", form("x", f"fgd_{number}")).status
        return server.put("zoe", "x", f"fgd_{number}").status

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(guess, range(1000)))
    assert (statuses.count(401), statuses.count(429)) == (10, 990)
    limited = server.put("zoe", NEW, token)
    assert (limited.status, limited.headers["retry-after"]) == (429, "60")
    page = server.request("POST", "/~zoe/edit", form("kept", token))
    assert (page.status, page.headers["retry-after"], ">\nkept</textarea>" in page.text) == (429, "60", True)
    assert server.request("GET", "/~zoe/edit").status == 200
    assert server.request("PUT", "/~zoe/plan", NEW, token, source="127.0.0.2").status == 204


def test_guesses_count_for_whom_a_proxy_names(start: StartPlans, run: Run) -> None:
    server = start("proxies: 127.0.0.1")
    token = new_token(run, "zoe")
    for client in ("192.0.2.1", "192.0.2.2"):
        statuses = [server.put("zoe", "x", "fgd_x", X_Forwarded_For=f"{token[:4]}, {client}").status for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
    assert server.put("zoe", NEW, token, X_Forwarded_For="192.0.2.3").status == 204
    assert server.put("zoe", NEW, token).status == 400  # a proxy has to name somebody
    assert (
        server.request("PUT", "/~zoe/plan", NEW, token, source="127.0.0.2", X_Forwarded_For="192.0.2.1").status == 204
    )


# Versions


def test_a_condition_names_the_version(server: PlanServer, token: str, people: Path) -> None:
    plan = people / "zoe" / "plan"
    changed = server.put("zoe", NEW, token, If_Match=etag("old\n"))
    assert (changed.status, plan.read_text()) == (204, NEW)
    assert server.put("zoe", "x", token, If_Match=etag("old\n")).status == 412
    assert server.request("DELETE", "/~zoe/plan", token=token, If_Match=etag("old\n")).status == 412
    assert server.put("zoe", "x", token, If_Match=f"W/{etag(NEW)}").status == 412
    assert server.put("zoe", "x", token, If_None_Match="*").status == 412
    assert server.put("zoe", "x", token, If_None_Match=f'"a", {etag(NEW)}').status == 412
    assert server.put("zoe", "x", token, If_Match="new").status == 400
    assert plan.read_text() == NEW
    assert server.put("zoe", "x", token, If_Match=f'"a" , {changed.headers["etag"]}').status == 204
    assert server.put("zoe", "y", token, If_Match="*").status == 204
    assert server.request("DELETE", "/~zoe/plan", token=token, If_Match=etag("y")).status == 204
    assert server.put("zoe", "x", token, If_Match="*").status == 412
    assert server.put("zoe", "x", token, If_Match='""').status == 412
    assert server.put("zoe", "z", token, If_None_Match="*").status == 201
    assert plan.read_text() == "z"


@pytest.mark.parametrize(("text", "has_tag"), [("a\n", True), ("", True), ("a\r\nb", False), ("\ufeffa", False)])
def test_the_tag_of_a_text_is_told_where_it_is_stored_as_it_was_sent(
    text: str, has_tag: bool, server: PlanServer, token: str
) -> None:
    assert server.put("zoe", text, token).headers.get("etag") == (etag(text) if has_tag else None)


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_of_a_version_that_two_programs_replace_one_is_refused(
    name: str, server: PlanServer, people: Path, run: Run, config: Path
) -> None:
    """By HTTP and in another process; and the tag is that of the client's own text."""
    token, text = new_token(run, name), "base 0\n"
    assert server.put(name, text, token).status == 204
    known = read_plan_config(str(config))

    def write(text: str, expected: str) -> bool:
        with open_entry(known, name) as entry:
            try:
                store.replace(entry, "plan", text.encode(), colors=False, expected=expected)
            except ChangedError:
                return False
        return True

    with ThreadPoolExecutor(2) as pool:
        for turn in range(40):
            by_shell, by_web = f"shell {turn}\n", f"web {turn}\n"
            writing = pool.submit(write, by_shell, etag(text).strip('"'))
            done = server.put(name, by_web, token, If_Match=etag(text))
            assert (done.status, writing.result()) in ((204, False), (412, True))
            assert done.status == 412 or done.headers["etag"] == etag(by_web)
            text = by_shell if writing.result() else by_web
            with open_entry(known, name) as entry:
                assert store.read(entry, "plan").data == text.encode()


def test_a_lock_that_another_process_keeps_is_503(server: PlanServer, token: str, people: Path, run: Run) -> None:
    of_quill = new_token(run, "quill")
    with opened(people / "zoe") as zoe, opened(people) as all_people, ThreadPoolExecutor(3) as pool:
        for descriptor in (zoe, all_people):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        asked = [
            pool.submit(server.request, "DELETE", "/~quill/plan", token=of_quill),
            pool.submit(server.put, "quill", NEW, of_quill),
            pool.submit(server.request, "POST", "/~zoe/edit", form("kept", token)),
        ]
        refused = [each.result() for each in asked]
    assert [(each.status, each.headers["retry-after"]) for each in refused] == [(503, "10")] * 3
    assert ">\nkept</textarea>" in refused[2].text
    assert ((people / "zoe" / "plan").read_text(), (people / "quill.txt").read_text()) == ("old\n", "a quill\n")
    assert left_behind(people) == []
    assert (server.put("zoe", NEW, token).status, server.put("quill", NEW, of_quill).status) == (204, 204)


def test_two_writers_with_a_condition_one_of_whom_wins(server: PlanServer, token: str, people: Path) -> None:
    version = "old\n"
    with ThreadPoolExecutor(8) as pool:
        for turn in range(10):
            texts = [f"{turn} {number} " * 300 for number in range(8)]

            def write(text: str, version: str = version) -> int:
                return server.put("zoe", text, token, If_Match=etag(version)).status

            statuses = list(pool.map(write, texts))
            assert sorted(statuses) == [204, *[412] * 7]
            version = texts[statuses.index(204)]
            assert (people / "zoe" / "plan").read_text() == version


def test_two_writers_leave_one_of_the_two_texts(server: PlanServer, token: str, people: Path) -> None:
    texts = {letter * 4000 for letter in "abcdefgh"}
    seen = set()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            writing = [pool.submit(server.put, "zoe", text, token) for text in texts]
            while not all(each.done() for each in writing):
                seen.add((people / "zoe" / "plan").read_text())
            assert {each.result().status for each in writing} == {204}
    assert seen - {"old\n"} <= texts
    assert left_behind(people) == []


# Hostile names, and what may be in the place of a file


NAMES = [
    "..",
    ".",
    "%2e%2e",
    ".ssh",
    "a%2fb",
    "..%2Fquill",
    "zoe%2F..%2Fquill",
    "zo%00e",
    "%FF",
    "",
    "a" * 300,
    "zoe%2f",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_cannot_be_a_person_s_are_404(name: str, server: PlanServer, token: str, people: Path) -> None:
    before = sorted(people.rglob("*"))
    assert server.put(name, NEW, token).status == 404
    assert server.request("POST", f"/~{name}/edit", form(NEW, token)).status == 404
    assert server.request("GET", f"/~{name}/edit").status == 404
    assert sorted(people.rglob("*")) == before
    assert (people / "quill.txt").read_text() == "a quill\n"


def test_another_spelling_of_a_name_is_the_same_person(server: PlanServer, people: Path, run: Run) -> None:
    (people / "u\u0308").mkdir()
    token = new_token(run, "\xfc")
    for spelling in ("%C3%BC", "u%CC%88", "%75%CC%88"):
        assert server.put(spelling, spelling, token).status in (201, 204)
        assert (people / "u\u0308" / "plan").read_text() == spelling
    assert server.request("PUT", "/%7e%C3%BC/plan", "x", token).status == 204


def test_the_page_is_the_same_for_unknown_names(server: PlanServer, people: Path, run: Run) -> None:
    assert run("--as", "quill", "hide").returncode == 0
    pages = {name: server.request("GET", f"/~{name}/edit") for name in ("zoe", "quill", "nobody", "..x")}
    pages.pop("..x")
    known = pages["zoe"]
    assert "old" not in known.text
    for name, page in pages.items():
        assert page.status == 200
        assert page.body == known.body.replace(b"zoe", name.encode())
    with_wrong = {
        name: server.request("POST", f"/~{name}/edit", form("x", "fgd_x")).body.replace(name.encode(), b"NAME")
        for name in pages
    }
    assert len(set(with_wrong.values())) == 1


def test_who_is_gone_is_404(server: PlanServer, token: str, people: Path) -> None:
    (people / "zoe").rename(people / "gone")
    assert server.put("zoe", NEW, token).status == 404
    page = server.request("POST", "/~zoe/edit", form("kept", token))
    assert (page.status, ">\nkept</textarea>" in page.text) == (404, True)
    assert not (people / "zoe").exists()


def put_in_place(kind: str, plan: Path, secret: Path) -> None:
    if kind == "symbolic link":
        plan.symlink_to(secret)
    elif kind == "hard link":
        plan.hardlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(plan)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(plan))
    else:
        plan.mkdir()


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "fifo", "socket", "directory"])
def test_what_is_in_the_place_of_a_file_stays(kind: str, server: PlanServer, token: str, people: Path) -> None:
    secret, plan = people.parent / "secret", people / "zoe" / "plan"
    secret.write_text("secret\n")
    plan.unlink()
    put_in_place(kind, plan, secret)
    before = plan.lstat()
    for response in (
        server.put("zoe", NEW, token),
        server.request("DELETE", "/~zoe/plan", token=token),
        server.request("POST", "/~zoe/edit", form(NEW, token)),
    ):
        assert response.status == 403
        assert str(people) not in response.text
        server.logged(f"the plan of zoe was not changed: {plan}")
    assert (plan.lstat().st_ino, plan.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert secret.read_text() == "secret\n"


def test_a_link_in_the_place_of_a_person_is_not_followed(server: PlanServer, token: str, people: Path) -> None:
    (people / "zoe").rename(people.parent / "outside")
    (people / "zoe").symlink_to(people.parent / "outside")
    assert server.put("zoe", NEW, token).status == 403
    assert (people.parent / "outside" / "plan").read_text() == "old\n"


EMPTY = ("", " ", ",", ", ,", "\t", '"', "abc", '"a" "b"', "*,*", "W/")


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", EMPTY)
def test_a_condition_that_is_there_and_says_nothing_is_400(
    field: str, value: str, server: PlanServer, token: str, people: Path
) -> None:
    for method, target, body in (
        ("PUT", "/~zoe/plan", NEW),
        ("DELETE", "/~zoe/plan", ""),
        ("POST", "/~zoe/edit", form(NEW, token)),
    ):
        refused = server.request(method, target, body, token, **{field: value})
        assert refused.status == 400
        assert f"{field} must be * or tags in quotes" in refused.text
    assert (people / "zoe" / "plan").read_text() == "old\n"
    assert server.request("GET", "/~zoe/edit", **{field: value}).status == 200  # where it changes nothing


def test_an_empty_condition_beside_another_is_400(server: PlanServer, token: str, people: Path) -> None:
    authorization = f"Authorization: Bearer {token}"
    for fields in (f"If-Match:\r\nIf-Match: {etag('x')}", "If-Match: *\r\nIf-None-Match:", "If-Match:\r\nIf-Match:"):
        head = f"PUT /~zoe/plan HTTP/1.1\r\nHost: a\r\n{authorization}\r\nContent-Length: 4\r\n{fields}\r\n\r\n"
        assert parse(send(server.address, head.encode() + NEW.encode(), source=server.source)).status == 400
    assert (people / "zoe" / "plan").read_text() == "old\n"


UNREAD = {
    "far too long": ({"Content_Length": "99999999"}, 413),
    "just too long for a form": ({"Content_Length": str(6 * 4096 + 4097)}, 413),
    "no length": ({"Content_Length": "x"}, 400),
    "a length and chunks": ({"Transfer_Encoding": "chunked"}, 400),
}


@pytest.mark.parametrize(("sent", "status"), UNREAD.values(), ids=UNREAD)
def test_a_form_that_is_not_read_leads_back_to_what_was_typed(
    sent: dict[str, str], status: int, server: PlanServer, people: Path
) -> None:
    page = server.request("POST", "/~z%6fe/edit", "text=x", **sent)
    assert page.status == status
    assert page.headers["content-type"].startswith("text/html")
    assert "It may have at most 4096 bytes." in page.text
    assert '<a href="/~zoe/edit">the form</a>' in page.text
    assert (people / "zoe" / "plan").read_text() == "old\n"
    for method, target in (("PUT", "/~zoe/plan"), ("POST", "/~zoe"), ("POST", f"/~{'x' * 43}/edit")):
        assert "Back button" not in server.request(method, target, "text=x", **sent).text


UNPRINTABLE = ("%1B", "%C2%9b", "%07", "%7F", "%E2%80%AE", "%E2%80%A8", "%C2%85", "%09", "%EF%BB%BF")


@pytest.mark.parametrize("character", UNPRINTABLE)
def test_a_name_that_is_not_printable_is_404_and_not_told_again(
    character: str, server: PlanServer, token: str, people: Path
) -> None:
    raw = bytes.fromhex(character.replace("%", ""))
    (people / f"a{raw.decode()}b").mkdir()  # also where there is such a person
    for method, target in (("GET", "edit"), ("POST", "edit"), ("PUT", "plan"), ("DELETE", "plan")):
        response = server.request(method, f"/~a{character}b/{target}", "text=x" if method == "POST" else "", token)
        assert response.status == 404
        assert raw not in response.body
        assert "This cannot be the name of a person" in response.text


@pytest.mark.parametrize("user", [b"a\xc2\x9bb", b"a\xc2\x85b", b"a\xe2\x80\xa8b", b"a\xc2\x9d0;b"])
def test_whom_a_proxy_names_is_told_without_control_characters(user: bytes, start: StartPlans) -> None:
    server = start("remote_user: X-User, proxies: 127.0.0.1, base_url: 'https://a.example'")
    sent = {"X_User": user.decode("latin-1"), "X_Forwarded_For": "192.0.2.1", "Origin": "https://a.example"}
    for response in (
        server.request("GET", "/~zoe/edit", **sent),
        server.request("POST", "/~zoe/edit", "text=x", **sent),
        server.put("zoe", NEW, **sent),
    ):
        assert response.status in (200, 403)
        assert user[1:-1].strip(b"0;") not in response.body
        assert "zoe" in response.text


# Methods, types, and the headers of all


def test_each_address_has_its_methods(server: PlanServer, token: str) -> None:
    for route in ROUTES:
        target = route.path.replace("NAME", "zoe")
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "put"):
            response = server.request(method, target, "", token)
            assert (response.status == 405) == (method not in route.methods), (method, target)
            if response.status == 405:
                assert response.headers["allow"] == ", ".join(route.methods)
    for target in ("/", "/~zoe", "/~zoe/plan/", "/~zoe/project", "/zoe/plan", "/robots.txt", "/~zoe/edit/x"):
        assert server.request("GET", target).status == 404
        assert server.put("x", "", token).status == 403


def test_head_is_get_without_its_body(server: PlanServer) -> None:
    for target in ("/~zoe/edit", "/style.css"):
        whole, head = server.request("GET", target), server.request("HEAD", target)
        dates = {"date": whole.headers["date"]}
        assert {**head.headers, **dates} == {**whole.headers, **dates}
        assert whole.body


FORMS = {
    "another type": ({"Content_Type": "text/plain"}, "text=a", 415),
    "multipart": ({"Content_Type": "multipart/form-data; boundary=x"}, "text=a", 415),
    "no text": ({}, "token=a", 400),
    "two texts": ({}, "text=a&text=b", 400),
    "two tokens": ({}, "text=a&token=b&token=c", 400),
    "many fields": ({}, "&".join(f"f{number}=x" for number in range(50)), 400),
    "compressed": ({"Content_Encoding": "gzip"}, "text=a", 415),
    "a type with a charset": ({"Content_Type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}, "text=a", 401),
    "bytes as they are": ({}, b"text=\xc3\xbc", 401),
    "half a percent": ({}, "text=%", 401),
}


@pytest.mark.parametrize(("fields", "body", "status"), FORMS.values(), ids=FORMS)
def test_forms_of_programs(
    fields: dict[str, str], body: str | bytes, status: int, server: PlanServer, people: Path
) -> None:
    assert server.request("POST", "/~zoe/edit", body, **fields).status == status
    assert (people / "zoe" / "plan").read_text() == "old\n"


def test_parts_and_compressed_texts_are_refused(server: PlanServer, token: str) -> None:
    assert server.put("zoe", "x", token, Content_Encoding="gzip").status == 415
    assert server.put("zoe", "x", token, Content_Range="bytes 0-1/5").status == 415
    assert server.request("DELETE", "/~zoe/plan", token=token, Content_Length="3").status == 400


def test_every_response_has_the_headers_of_pages(server: PlanServer, token: str) -> None:
    for response in (
        server.request("GET", "/~zoe/edit"),
        server.request("GET", "/x"),
        server.put("zoe", NEW, token),
        server.put("zoe", NEW),
        server.request("POST", "/~zoe/edit", form(NEW, token)),
    ):
        headers = response.headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["x-robots-tag"] == "noindex, nofollow, noarchive"
        assert "set-cookie" not in headers


def test_colors_pass_where_the_daemon_lets_them(start: StartPlans, run: Run, people: Path) -> None:
    server = start(rest="reply: {colors: true}\n")
    token = new_token(run, "zoe")
    assert server.put("zoe", "\x1b[31mred\x1b[0m\n", token).status == 204
    assert server.put("zoe", "\x1b[2J", token).status == 422
    assert (people / "zoe" / "plan").read_text() == "\x1b[31mred\x1b[0m\n"


def test_the_daemon_accepts_the_section_and_does_nothing_of_it(server: PlanServer, config: Path, token: str) -> None:
    daemon = Daemon(config)
    try:
        assert daemon.listening.count(":") == 1
        assert server.put("zoe", NEW, token).status == 204
        wait_until(lambda: b"new" in daemon.ask(b"zoe\r\n"), 1.5)
    finally:
        assert daemon.stop() == 0
