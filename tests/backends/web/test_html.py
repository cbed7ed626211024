"""HTML as readable text, however it is written, and pages in the charsets that they name."""

import html.parser
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.backends.web import html as module
from fingerd.backends.web.html import is_html, read_html, read_page, readable

PAGES = {
    "blocks are lines": (
        "<h1>Alice</h1><p>One\n  paragraph.</p><p>Another.<div>A <b>line</b></div>next",
        "Alice\n\nOne paragraph.\n\nAnother.\nA line\nnext\n",
    ),
    "lists": ("<ul><li>one</li><li> two<li>three</ul>after", "* one\n* two\n* three\n\nafter\n"),
    "tables": ("<table><tr><th>a</th><td>b</td></tr><tr><td>c<td>d</table>", "a b\nc d\n"),
    "breaks": ("<br>one<br>two<br/><br>three<br><br>", "one\ntwo\n\nthree\n"),
    "links": ('see <a href="https://example.org/a>b">my page</a>.', "see my page.\n"),
    "preformatted": ("<pre>a  b\n\n   c\r\n</pre>x  y", "a  b\n\n   c\n\nx y\n"),
    "scripts": ("a<script>if (x</b>y) '<p>';</SCRIPT >b<style>p {}</style>c<title>t</title>", "abc\n"),
    "a script that is not closed": ("a<script>b</scripts>c", "a\n"),
    "a title that is not closed": ("a<title>b", "a\n"),
    "entities": (
        "&lt;b&gt; caf&eacute; &#8364;&#x41;&nbsp;&amp;amp; &nonsense; & &#",
        "<b> café €A &amp; &nonsense; & &#\n",
    ),
    "a number without end": (f"a&#{'9' * 5000};b&#x{'f' * 5000}", "a\ufffdb\ufffd\n"),
    "comments": ("a<!-- <p> -- > -->b<!-->c<!doctype html>d<?php x ?>e</ f>g", "abcdeg\n"),
    "a comment that is not closed": ("a<!-- b", "a\n"),
    "a tag that is not closed": ("a<p title='b", "a\n"),
    "a value with an end of a tag in it": ("a<b title='x>y' lang = \"> '\" z=>c", "ac\n"),
    "quotes that are no value's": ("a<b title=it's \">c<b x='>d", "acd\n"),
    "signs that are no tags": ("1 < 2 <3 <> <- a<", "1 < 2 <3 <> <- a<\n"),
    "nothing": ("<html><head><title>x</title></head><body>\n</body></html>", ""),
    "ends without beginnings": ("</p></pre></pre>a  b</li>c", "a b\nc\n"),
}


@pytest.mark.parametrize(("page", "text"), PAGES.values(), ids=PAGES)
def test_a_page_is_readable(page: str, text: str) -> None:
    assert readable(page) == text


@given(st.text(alphabet="<>/!-?=\"'&;#x \nabp", max_size=200))
def test_any_page_becomes_lines_of_text(page: str) -> None:
    text = readable(page)
    assert text == "" or text.endswith("\n")
    assert not text.startswith("\n\n")
    assert "\n\n\n\n" not in text or "<br" in page


class Parsed(html.parser.HTMLParser):
    """What Python's own parser takes for text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        self.text += data


PARTS = [
    "<b>",
    "</b>",
    "<i class=x>",
    "<p id='a b'>",
    '<a href="x>y">',
    "</a>",
    "<br/>",
    "<!-- c -->",
    "<!doctype html>",
]


@given(st.lists(st.sampled_from([*PARTS, "word ", "&amp;", "&#65;", "\n", "1 < 2 "])))
def test_a_page_that_is_well_written_is_read_as_python_s_parser_reads_it(parts: list[str]) -> None:
    page = "".join(parts)
    assert "".join(readable(page).split()) == "".join(Parsed(page).text.split())


HOSTILE = [
    *(
        "<",
        "<a",
        '<a ="',
        "<a ='",
        "<a =\"x'",
        "<!--",
        "<!",
        "</",
        "<?",
        "</a",
        "<div>",
        "<pre>\n",
        "<script>",
        "<b><i>",
    ),
    *("<script></scrip", "<title></titl", "<a = ", "<a =       x", "&", "&#9", "&amp", "&lt;", "<p>x", "<li>", "<br>"),
    *("<td>", "</pre>", "\n", " ", "<ul><li>", "<a b='>"),
]


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_page_of_a_mebibyte_is_read_in_one_pass(part: str) -> None:
    # No measurement: what takes the square of its length would take hours.
    begun = time.monotonic()
    readable(part * ((1 << 20) // len(part)))
    assert time.monotonic() - begun < 60


CHARSETS = {
    "the header's": ("bäh".encode("latin-1"), "text/html; charset=latin-1", "bäh\n"),
    "the header's, and not the page's": (b'<meta charset="koi8-r">b\xe4h', "text/html; charset=latin-1", "bäh\n"),
    "the page's": (b'<meta charset="iso-8859-1"><p>b\xe4h', "text/html", "bäh\n"),
    "the page's in the old way": (
        b"<META http-equiv=Content-Type content='text/html; charset=ISO-8859-1'>b\xe4h",
        "text/html",
        "bäh\n",
    ),
    "one that is not known": ('<meta charset="klingon">bäh'.encode(), "text/html", "bäh\n"),
    "none": ("bäh".encode(), "text/html", "bäh\n"),
}


@pytest.mark.parametrize(("body", "content_type", "text"), CHARSETS.values(), ids=CHARSETS)
def test_a_page_is_read_in_its_charset(body: bytes, content_type: str, text: str) -> None:
    assert read_html(body, content_type) == text


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "unicode_escape", "rot13", "zip", "undefined"])
def test_what_is_no_charset_of_pages_is_read_as_utf_8(charset: str) -> None:
    assert read_page("Zoë-\\x41+AGE-".encode(), f"text/plain; charset={charset}") == "Zoë-\\x41+AGE-"


def test_no_stranger_s_charset_is_remembered() -> None:
    """Python keeps a name that was looked up once for ever."""
    tracemalloc.start()
    try:
        for number in range(200):
            read_page(b"x", f"text/plain; charset={number:06d}{'x' * 60_000}")
            read_html(b'<meta charset="%06d">x' % number, "text/html")
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


def test_every_charset_is_there_with_all_of_its_names() -> None:
    for name, codec in module._CODECS.items():
        if not codec.startswith("utf"):
            assert read_page("Hi".encode(codec), f"text/plain; charset={name.upper()}") == "Hi"
    assert read_page("\ufeffHi".encode(), "text/plain") == "Hi"
    assert read_page("\ufeffHi".encode("utf-16-le"), "text/plain; charset=utf-16le") == "Hi"


def test_a_text_is_left_as_it_is() -> None:
    assert read_page(b"<p>1 &lt; 2", "text/plain") == "<p>1 &lt; 2"
    assert [is_html(kind) for kind in ("text/html", "Text/HTML ; charset=x", "application/xhtml+xml")] == [True] * 3
    assert [is_html(kind) for kind in ("", "text/plain", "text/html5", "application/json")] == [False] * 4
