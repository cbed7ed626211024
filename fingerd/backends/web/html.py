"""Converts pages to text: decodes their charset, and removes the tags of HTML.

A page is read once from its beginning to its end, so the time is linear in its size, whatever it contains. An element
that is not closed ends with the page, as in a browser.
"""

import codecs
import html
import re

import webencodings
from webencodings.labels import LABELS

from fingerd.text import read_text, read_windows_1252

# Labels that servers send and the WHATWG Encoding Standard does not have. US-ASCII is a subset of UTF-8.
_MORE_LABELS = {"ascii": "utf-8", "us-ascii": "utf-8", "latin-9": "iso-8859-15", "mac-roman": "macintosh"}
# A superset for gbk, as in the standard; UTF-8 for what is no charset of pages, or is disabled in the standard.
_REPLACED = {"gbk": "gb18030"} | dict.fromkeys(("hz-gb-2312", "iso-2022-kr", "replacement", "x-user-defined"), "utf-8")


def _key(label: str) -> str:
    """Return the label without case and punctuation (Unicode Technical Standard 22, 1.4)."""
    return re.sub("[^a-z0-9]", "", label.lower())


# All codecs are loaded now: a chroot has no modules. No label of a page is passed to Python, which caches each one
# forever, and has codecs that are slow or not charsets.
_ENCODINGS = {
    _key(label): webencodings.lookup(_REPLACED.get(name, name)) or webencodings.UTF8
    for label, name in (LABELS | _MORE_LABELS).items()
}

_WINDOWS_1252 = webencodings.lookup("windows-1252")

HTML_TYPES = ("text/html", "application/xhtml+xml")
META_BYTES = 1024  # of a page, in which it must declare its charset (HTML 4.2.5.4)

_META = re.compile(rb"<meta\s[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)

# Elements that are left out with their content.
_SKIPPED = ("iframe", "noembed", "noframes", "script", "style", "template", "textarea", "title")
# Elements that are separated by empty lines, and those that begin a line.
_PARAGRAPHS = re.compile("blockquote|dl|fieldset|figure|form|h[1-6r]|[ou]l|p|pre|table")
_BLOCKS = re.compile(
    "address|article|aside|body|br|caption|center|d[dt]|details|dialog|dir|div|figcaption|footer|header|hgroup|legend|li"
    "|main|menu|nav|optgroup|option|search|section|select|summary|tbody|tfoot|thead|tr"
)

_TAG_OPEN = re.compile("<(?=[a-zA-Z/!?])")  # any other < is text
_NAME = re.compile(r"/?([a-zA-Z][^\s/>]*)")
_VALUE_OR_END = re.compile(r"""=\s*+(["'])|>""")  # the beginning of a quoted value, which may contain >, or the end
_END_TAGS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _SKIPPED}
_LONG_NUMBERS = re.compile(r"&#[xX]?[0-9a-fA-F]{20,};?")  # html.unescape fails for some of these


def read_page(body: bytes, content_type: str) -> str:
    """Return a page's text, decoded by the charset of the Content-Type; without a known one, as ``read_text`` does."""
    _, _, charset = content_type.lower().partition("charset=")
    return _decode(body, _encoding(charset.partition(";")[0]))


def read_html(body: bytes, content_type: str) -> str:
    """Return the readable text of an HTML page, decoded by the charset of the Content-Type, or else of the page."""
    declared = _META.search(body[:META_BYTES])
    if not declared or "charset=" in content_type.lower():
        return to_text(read_page(body, content_type))
    encoding = _encoding(declared[1].decode("ascii", "replace"))
    if encoding and encoding.name.startswith("utf-16"):  # not true: the declaration was read as ASCII (HTML 13.2.3.2)
        encoding = webencodings.UTF8
    return to_text(_decode(body, encoding))


def is_html(content_type: str) -> bool:
    """Whether the Content-Type is one of HTML."""
    return content_type.lower().partition(";")[0].strip() in HTML_TYPES


def is_charset(label: str) -> bool:
    """Whether this is the label of a charset of pages."""
    return _key(label) in _ENCODINGS


def _encoding(label: str) -> webencodings.Encoding | None:
    """The encoding of a label; None if it is unknown."""
    return _ENCODINGS.get(_key(label))


def _decode(body: bytes, encoding: webencodings.Encoding | None) -> str:
    """Decode by the byte order mark, else by the encoding; without either as ``read_text`` does."""
    text, used = webencodings.decode(body, encoding or webencodings.UTF8, "replace")
    if used is _WINDOWS_1252:
        return read_windows_1252(body)
    return read_text(body) if encoding is None and used is webencodings.UTF8 and not _has_bom(body) else text


def _has_bom(body: bytes) -> bool:
    return body.startswith(codecs.BOM_UTF8)


def to_text(page: str) -> str:
    """Return the readable text of HTML: a line for each block, the text of links, no scripts and no styles."""
    text = _Text()
    position = 0
    while tag_open := _TAG_OPEN.search(page, position):
        text.add(page[position : tag_open.start()])
        position = tag_open.end()
        if name := _NAME.match(page, position):
            tag, is_end = name[1].lower(), name[0][0] == "/"
            position = _end_of_tag(page, name.end())
            text.handle_tag(tag, is_end)
            if tag in _END_TAGS and not is_end:
                end = _END_TAGS[tag].search(page, position)
                position = end.start() if end else len(page)
        elif page.startswith("!--", position):
            position = _after(page, "-->", position + 1)  # <!--> is a complete comment
        else:
            position = _after(page, ">", position)
    text.add(page[position:])
    return text.get()


def _end_of_tag(page: str, position: int) -> int:
    """Return the position after the > that ends the tag, ignoring those in quoted values."""
    while found := _VALUE_OR_END.search(page, position):
        if not found[1]:
            return found.end()
        position = max(page.find(found[1], found.end()) + 1, found.end())
    return len(page)


def _after(page: str, end: str, position: int) -> int:
    found = page.find(end, position)
    return found + len(end) if found >= 0 else len(page)


class _Text:
    """Collects the text of a page in lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []  # the parts of the last one
        self._preformatted = 0  # depth of open <pre> elements

    def add(self, raw: str) -> None:
        """Add the text between two tags."""
        text = html.unescape(_LONG_NUMBERS.sub("\ufffd", raw)) if "&" in raw else raw
        if not self._preformatted:
            self._line.append(text)
            return
        first, *others = text.replace("\r\n", "\n").split("\n")
        self._line.append(first)
        for other in others:
            self._end_line(keep_empty=True)
            self._line.append(other)

    def handle_tag(self, tag: str, is_end: bool) -> None:
        """End the line, or add a separator or a bullet, as the tag requires."""
        if _PARAGRAPHS.fullmatch(tag):
            self._end_line()
            if self._lines and self._lines[-1]:
                self._lines.append("")
        elif _BLOCKS.fullmatch(tag):
            self._end_line(keep_empty=tag == "br")
        elif tag in ("td", "th"):
            self._line.append(" ")
        if tag == "pre":
            self._preformatted = max(self._preformatted + (-1 if is_end else 1), 0)
        elif tag == "li" and not is_end:
            self._line.append("* ")

    def _end_line(self, keep_empty: bool = False) -> None:
        """Begin a new line; drop an empty one unless ``keep_empty``."""
        text = "".join(self._line)
        self._line.clear()
        line = text.rstrip() if self._preformatted else " ".join(text.split())
        if line or (keep_empty and self._lines):
            self._lines.append(line)

    def get(self) -> str:
        """Return the whole text, which is empty or ends with a line end."""
        self._end_line()
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        return "\n".join((*self._lines, "")) if self._lines else ""
