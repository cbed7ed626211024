"""HTML to text, valid or hostile; and the charsets of pages."""

import html.parser
import subprocess
import sys
import time
import tracemalloc

import pytest
import webencodings.labels
from hypothesis import given
from hypothesis import strategies as st

from fingerd.backends.web import html as module
from fingerd.backends.web.html import is_html, read_html, read_page, to_text
from tests.helpers.daemons import ROOT

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
    "a very long number": (f"a&#{'9' * 5000};b&#x{'f' * 5000}", "a\ufffdb\ufffd\n"),
    "comments": ("a<!-- <p> -- > -->b<!-->c<!doctype html>d<?php x ?>e</ f>g", "abcdeg\n"),
    "a comment that is not closed": ("a<!-- b", "a\n"),
    "a tag that is not closed": ("a<p title='b", "a\n"),
    "a value that contains >": ("a<b title='x>y' lang = \"> '\" z=>c", "ac\n"),
    "quotes outside of values": ("a<b title=it's \">c<b x='>d", "acd\n"),
    "< that begins no tag": ("1 < 2 <3 <> <- a<", "1 < 2 <3 <> <- a<\n"),
    "nothing": ("<html><head><title>x</title></head><body>\n</body></html>", ""),
    "end tags without start tags": ("</p></pre></pre>a  b</li>c", "a b\nc\n"),
}


@pytest.mark.parametrize(("page", "text"), PAGES.values(), ids=PAGES)
def test_html_becomes_readable_text(page: str, text: str) -> None:
    assert to_text(page) == text


@given(st.text(alphabet="<>/!-?=\"'&;#x \nabp", max_size=200))
def test_any_html_becomes_lines_of_text(page: str) -> None:
    text = to_text(page)
    assert text == "" or text.endswith("\n")
    assert not text.startswith("\n\n")
    assert "\n\n\n\n" not in text or "<br" in page


class Parsed(html.parser.HTMLParser):
    """The text according to Python's own parser."""

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
def test_valid_html_has_the_text_that_python_s_parser_finds(parts: list[str]) -> None:
    page = "".join(parts)
    assert "".join(to_text(page).split()) == "".join(Parsed(page).text.split())


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
    # Not a measurement: quadratic time would be hours.
    begun = time.monotonic()
    to_text(part * ((1 << 20) // len(part)))
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
    "the page's, with quotes that Latin-1 lacks": (
        b'<meta charset="iso-8859-1"><p>\x93q\x94 \x81',
        "text/html",
        "“q” ?\n",
    ),
    "an unknown one, and not UTF-8": (b'<meta charset="klingon">it\x92s \x81', "text/html", "it’s ?\n"),
    "none, and not UTF-8": (b"it\x92s", "text/html", "it’s\n"),
    "a byte order mark, and not the header's": ("\ufeffbäh".encode(), "text/html; charset=iso-8859-1", "bäh\n"),
    "a byte order mark, and not the page's": (
        '\ufeff<meta charset="iso-8859-1">bäh'.encode(),
        "text/html; charset=koi8-r",
        "bäh\n",
    ),
    "an unknown one": ('<meta charset="klingon">bäh'.encode(), "text/html", "bäh\n"),
    "none": ("bäh".encode(), "text/html", "bäh\n"),
}


@pytest.mark.parametrize(("body", "content_type", "text"), CHARSETS.values(), ids=CHARSETS)
def test_a_page_is_read_in_its_charset(body: bytes, content_type: str, text: str) -> None:
    assert read_html(body, content_type) == text


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "unicode_escape", "rot13", "zip", "undefined"])
def test_a_codec_that_is_no_charset_of_pages_is_read_as_utf_8(charset: str) -> None:
    assert read_page("Zoë-\\x41+AGE-".encode(), f"text/plain; charset={charset}") == "Zoë-\\x41+AGE-"


def test_unknown_labels_are_not_cached() -> None:
    """Python caches each label that codecs.lookup() is called with, forever."""
    tracemalloc.start()
    try:
        for number in range(200):
            read_page(b"x", f"text/plain; charset={number:06d}{'x' * 60_000}")
            read_html(b'<meta charset="%06d">x' % number, "text/html")
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


LABELS = {
    "utf8": ("utf-8", "Zoë €"),
    "us-ascii": ("utf-8", "Zoë €"),
    "ISO-8859-1": ("cp1252", "Zoë €"),  # as in browsers
    "latin-1": ("latin-1", "Zoë"),
    "latin2": ("iso8859-2", "Łódź"),
    "latin9": ("iso8859-15", "Zoë €"),
    "latin-9": ("iso8859-15", "Zoë €"),
    "ISO8859-16": ("iso8859-16", "Ștefan"),
    "windows-1251": ("cp1251", "Зоя"),
    "koi8r": ("koi8-r", "Зоя"),
    "KOI8_U": ("koi8-u", "Зоя ї"),
    "ibm866": ("cp866", "Зоя"),
    "mac_roman": ("mac-roman", "Zoë"),
    "windows-874": ("cp874", "โซอี้"),
    "tis-620": ("tis-620", "โซอี้"),
    "x-sjis": ("shift_jis", "ゾーイ"),
    "EUC_JP": ("euc_jp", "ゾーイ"),
    "iso2022_jp": ("iso2022_jp", "ゾーイ"),
    "gb2312": ("gb18030", "佐伊 € 𠀀"),
    "big5": ("big5", "佐伊"),
    "ks_c_5601-1987": ("euc_kr", "조이"),
    "utf16": ("utf-16-le", "Zoë €"),
    "utf-16-be": ("utf-16-be", "Zoë €"),
    "utf-16-le": ("utf-16-le", "Zoë €"),
}


@pytest.mark.parametrize(("label", "codec", "text"), [(label, *case) for label, case in LABELS.items()], ids=LABELS)
def test_a_page_is_decoded_by_its_label(label: str, codec: str, text: str) -> None:
    assert read_page(text.encode(codec), f'text/plain; Charset="{label}" ; x=y') == text


@pytest.mark.parametrize("label", ["x-user-defined", "iso-2022-kr", "hz-gb-2312", "replacement", "", "-"])
def test_a_charset_that_the_standard_disables_is_read_as_utf_8(label: str) -> None:
    assert read_page("Zoë ~{<:Ky~}".encode(), f"text/plain; charset={label}") == "Zoë ~{<:Ky~}"


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("label", ["utf-16", "utf-8", "latin-1", "klingon"])
def test_a_byte_order_mark_overrides_the_label(codec: str, label: str) -> None:
    assert read_page("\ufeffZoë".encode(codec), f"text/plain; charset={label}") == "Zoë"


NOT_UTF_8 = {
    "no charset": (b"it\x92s \x81", "text/plain", "it’s ?"),
    "an unknown charset": (b"it\x92s", "text/plain; charset=klingon", "it’s"),
    "ISO 8859-1": (b"it\x92s \x81", "text/plain; charset=iso-8859-1", "it’s ?"),
    "windows-1252": (b"it\x92s \x81", "text/plain; charset=windows-1252", "it’s ?"),
    "declared as UTF-8": (b"it\x92s", "text/plain; charset=utf-8", "it\ufffds"),
    "with a byte order mark": (b"\xef\xbb\xbfit\x92s", "text/plain", "it\ufffds"),
}


@pytest.mark.parametrize(("body", "content_type", "text"), NOT_UTF_8.values(), ids=NOT_UTF_8)
def test_a_page_that_is_not_utf_8_is_windows_1252_unless_it_says_otherwise(
    body: bytes, content_type: str, text: str
) -> None:
    assert read_page(body, content_type) == text


def test_a_page_that_can_be_read_as_ascii_is_not_utf_16_whatever_it_declares() -> None:
    for label in ("utf-16", "utf-16be"):
        assert read_html(f'<meta charset="{label}">bäh'.encode(), "text/html") == "bäh\n"


def test_no_two_labels_of_different_encodings_are_the_same_without_punctuation() -> None:
    names: dict[str, set[str]] = {}
    for label, name in webencodings.labels.LABELS.items():
        names.setdefault(module._key(label), set()).add(name)
    assert not [found for found in names.values() if len(found) > 1]


def test_all_codecs_are_loaded_at_import() -> None:
    script = """if True:
        import sys
        from webencodings.labels import LABELS
        from fingerd.backends.web.html import read_page
        before = set(sys.modules)
        for label in (*LABELS, "latin-9", "klingon"):
            read_page(bytes(range(256)), f"text/plain; charset={label}")
        print(*set(sys.modules) - before)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "\n"


def test_plain_text_is_not_changed() -> None:
    assert read_page(b"<p>1 &lt; 2", "text/plain") == "<p>1 &lt; 2"
    assert [is_html(kind) for kind in ("text/html", "Text/HTML ; charset=x", "application/xhtml+xml")] == [True] * 3
    assert [is_html(kind) for kind in ("", "text/plain", "text/html5", "application/json")] == [False] * 4
