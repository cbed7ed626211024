"""The form in Chromium, with a token and behind nginx that signs people in, and pages of other sites that misuse it."""

import http.server
import importlib.metadata
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.browser import Browser
from tests.helpers.daemons import ROOT, let_everybody_in, wait_until
from tests.helpers.http import get, send
from tests.helpers.nginx import nginx
from tests.helpers.ports import free_port
from tests.helpers.requirements import need
from tests.http.test_browser import ACCESSIBLE, TOO_WIDE
from tests.plans.conftest import Run
from tests.plans.web.conftest import PlanServer, StartPlans, new_token

GUIDE = (ROOT / "docs" / "plans.md").read_text()
FOREIGN = """<!DOCTYPE html><title>Win a prize</title>
<form action="{target}" method="post"><textarea name="text">pwned</textarea><button>Yes</button></form>
<iframe name="hidden"></iframe>"""
# The lines of the page that make nginx ask for a password, and tell who has given it.
BASIC = "".join(re.findall(r"^ +(?:auth_basic|proxy_set_header X-Remote).*\n", GUIDE, re.MULTILINE))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    need("chromium", "chromedriver")
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


def url_of(server: PlanServer) -> str:
    return f"http://127.0.0.1:{server.address[1]}"


def store(browser: Browser) -> None:
    """Press the button, and wait for the page that answers."""
    browser.run("window.isOld = true")
    browser.click("button")
    wait_until(lambda: browser.run("return !window.isOld && document.readyState === 'complete'"))


def described(browser: Browser, selector: str) -> list[str]:
    """The texts that a screen reader says of a field beside its label."""
    script = """
        const field = document.querySelector(arguments[0]);
        const ids = field.getAttribute("aria-describedby").split(" ");
        return ids.map(id => document.getElementById(id).textContent.trim());
    """
    return [str(text) for text in browser.run(script, selector)]


def test_a_mistake_first_and_then_right(browser: Browser, start: StartPlans, run: Run, people: Path) -> None:
    server = start()
    token = new_token(run, "zoe")
    browser.complaints()
    browser.open(f"{url_of(server)}/~zoe/edit")
    assert browser.title.startswith("Change the plan of zoe · ")
    assert "old" not in browser.text("body")
    browser.type("#text", '\nThis week:\n  * read   \n  * <write> & "rest"\n\ntab:')
    browser.run('document.querySelector("#text").value += "\\t\\u0007end"')  # as pasted
    browser.type("#token", token)
    store(browser)
    assert browser.title.startswith("Error: Change the plan of zoe")
    assert described(browser, "#text")[1:] == ["plan: line 6, column 6: control character U+0007"]
    assert browser.run('return document.querySelector("#text").getAttribute("aria-invalid")') == "true"
    kept = '\nThis week:\n  * read   \n  * <write> & "rest"\n\ntab:\t\u0007end'
    assert browser.run('return document.querySelector("#text").value') == kept
    assert browser.run('return document.querySelector("#token").value') == ""
    assert (people / "zoe" / "plan").read_text() == "old\n"
    browser.run('const text = document.querySelector("#text"); text.value = text.value.replace("\\u0007", "")')
    browser.type("#token", "fgd_wrong")
    store(browser)
    assert described(browser, "#token")[1:] == ["There is no such token, or it was revoked"]
    assert browser.run('return document.querySelector("#text").value') == kept.replace("\a", "")
    browser.type("#token", token)
    store(browser)
    assert browser.url == f"{url_of(server)}/~zoe/edit?stored"
    assert browser.text("[role=status]") == "The plan is stored. It is told from now on."
    assert (people / "zoe" / "plan").read_text() == kept.replace("\a", "")
    assert [each for each in browser.complaints() if "401" not in each and "422" not in each] == []
    assert server.stop() == 0
    assert not [line for line in server.log if token in line]


def test_back_leads_to_a_text_that_was_far_too_long(browser: Browser, server: PlanServer, people: Path) -> None:
    browser.open(f"{url_of(server)}/~zoe/edit")
    typed = "A long story.\n" * 5000
    browser.run('document.querySelector("#text").value = arguments[0]', typed)
    browser.type("#token", "fgd_x")
    store(browser)
    assert "It may have at most 4096 bytes." in browser.text("main")
    browser.back()
    wait_until(lambda: bool(browser.run("return document.querySelector('#text')?.value")), 5)
    assert browser.run('return document.querySelector("#text").value') == typed
    assert browser.run('return document.querySelector("#token").value') == ""
    assert (people / "zoe" / "plan").read_text() == "old\n"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("mistake", ["", "text", "token"])
def test_axe_finds_nothing(browser: Browser, server: PlanServer, run: Run, scheme: str, mistake: str) -> None:
    token = new_token(run, "zoe")
    axe = importlib.metadata.distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js")
    browser.prefer(scheme)
    browser.use_screen(320, 640)
    browser.open(f"{url_of(server)}/~zoe/edit")
    if mistake:
        browser.run('document.querySelector("#text").value = arguments[0]', "\a" if mistake == "text" else "x" * 300)
        browser.type("#token", token if mistake == "text" else "fgd_x")
        store(browser)
        assert described(browser, f"#{mistake}")[1]
    assert browser.run(TOO_WIDE) == []
    browser.run(Path(str(axe)).read_text())
    assert browser.run_async(ACCESSIBLE) == []


def test_the_token_is_not_kept_by_the_browser(browser: Browser, server: PlanServer) -> None:
    browser.open(f"{url_of(server)}/~zoe/edit")
    field = 'document.querySelector("#token")'
    assert browser.run(f"return [{field}.type, {field}.autocomplete]") == ["password", "off"]


class Foreign:
    """Another site, on another port of this host, whose page has the browser send a form."""

    def __init__(self, target: str) -> None:
        page = FOREIGN.format(target=target).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


def test_a_proxy_signs_people_in(browser: Browser, start: StartPlans, people: Path, base: Path, tmp_path: Path) -> None:
    port = free_port()
    outside = f"http://127.0.0.1:{port}"
    socket, folder = tmp_path / "socket", tmp_path / "nginx"
    let_everybody_in(tmp_path)
    (tmp_path / "passwords").write_text("zoe:{PLAIN}secret\nquill:{PLAIN}secret\n")
    server = start(
        f'remote_user: X-Remote-User, proxies: [unix, 127.0.0.9], base_url: "{outside}"',
        listen=f'["127.0.0.1:0", {{unix: {socket}, mode: "666"}}]',
    )
    plan = people / "zoe" / "plan"
    with nginx(
        folder,
        port,
        f"http://unix:{socket}",
        more=BASIC.replace("/etc/nginx/people.passwords", str(tmp_path / "passwords")),
    ):
        assert get(("127.0.0.1", port), "/~zoe/edit").status == 401
        browser.complaints()
        browser.open(f"http://zoe:secret@127.0.0.1:{port}/style.css")
        browser.open(f"{outside}/~zoe/edit")
        assert "You are signed in as zoe." in browser.text()
        assert browser.run('return document.querySelector("#token")') is None
        browser.type("#text", "signed in")
        store(browser)
        assert browser.url == f"{outside}/~zoe/edit?stored"
        assert plan.read_text() == "signed in"

        browser.open(f"{outside}/~quill/edit")
        browser.type("#text", "another's")
        store(browser)
        assert "zoe may not change the plan of quill" in browser.text()
        assert browser.run('return document.querySelector("#text").value') == "another's"
        assert (people / "quill.txt").read_text() == "a quill\n"

        foreign = Foreign(f"{outside}/~zoe/edit")  # the browser is signed in, and sends the password
        try:
            browser.open(foreign.url)
            store(browser)
        finally:
            foreign.close()
        assert browser.url == f"{outside}/~zoe/edit"
        assert browser.text("h1") == "The request is not from a page of this site"
        assert plan.read_text() == "signed in"
    refused = server.logged("status=403").partition("client=")[2]
    assert refused


def test_whom_a_header_names_is_believed_from_proxies_only(start: StartPlans, run: Run, people: Path) -> None:
    origin = "https://plans.example.org"
    server = start(f'remote_user: X-Remote-User, proxies: 127.0.0.9, base_url: "{origin}:443"')
    plan = people / "zoe" / "plan"

    def put(text: str, source: str = "127.0.0.9", token: str = "", **fields: str) -> int:
        if source == "127.0.0.9":
            fields["X_Forwarded_For"] = "192.0.2.7"
        return server.request("PUT", "/~zoe/plan", text, token, source, **fields).status

    assert put("a", X_Remote_User="zoe", Origin=origin) == 204
    assert put("b", X_Remote_User="zoe", Origin="HTTPS://plans.example.org:443") == 204
    for foreign in (
        "https://evil.example",
        f"{origin}.evil.example",
        f"{origin}:8443",
        "http://plans.example.org",
        "null",
    ):
        assert put("x", X_Remote_User="zoe", Origin=foreign) == 403
    assert put("x", X_Remote_User="zoe") == 403
    assert put("x", X_Remote_User="quill", Origin=origin) == 403
    assert put("x", X_Remote_User="", Origin=origin) == 401
    assert put("x", Origin=origin) == 401
    assert put("x", "127.0.0.2", X_Remote_User="zoe", Origin=origin) == 401
    assert put("x", "127.0.0.2", X_Remote_User="zoe") == 401
    assert plan.read_text() == "b"
    token = new_token(run, "zoe")  # programs have one, and no Origin
    assert put("c", "127.0.0.2", token) == 204
    assert put("x", "127.0.0.2", token, Origin="https://evil.example") == 403
    assert plan.read_text() == "c"
    twice = (
        f"PUT /~zoe/plan HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nOrigin: {origin}\r\nContent-Length: 1\r\n"
        "X-Remote-User: quill\r\nx-remote-user: zoe\r\n\r\nx"
    )
    assert b" 400 " in send(server.address, twice.encode(), source="127.0.0.9")
    assert plan.read_text() == "c"
