"""What pages show, to whom it is of use: valid HTML, of which no text is markup, in browsers of all kinds."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import html5lib
import mf2py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.http.fitting import fitting
from fingerd.http.masking import MAX_LINKS, linked, masked, masked_line, masked_start
from fingerd.http.pages import Pages, render
from fingerd.http.records import record_of
from fingerd.people import Person
from tests.helpers.daemons import ask
from tests.helpers.http import HttpDaemon
from tests.helpers.requirements import need
from tests.http.conftest import StartHttp

URL = 'base_url: "https://people.example.org"'
REL = 'rel="nofollow ugc noopener"'
PEOPLE = r"""
backend:
  type: static
  users:
    zoe:
      name: Zoe Quill
      office: B 12
      office_phone: "+1 555 0100"
      pronouns: she/her
      project: "See gemini://sky.example/map."
      plan: "Two\nlines, and\t<b>a tab</b> & https://plan.example/?a=1&b=(2)."
      links: "profile\nme https://social.example/@zoe\nalternate mailto:zoe@example.org\nself acct:zoe@example.org"
    adam: {name: Adam Quill, plan: "", office: "<i>"}
    bob: "Happy and well: http://bob.example"
    "a/b?c#d'\"<&": {name: "Odd \"name\" <b>", plan: x}
policy: [{from: any, list: true, match: name, show: everything}]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDaemon]:
    found = HttpDaemon(tmp_path_factory.mktemp("http"), PEOPLE, URL)
    yield found
    assert found.stop() == 0


def check_valid(html: str) -> None:
    """Raise ParseError where a page is not as HTML has to be."""
    html5lib.HTMLParser(strict=True).parse(html)


def shown(html: str) -> str:
    """The text of a page without its markup."""
    return unescape(re.sub(r"<[^>]*>", "", html))


@pytest.mark.parametrize(
    "target",
    ["/", "/~zoe", "/~adam", "/~bob", "/~quill", "/~a%2Fb%3Fc%23d%27%22%3C%26", "/~%3Cscript%3E", "/~zoe%00", "/x"],
)
def test_every_page_is_valid(daemon: HttpDaemon, target: str) -> None:
    html = daemon.get(target).text
    check_valid(html)
    assert '<html lang="en">' in html
    assert re.search(r"<title>[^<]+ · people.example.org</title>", html)
    assert len(re.findall("<h1[ >]", html)) == 1
    assert "<script" not in html
    assert not re.search(r"\s(style|on\w+)=", html)


def test_the_page_of_a_person(daemon: HttpDaemon) -> None:
    html = daemon.get("/~zoe").text
    assert "<title>Zoe Quill · people.example.org</title>" in html
    text = shown(html)
    for line in ("Zoe Quill", "Loginzoe", "Pronounsshe/her", "OfficeB 12", "Office phone+1 555 0100"):
        assert line in text.splitlines()
    assert "Two\nlines, and\t<b>a tab</b> & https://plan.example/?a=1&b=(2)." in text
    link = "https://plan.example/?a=1&amp;b=(2)"
    assert f'<a {REL} href="{link}">{link}</a>.</bdi></pre>' in html
    assert f'<a {REL} href="gemini://sky.example/map">' in html
    for path, form in (("text", "text/plain"), ("json", "application/json"), ("feed", "application/atom+xml")):
        assert f'type="{form}" href="/~zoe/{path}"' in html
        assert daemon.get(f"/~zoe/{path}", "HEAD").headers["content-type"].startswith(form)


def test_the_links_of_a_person(daemon: HttpDaemon) -> None:
    html = daemon.get("/~zoe").text
    assert re.findall('<a class="(.*?)" rel="([^"]*)" href="([^"]*)"', html) == [
        ("u-url", "nofollow ugc noopener me", "https://social.example/@zoe"),  # by which others verify who it is
        ("u-email", "nofollow ugc noopener", "mailto:zoe@example.org"),
    ]
    assert "<dd><bdi>acct:zoe@example.org</bdi></dd>" in html
    assert "https://people.example.org/~zoe" not in html  # the page itself


def test_a_record_is_an_h_card(daemon: HttpDaemon) -> None:
    (card,) = mf2py.parse(doc=daemon.get("/~zoe").text, url="http://localhost/~zoe")["items"]
    found = card["properties"]
    assert card["type"] == ["h-card"]
    assert (found["name"], found["nickname"], found["tel"]) == (["Zoe Quill"], ["zoe"], ["+1 555 0100"])
    assert (found["url"], found["email"]) == (["https://social.example/@zoe"], ["mailto:zoe@example.org"])
    assert found["note"][0].startswith("Two\nlines")
    cards = mf2py.parse(doc=daemon.get("/~quill").text, url="http://localhost/~quill")["items"]
    assert [each["properties"]["uid"] for each in cards] == [["http://localhost/~zoe"], ["http://localhost/~adam"]]


def test_several_people_are_found_by_a_name(daemon: HttpDaemon) -> None:
    html = daemon.get("/~quill").text
    assert "<title>quill · people.example.org</title>" in html
    assert "<h1>People found for <bdi>quill</bdi></h1>" in html
    assert re.findall('<h2 class="p-name"><a [^>]*href="([^"]*)"', html) == ["/~zoe", "/~adam"]
    assert html.count("<h3>Plan</h3>") == 2
    one = daemon.get("/~adam%20quill").text
    assert '<h1 class="p-name"><a class="u-url u-uid" href="/~adam">' in one  # its own address is another
    assert '<h1 class="p-name"><bdi>Adam Quill' in daemon.get("/~adam").text


def test_who_has_no_plan_and_who_has_only_a_text(daemon: HttpDaemon) -> None:
    assert "<bdi>No Plan.</bdi>" in daemon.get("/~adam").text
    html = daemon.get("/~bob").text
    assert '<h1 class="p-name"><bdi>bob</bdi></h1>' in html
    assert f'Happy and well: <a {REL} href="http://bob.example">' in html
    assert "No Plan." not in html


def test_the_list(daemon: HttpDaemon) -> None:
    html = daemon.get("/").text
    assert re.findall('<th scope="col">([^<]*)</th>', html) == ["Name", "Login", "Office"]
    paths = re.findall('<td><a href="([^"]*)"><bdi>([^<]*)', html)
    assert [unescape(name) for _, name in paths] == ["Zoe Quill", "Adam Quill", "bob", 'Odd "name" <b>']
    for path, name in paths:
        assert f"<bdi>{name}</bdi></h1>" in daemon.get(path).text
    assert unquote(paths[-1][0]) == "/~a/b?c#d'\"<&"
    assert 'href="/list/text"' in html
    assert 'href="/feed"' in html


def test_a_list_with_sessions(start_http: StartHttp, tmp_path: Path) -> None:
    (tmp_path / "story.toml").write_text(
        """
        [["-1d"]]
        type = "create"
        login = "wren"
        name = "Wren"
        [["-3h"]]
        type = "login"
        login = "wren"
        line = "tty1"
        [["-2h"]]
        type = "login"
        login = "wren"
        line = "pts/7"
        host = "boat.example.org"
        [["-71m"]]
        type = "idle"
        login = "wren"
        """
    )
    scenario = f"backend: {{type: scenario, file: {tmp_path / 'story.toml'}}}\n"
    daemon = start_http(f"{scenario}policy: [{{from: any, list: true}}]\n")
    html = daemon.get("/").text
    assert re.findall('<th scope="col">([^<]*)</th>', html) == ["Name", "Login", "Where", "Since", "Idle"]
    assert html.count('<a href="/~wren">') == 2
    assert "<bdi>pts/7 from boat.example.org</bdi>" in html
    assert re.search(r"<td>[A-Z][a-z]{2} \d\d:\d\d</td><td>1 hour 1\d minutes</td>", html)
    page = daemon.get("/~wren").text
    assert page.count("<dd><bdi>On since ") == 2
    assert ", idle 1 hour 1" in page
    check_valid(html)
    check_valid(page)


def test_an_empty_list(start_http: StartHttp) -> None:
    html = start_http("backend: {type: static, users: {}}\npolicy: [{from: any, list: true}]\n").get("/").text
    assert "No one logged on." in html
    assert "<table" not in html
    check_valid(html)


def test_a_list_that_is_a_text(start_http: StartHttp) -> None:
    command = "backend: {type: command, argv: [echo, x], list_argv: [printf, 'a <b>\\nhttp://c.example/\\n']}\n"
    html = start_http(f"{command}policy: [{{from: any, list: true}}]\n").get("/").text
    assert f'<bdi>a &lt;b&gt;\n<a {REL} href="http://c.example/">' in html
    check_valid(html)


def test_when_a_plan_changed_is_shown_with_it() -> None:
    def page(plan: str, changed: float | None) -> str:
        pages = Pages("People", 1024, 65536, has_feeds=False)
        return pages.person([Person("zoe", plan=plan, plan_changed=changed)], "zoe", searches=False)

    html = page("Reading", 1e9)
    assert re.search(
        r'Changed <time datetime="2001-09-0\dT\d\d:\d\d:40[+-]\d\d:\d\d">\w{3} Sep +\d \d\d:\d\d 2001', html
    )
    check_valid(html)
    assert "Changed" not in page("Reading", None) + page("", 1e9)


@pytest.mark.parametrize("match", ["login", "name"])
def test_a_404_helps(start_http: StartHttp, match: str) -> None:
    people = "backend: {type: static, users: {zoe: {name: Zoe}}}\n"
    daemon = start_http(f"{people}policy: [{{from: any, match: {match}, list: {match == 'name'}}}]\n".lower())
    html = daemon.get("/~%22%3E%3Cb%3E").text
    check_valid(html)
    assert "under the name <bdi>&#34;&gt;&lt;b&gt;</bdi>." in html
    assert 'value="&#34;&gt;&lt;b&gt;"' in html  # to be corrected
    assert ("words of a full name" in html) == (match == "name")
    assert ("capital letters" in html) == (match == "login")
    assert ("See who is listed" in html) == (match == "name")
    assert "Only people of this host" in daemon.get("/~zoe@elsewhere.example").text
    assert 'value=""' in daemon.get("/nothing").text


def test_a_denied_client_gets_no_form(start_http: StartHttp) -> None:
    denied = start_http("backend: {type: empty}\npolicy: [{from: any, deny: true}]\n")
    html = denied.get("/").text
    check_valid(html)
    assert "<h1>Finger service denied</h1>" in html
    assert "<form" not in html


def test_an_ambiguous_name_is_asked_for_again(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE.replace("match: name", "match: unique"))
    response = daemon.get("/~quill")
    assert response.status == 403
    assert "<h1>Ambiguous name, ask for a login</h1>" in response.text
    assert "<form" in response.text


# Texts that want to be markup.


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see https://a.example/x.", ["https://a.example/x"]),
        ("(see https://a.example/x)", ["https://a.example/x"]),
        ("https://en.wikipedia.org/wiki/A_(b)), [https://a.example/c], <https://a.example/d>.",
         ["https://en.wikipedia.org/wiki/A_(b)", "https://a.example/c", "https://a.example/d"]),
        ("'http://a.example/?q=1', \"http://b.example\"!", ["http://a.example/?q=1", "http://b.example"]),
        ("http://[2001:db8::1]:8080/x and HTTPS://A.EXAMPLE", ["http://[2001:db8::1]:8080/x", "HTTPS://A.EXAMPLE"]),
        ("gemini://a.example gopher://b.example/1 finger://c.example/zoe mailto:zoe@d.example?subject=Hi!",
         ["gemini://a.example", "gopher://b.example/1", "finger://c.example/zoe", "mailto:zoe@d.example?subject=Hi"]),
        ("https://bücher.example/straße?a=1&b=2", ["https://bücher.example/straße?a=1&amp;b=2"]),
        ("javascript:alert(1) data:text/html,x ftp://a.example vbscript:x xhttps://a.example file:///etc/passwd", []),
        ("http:// http://. http://) https://' mailto:x mailto:@a.example http://\u202ea.example http://?x", []),
        ("https://a.example/\u202egpj.exe", ["https://a.example/"]),
        ("https://a.example/\"onmouseover=\"x", ["https://a.example/"]),
        ("https://a.example/<script>", ["https://a.example/"]),
        ("https://a.example/" + ")" * 3000, ["https://a.example/"]),
    ],
)  # fmt: skip
def test_urls_become_links_and_nothing_else_does(text: str, links: list[str]) -> None:
    html = str(linked(text))
    assert re.findall(r'<a rel="nofollow ugc noopener" href="([^"]*)">\1</a>', html) == links
    assert shown(html) == text
    assert html.count("<") == 2 * len(links)
    check_valid(f"<!DOCTYPE html><html lang=en><head><title>x</title></head><body><p>{html}</body></html>")


def test_of_very_many_urls_the_first_become_links() -> None:
    text = "http://a.example/?q=<b> " * 2 * MAX_LINKS
    html = str(linked(text))
    assert html.count("<a ") == MAX_LINKS
    assert shown(html) == text


@given(st.text(st.characters() | st.sampled_from("\0\r\n\x1b<>&\"' :/?#[]()@.\u202e\ud800\uffff")))
def test_any_text_is_valid_and_stays_as_it_is(text: str) -> None:
    html = linked(masked(text))
    check_valid(f"<!DOCTYPE html><html lang=en><head><title>x</title></head><body><pre><bdi>{html}</bdi></pre>")
    assert shown(html) == masked(text)
    assert len(masked(text)) == len(text.replace("\r\n", "\n"))
    record = record_of(Person(text, name=text, plan=text), 999)
    article = render("record.html", record=record, name="x", here="/", level=1)
    check_valid(f"<!DOCTYPE html><html lang=en><head><title>x</title></head><body>{article}")


HOSTILE: dict[str, Callable[[int], str]] = {
    "URLs": lambda length: "http://a.example/x " * (length // 19),
    "beginnings of URLs": lambda length: "http://" * (length // 7),
    "one URL": lambda length: "https://a.example/" + "a" * length,
    "brackets": lambda length: "https://a.example/" + "(" * (length // 2) + ")" * (length // 2),
    "mail": lambda length: "mailto:" * (length // 7),
    "names of mail": lambda length: "mailto:" + "a." * (length // 2),
    "hosts of mail": lambda length: "mailto:a@" + "a." * (length // 2),
    "fields of mail": lambda length: "mailto:a@b?" + "?a" * (length // 2),
    "markup": lambda length: "<script>" * (length // 8),
    "letters": lambda length: "a" * length,
    "marks": lambda length: "\u202e\u0301" * (length // 2),
}


@pytest.mark.parametrize("text_of", HOSTILE.values(), ids=HOSTILE)
def test_the_time_for_a_text_is_in_proportion_to_its_length(text_of: Callable[[int], str]) -> None:
    def seconds(length: int) -> float:
        text = text_of(length)
        times = []
        for _ in range(3):
            start = time.process_time()
            linked(masked(text))
            times.append(time.process_time() - start)
        return min(times)

    seconds(1000)
    # In square proportion it would be 1,024 times as long.
    assert seconds(1 << 19) < 200 * max(seconds(1 << 14), 0.0002)


def test_what_no_document_may_hold_is_masked() -> None:
    text = "a\x00\x1b[31m\x7f\x85\ud800\udfff\ufdd0\uffff\U0001fffe\U0010ffffb\r\nc\rd\te"
    assert masked(text) == "a??[31m????????b\nc\nd\te"
    assert masked_line(f" {text}\u2028f ") == "a??[31m? ??????b  c d e f"
    assert masked_start("a\r\n" * 9, 5) == "a\na\na"
    assert masked("שלום \u202e 🎉 \ue000") == "שלום \u202e 🎉 \ue000"
    check_valid(f"<!DOCTYPE html><html lang=en><head><title>x</title></head><body><pre>{linked(masked(text))}</pre>")


@pytest.mark.parametrize("colors", [True, False])
def test_colors_are_for_terminals(start_http: StartHttp, colors: bool) -> None:
    plan = r'"a \e[1;31mred\e[0m \e]0;x"'
    people = f"{{zoe: {{plan: {plan}, project: {plan}}}, bob: {plan}}}"
    config = f"backend: {{type: static, users: {people}}}\nreply: {{colors: {str(colors).lower()}}}\n"
    daemon = start_http(f"{config}policy: [{{from: any, list: true}}]\n", URL)
    expected = "a red ?]0;x" if colors else "a ?[1;31mred?[0m ?]0;x"
    for target in ("/~zoe", "/~bob", "/~zoe/json", "/~bob/json", "/~zoe/feed", "/feed"):
        assert expected in daemon.get(target).text
    assert ("\x1b[1;31mred" in daemon.get("/~bob/text").text) == colors
    assert daemon.get("/~bob/text").body == ask(daemon.address, b"bob\r\n")


def test_texts_that_want_to_be_markup_are_texts(start_http: StartHttp) -> None:
    evil = '</pre></bdi><script>x</script><img src=x onerror=x> \\"onmouseover=x {{ 7*7 }} {% raw %} \\e[31m \\uFFFF'
    atoms = ("name", "office", "home_phone", "job", "pronouns", "timezone", "shell", "project", "plan", "pgpkey")
    record = ", ".join(f'{atom}: "{evil}"' for atom in atoms)
    config = f'backend: {{type: static, users: {{a: {{{record}}}, b: "{evil}", "{evil[:70]}": {{name: c}}}}}}\n'
    config = config.replace('"</pre></bdi><script>x</script><img src=x onerror=x> \\": {', '"</pre> \\"x": {')
    daemon = start_http(f"{config}policy: [{{from: any, list: true, show: everything}}]\n")
    for target in ("/", "/~a", "/~b", "/~%3C%2Fpre%3E%20%22x"):
        html = daemon.get(target).text
        check_valid(html)
        assert "<script" not in html
        assert "<img" not in html
    assert daemon.get("/~a").text.count("{{ 7*7 }} {% raw %} ?[31m ?") == len(atoms)


# Answers that are longer than they may be.


def size_and_html(daemon: HttpDaemon, target: str) -> tuple[int, str]:
    response = daemon.get(target)
    assert response.status == 200
    check_valid(response.text)
    return len(response.body), response.text


def test_many_people_are_left_out_whole(start_http: StartHttp) -> None:
    people = ", ".join(
        f'p{number}: {{name: "Quill <{number}>", plan: "{"& http://a.example/ " * 20}"}}' for number in range(99)
    )
    config = f"backend: {{type: static, users: {{{people}}}}}\n"
    policy = "policy: [{from: any, list: true, match: name}]\nlimits: {reply_bytes: 16KiB}\n"
    daemon = start_http(config + policy)
    for target, word, least in (("/", "The list is longer", 20), ("/~quill", "This is longer", 4)):
        size, html = size_and_html(daemon, target)
        assert size < 16 * 1024 + 2500
        assert word in html
        assert least <= len(re.findall(r"Quill &lt;\d+&gt;</bdi>", html)) < 99
    assert daemon.get("/~quill/json").json["truncated"] is True


def test_one_huge_person_is_cut_in_the_text(start_http: StartHttp) -> None:
    plan = "http://a.example/?a&b " * 3000
    config = (
        f'backend: {{type: static, users: {{zoe: {{name: Zoe, plan: "{plan}", project: "{plan}"}}, bob: "{plan}"}}}}\n'
    )
    daemon = start_http(config + "limits: {reply_bytes: 64KiB}\n")
    for target in ("/~zoe", "/~bob"):
        size, html = size_and_html(daemon, target)
        assert 32 * 1024 < size < 64 * 1024 + 2500
        assert "This is longer than an answer may be" in html
    found = daemon.get("/~zoe/json").json
    assert found["truncated"] is True
    assert 16 * 1024 < len(found["people"][0]["plan"]) < 64 * 1024
    assert b"[answer cut]" in ask(daemon.address, b"bob\r\n")


def test_long_names_are_cut_too(start_http: StartHttp) -> None:
    name = "Zoe <&> " * 4000
    config = f'backend: {{type: static, users: {{zoe: {{name: "{name}", office: "{name}", job: "{name}"}}}}}}\n'
    daemon = start_http(
        f"{config}policy: [{{from: any, list: true, show: everything}}]\nlimits: {{reply_bytes: 8KiB}}\n"
    )
    for target in ("/", "/~zoe"):
        size, html = size_and_html(daemon, target)
        assert size < 8 * 1024 + 2500
        assert "longer than an answer may be" in html


def test_what_fits_is_not_cut() -> None:
    def take(person: Person, max_characters: int) -> str:
        return f"<{(person.text or '')[:max_characters]}>"

    people = [Person("", "a" * length) for length in (48, 28, 18, 1)]
    assert fitting(people[:3], take, len, 100) == (
        ["<" + "a" * 48 + ">", "<" + "a" * 28 + ">", "<" + "a" * 18 + ">"],
        False,
    )
    assert fitting(people, take, len, 100)[1] is True
    assert fitting(people[:1], take, len, 50) == (["<" + "a" * 48 + ">"], False)
    assert fitting(people[:1], take, len, 49) == (["<" + "a" * 36 + ">"], True)
    assert fitting(people[:1], take, len, 1) == (["<a>"], True)


# Browsers of terminals.


@pytest.mark.parametrize(
    ("program", "options"), [("lynx", ["-dump", "-nolist"]), ("w3m", ["-dump", "-T", "text/html"])]
)
def test_terminals_show_it_all(daemon: HttpDaemon, program: str, options: list[str]) -> None:
    need(program)

    def dumped(target: str) -> str:
        url = f"http://127.0.0.1:{daemon.http[1]}{target}"
        done = subprocess.run([program, *options, url], capture_output=True, check=False, encoding="utf-8")
        return done.stdout

    person = dumped("/~zoe")
    lines = [line.strip() for line in person.splitlines()]
    for line in ("Zoe Quill", "Login", "zoe", "Office phone", "+1 555 0100", "Plan", "Two"):
        assert line in lines
    assert "https://plan.example/?a=1&b=(2)." in person
    home = dumped("/")
    assert re.search(r"Zoe Quill\s+zoe\s+B 12", home)
    assert "No such user" in dumped("/~nobody")
