"""The pages in Chromium: by the keyboard, on a telephone, in the dark, and with texts that attack it."""

import importlib.metadata
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd.http.masking import MAX_LINKS
from tests.helpers.browser import ENTER, TAB, Browser
from tests.helpers.daemons import EXAMPLES, ROOT, Daemon
from tests.helpers.http import HttpDaemon
from tests.helpers.requirements import need

PEOPLE = r"""  zoe:
    name: Zoe Quill
    office: B 12
    office_phone: "+1 555 0100"
    pronouns: she/her
    project: "See gemini://sky.example/map, or https://sky.example/a/very/long/path/of/a/page/about/the/sky?and=more."
    plan: "This week:\n\n  * read\n  * write to mailto:zoe@example.org\n\n+----------------------------------------+"
    links: "me https://social.example/@zoe"
  adam: {name: Adam Quill, plan: ""}
  bob: "Happy and well"
  rtl: {name: שרה לוי, plan: "שלום לכולם!\nHello (all)!\nקראו https://example.org/x?x=1"}
  "a/b?c#d'\"<&": {name: "Odd \"name\" <b>", plan: x}
"""
LONG = {
    "name": "Wolfeschlegelsteinhausenbergerdorff" * 9,
    "office": "o" * 200,
    "home_phone": "5" * 200,
    "plan": "-" * 500,
}
EVIL = (
    "<script>window.ran=1</script><img src=x onerror='window.ran=2'><svg/onload=window.ran=3> "
    "\"onmouseover=\"window.ran=4\" 'onfocus='window.ran=5' autofocus javascript:window.ran=6 "
    "http://a.example/\"onclick=\"window.ran=7 https://a.example/'onclick='window.ran=8' "
    "data:text/html,<script>window.ran=9</script> [x](javascript:window.ran=10) </pre></article></main></body></html>"
)
ACCESSIBLE = """
    const done = arguments[arguments.length - 1];
    axe.run(document, {resultTypes: ["violations", "incomplete"]}).then(
        found => done([...found.violations, ...found.incomplete.filter(each => each.impact)]
            .map(each => [each.id, each.help, each.nodes.map(node => node.html)])),
        error => done([String(error)]));
"""
TOO_WIDE = """
    const width = document.documentElement.clientWidth;
    const all = [...document.querySelectorAll("body *")].filter(each => !each.closest(".list *"));
    const wide = all.filter(each => each.getBoundingClientRect().right > width + 0.5).map(each => each.outerHTML);
    return document.documentElement.scrollWidth > width ? ["page", ...wide] : wide;
"""
ALIVE = """
    const links = [...document.querySelectorAll("[href], [src], [action]")];
    const all = [...document.querySelectorAll("*")];
    return {
        ran: window.ran === undefined ? null : window.ran,
        protocols: [...new Set(links.map(each => new URL(each.href || each.src || each.action, location).protocol))],
        attributes: all.flatMap(each => each.getAttributeNames()).filter(name => /^(on|style|autofocus)/.test(name)),
        elements: [...new Set(all.map(each => each.localName))].filter(
            name => ["script", "img", "svg", "iframe", "object", "style", "base"].includes(name)),
    };
"""
EVENTS = """
    for (const each of document.querySelectorAll("main, main *")) {
        for (const event of ["mouseover", "click", "focus", "load", "error"]) each.dispatchEvent(new Event(event));
    }
"""
BIDI = "\u202e\u2066\u2067\u200f\u061c"
HOSTILE = {
    "script": EVIL * 20,
    "urls": "http://a.example/?q=<b> " * 10_000,
    "bidi": f"\u202eevil http://a.example/x\n{BIDI}http://a.example/x {BIDI}\n" * 200,
    "line": "x" * 65536,
    "blocks": "\u2588\ufdfd" * 4_000,
}
MARKS = "Z" + "\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u0334\u0319\u0324" * 200


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    need("chromium", "chromedriver")
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


def serve(folder: Path, people: str) -> Iterator[str]:
    config = f"backend:\n type: static\n users:\n{people}limits: {{reply_bytes: 1MiB}}\n"
    policy = "policy: [{from: any, list: true, match: name, show: everything}]\n"
    daemon = HttpDaemon(folder, config + policy, 'title: "People", base_url: "https://people.example"')
    yield f"http://127.0.0.1:{daemon.http[1]}"
    assert daemon.stop() == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with people of all kinds."""
    yield from serve(tmp_path_factory.mktemp("good"), f"{PEOPLE}  long: {json.dumps(LONG)}\n")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with people who attack it."""
    people: dict[str, object] = {"evil": EVIL, "marks": {"name": MARKS, "job": MARKS, "plan": MARKS}}
    for login, text in HOSTILE.items():
        people[login] = {"name": text[:200], "job": text[:200], "plan": text, "project": text[:500]}
    lines = "".join(f"  {login}: {json.dumps(person)}\n" for login, person in people.items())
    yield from serve(tmp_path_factory.mktemp("hostile"), lines)


@pytest.fixture
def screen(browser: Browser) -> Browser:
    """The browser with a large screen, in the light, and nothing on its console."""
    browser.use_screen(1000, 800)
    browser.prefer("light")
    browser.complaints()
    return browser


def test_a_name_is_typed_and_found(screen: Browser, site: str) -> None:
    screen.open(site)
    assert screen.title == "Find people · People"
    screen.type("#q", "zoe")
    screen.click("button")
    assert (screen.url, screen.title) == (f"{site}/~zoe", "Zoe Quill · People")
    assert screen.text("h1") == "Zoe Quill"
    assert "Login\nzoe\nPronouns\nshe/her" in screen.text()
    assert "This week:\n\n  * read\n" in screen.text("pre.p-note")
    screen.ask("a/b?c#d'\"<&")
    assert screen.text("h1") == 'Odd "name" <b>'
    assert not screen.complaints()  # the policy for contents lets in all that there is


def test_the_keyboard_reaches_everything_and_shows_where_it_is(screen: Browser, site: str) -> None:
    screen.open(site)
    visited = []
    for _ in range(4):
        screen.press(TAB)
        visited.append(screen.run("return document.activeElement.localName + document.activeElement.id"))
        assert screen.run("return getComputedStyle(document.activeElement).outlineWidth") == "3px"
    assert visited == ["inputq", "button", "div", "a"]  # the list can be scrolled
    screen.press(ENTER)
    assert screen.text("h1") == "Zoe Quill"


def test_links_lead_from_page_to_page(screen: Browser, site: str) -> None:
    screen.open(site)
    screen.follow("Adam Quill")
    assert "No Plan." in screen.text()
    screen.follow("People")
    assert screen.url == f"{site}/"
    screen.ask("quill")
    assert screen.text("h1") == "People found for quill"
    screen.follow("Zoe Quill")
    screen.follow("text")
    assert "Login name: zoe" in screen.text("body")
    screen.open(f"{site}/~zoe")
    screen.follow("JSON")
    assert '"login": "zoe"' in screen.text("body")


def test_a_404_is_a_page_that_helps(screen: Browser, site: str) -> None:
    screen.open(f"{site}/~zo%22%3E%3Cb%3Ee")
    assert screen.text("h1") == "No such user"
    assert 'under the name zo"><b>e.' in screen.text()
    screen.ask("zoe")
    assert screen.text("h1") == "Zoe Quill"
    screen.open(f"{site}/~nobody")
    screen.follow("See who is listed.")
    assert "Adam Quill" in screen.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_style_follows_the_scheme(screen: Browser, site: str, scheme: str) -> None:
    screen.prefer(scheme)
    screen.open(f"{site}/~zoe")
    assert screen.run("return document.styleSheets.length") == 1
    back, fore = (
        sum(screen.run(f"return getComputedStyle(document.body).{name}.match(/\\d+/g).map(Number)"))
        for name in ("backgroundColor", "color")
    )
    assert (back > fore) == (scheme == "light")
    assert abs(back - fore) > 500
    assert screen.run('return getComputedStyle(document.querySelector("pre")).whiteSpace') in (
        "pre-wrap",
        "break-spaces",
    )


PAGES = ("/", "/~zoe", "/~adam", "/~bob", "/~rtl", "/~long", "/~quill", "/~nobody", f"/~{'n' * 300}", "/~a%00", "/x")
HOSTILE_PAGES = tuple(f"/~{login}" for login in HOSTILE)


@pytest.mark.parametrize("target", PAGES)
def test_no_page_is_wider_than_a_telephone(screen: Browser, site: str, target: str) -> None:
    screen.use_screen(320, 640)
    screen.open(site + target)
    assert screen.run(TOO_WIDE) == []


@pytest.mark.parametrize("target", ["/", *HOSTILE_PAGES])
def test_no_text_makes_a_page_wider(screen: Browser, hostile: str, target: str) -> None:
    screen.use_screen(320, 640)
    screen.open(hostile + target)
    assert screen.run(TOO_WIDE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("target", PAGES)
def test_axe_finds_nothing(screen: Browser, site: str, target: str, scheme: str) -> None:
    axe = importlib.metadata.distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js")
    screen.prefer(scheme)
    screen.open(site + target)
    screen.run(Path(str(axe)).read_text())
    assert screen.run_async(ACCESSIBLE) == []


@pytest.mark.parametrize("target", ["/", "/~evil", *HOSTILE_PAGES, "/~%3Cscript%3Ewindow.ran=1%3C%2Fscript%3E"])
def test_nothing_in_a_text_runs(screen: Browser, hostile: str, target: str) -> None:
    screen.tool("Page.setBypassCSP", enabled=True)  # escaping alone has to do it
    try:
        screen.open(hostile + target)
        screen.run(EVENTS)
        found = screen.run(ALIVE)
    finally:
        screen.tool("Page.setBypassCSP", enabled=False)
    assert (found["ran"], found["attributes"], found["elements"]) == (None, [], [])
    assert set(found["protocols"]) <= {"http:", "https:", "gemini:", "gopher:", "finger:", "mailto:"}
    assert "Look up" in screen.text("form")


def test_a_page_of_ten_thousand_urls_stays_readable(screen: Browser, hostile: str) -> None:
    screen.open(f"{hostile}/~urls")
    assert screen.run('return document.querySelectorAll("pre.p-note a").length') == MAX_LINKS
    assert screen.run('return document.querySelector("pre.p-note").textContent.length') == len(HOSTILE["urls"].rstrip())
    assert screen.run('return document.querySelector("pre a").textContent') == "http://a.example/?q="


def test_direction_marks_turn_nothing_but_their_line(screen: Browser, hostile: str) -> None:
    screen.open(f"{hostile}/~bidi")
    # The link goes from left to right, whatever is around it; and so does the label after the name.
    lefts = screen.run(
        """
        const text = document.querySelector("pre.p-note a").firstChild;
        return [0, 1, 8, 15].map(index => {
            const range = document.createRange();
            range.setStart(text, index);
            range.setEnd(text, index + 1);
            return range.getBoundingClientRect().left;
        });
        """
    )
    assert lefts == sorted(lefts)
    assert screen.run('return getComputedStyle(document.querySelector("form")).direction') == "ltr"


def test_marks_above_letters_do_not_cover_others(screen: Browser, hostile: str) -> None:
    screen.use_screen(320, 640)
    screen.open(f"{hostile}/~marks")
    assert screen.run("return document.documentElement.scrollWidth") <= 320
    for selector in ("h1", "dd", "pre"):
        assert screen.run("return getComputedStyle(document.querySelector(arguments[0])).overflow", selector) == "clip"


def test_screenshots_can_be_looked_at(screen: Browser, site: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("FINGERD_SCREENSHOTS", tmp_path))
    for name, target in (("home", "/"), ("person", "/~zoe"), ("long", "/~long"), ("404", "/~nobody")):
        for scheme, width in (("light", 320), ("dark", 1000)):
            screen.use_screen(width, 640)
            screen.prefer(scheme)
            screen.open(site + target)
            screen.screenshot(folder / f"{name}-{scheme}-{width}.png")
            assert (folder / f"{name}-{scheme}-{width}.png").stat().st_size > 4000


def test_the_picture_in_readme_is_a_page_of_the_demo(screen: Browser, tmp_path: Path) -> None:
    """FINGERD_SCREENSHOTS=docs makes it anew."""
    folder = Path(os.environ.get("FINGERD_SCREENSHOTS", tmp_path))
    text = (EXAMPLES / "demo.yaml").read_text()
    for port in ("1079", "8079"):
        text = text.replace(f'listen: "127.0.0.1:{port}"', 'listen: "127.0.0.1:0"')
    config = tmp_path / "demo.yaml"
    config.write_text(text)
    daemon = Daemon(config)
    try:
        port = daemon.listening.rpartition(":")[2]
        screen.use_screen(720, 480)
        screen.open(f"http://127.0.0.1:{port}/~brindle")
        screen.screenshot(folder / "page.png")
    finally:
        daemon.stop()
    made, shown = (path.read_bytes() for path in (folder / "page.png", ROOT / "docs" / "page.png"))
    assert made[:8] == shown[:8] == b"\x89PNG\r\n\x1a\n"
    assert made[16:20] == shown[16:20]  # the width
    assert len(shown) < 60_000
