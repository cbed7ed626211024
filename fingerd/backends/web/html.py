"""Pages as texts: the charset that they are in, and HTML without its marks.

A page is read in one go, from its beginning to its end, and nothing of it is
looked at twice; so the time that a page takes grows as its size, however it is
written. What is not closed ends with the page, as in a browser.
"""

import codecs
import html
import re

# The charsets that pages still have, by Python's names, and their other names; no stranger's name is looked up, since
# Python remembers all of those for ever, and knows codecs that are no charsets, or slow. What is in no table is UTF-8.
_CHARSETS = {
    "utf-8": "utf8 us-ascii ascii",
    "utf-16": "utf16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "iso8859-1": "iso-8859-1 latin1 latin-1 l1",
    "iso8859-2": "iso-8859-2 latin2",
    "iso8859-3": "iso-8859-3",
    "iso8859-4": "iso-8859-4",
    "iso8859-5": "iso-8859-5",
    "iso8859-6": "iso-8859-6",
    "iso8859-7": "iso-8859-7",
    "iso8859-8": "iso-8859-8",
    "iso8859-9": "iso-8859-9 latin5",
    "iso8859-10": "iso-8859-10",
    "iso8859-13": "iso-8859-13",
    "iso8859-14": "iso-8859-14",
    "iso8859-15": "iso-8859-15 latin9 latin-9",
    "iso8859-16": "iso-8859-16",
    **{f"cp{number}": f"windows-{number}" for number in range(1250, 1259)},
    "cp866": "ibm866",
    "mac_roman": "macintosh x-mac-roman",
    "koi8-r": "koi8r",
    "koi8-u": "koi8u",
    "tis-620": "windows-874",
    "shift_jis": "shift-jis sjis x-sjis",
    "euc_jp": "euc-jp x-euc-jp",
    "iso2022_jp": "iso-2022-jp",
    "gb18030": "gbk gb2312 x-gbk",
    "big5": "big5-hkscs",
    "euc_kr": "euc-kr ks_c_5601-1987",
}
_CODECS = {name: codec for codec, others in _CHARSETS.items() for name in (codec, *others.split())}
for _codec in _CHARSETS:
    codecs.lookup(_codec)  # now, since a chroot has no modules to load them from

HTML_TYPES = ("text/html", "application/xhtml+xml")
META_BYTES = 1024  # where a page must have named its charset (HTML 4.2.5.4)

_META = re.compile(rb"<meta\s[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)

_SKIPPED = ("iframe", "noembed", "noframes", "script", "style", "template", "textarea", "title")  # with what is inside
# The elements that begin a line, and those that stand between empty lines, too.
_PARTS = re.compile("blockquote|dl|fieldset|figure|form|h[1-6r]|[ou]l|p|pre|table")
_LINES = re.compile(
    "address|article|aside|body|br|caption|center|d[dt]|details|dialog|dir|div|figcaption|footer|header|hgroup|legend|li"
    "|main|menu|nav|optgroup|option|search|section|select|summary|tbody|tfoot|thead|tr"
)

_MARK = re.compile("<(?=[a-zA-Z/!?])")  # any other < is text
_NAME = re.compile(r"/?([a-zA-Z][^\s/>]*)")
_VALUE = re.compile(r"""=\s*+(["'])|>""")  # where a value begins, which may hold a >, or the tag's end
_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _SKIPPED}
_LONG_NUMBERS = re.compile(r"&#[xX]?[0-9a-fA-F]{20,};?")  # html.unescape cannot read all of these


def read_page(body: bytes, content_type: str) -> str:
    """The text of a page in the charset that its headers name, else UTF-8; what does not fit is replaced."""
    _, _, charset = content_type.lower().partition("charset=")
    return _decoded(body, charset.partition(";")[0].strip(" \"'"))


def read_html(body: bytes, content_type: str) -> str:
    """The readable text of a page in HTML, whose charset its headers name, or else the page itself."""
    named = _META.search(body[:META_BYTES])
    if named and "charset=" not in content_type.lower():
        return readable(_decoded(body, named[1].decode("ascii", "replace")))
    return readable(read_page(body, content_type))


def is_html(content_type: str) -> bool:
    """Whether this Content-Type is one of HTML."""
    return content_type.lower().partition(";")[0].strip() in HTML_TYPES


def _decoded(body: bytes, charset: str) -> str:
    return body.decode(_CODECS.get(charset.lower(), "utf-8"), "replace").removeprefix("\ufeff")


def readable(page: str) -> str:
    """What the HTML page says: a line for each block, the text of links, no scripts and no styles."""
    text = _Text()
    here = 0
    while mark := _MARK.search(page, here):
        text.add(page[here : mark.start()])
        here = mark.end()
        if name := _NAME.match(page, here):
            tag, is_end = name[1].lower(), name[0][0] == "/"
            here = _end_of_tag(page, name.end())
            text.mark(tag, is_end)
            if tag in _ENDS and not is_end:
                end = _ENDS[tag].search(page, here)
                here = end.start() if end else len(page)
        elif page.startswith("!--", here):
            here = _after(page, "-->", here + 1)  # <!--> is a whole comment
        else:
            here = _after(page, ">", here)
    text.add(page[here:])
    return text.told()


def _end_of_tag(page: str, here: int) -> int:
    """Behind the > that ends the tag, not one in a quoted value."""
    while found := _VALUE.search(page, here):
        if not found[1]:
            return found.end()
        here = max(page.find(found[1], found.end()) + 1, found.end())
    return len(page)


def _after(page: str, end: str, here: int) -> int:
    found = page.find(end, here)
    return found + len(end) if found >= 0 else len(page)


class _Text:
    """Lines that grow."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []  # the parts of the last one
        self._preformatted = 0  # how many <pre> are open

    def add(self, raw: str) -> None:
        """Text between two tags."""
        text = html.unescape(_LONG_NUMBERS.sub("\ufffd", raw)) if "&" in raw else raw
        if not self._preformatted:
            self._line.append(text)
            return
        first, *others = text.replace("\r\n", "\n").split("\n")
        self._line.append(first)
        for other in others:
            self._end_line(kept=True)
            self._line.append(other)

    def mark(self, tag: str, is_end: bool) -> None:
        """A tag, which may end the line."""
        if _PARTS.fullmatch(tag):
            self._end_line()
            if self._lines and self._lines[-1]:
                self._lines.append("")
        elif _LINES.fullmatch(tag):
            self._end_line(kept=tag == "br")
        elif tag in ("td", "th"):
            self._line.append(" ")
        if tag == "pre":
            self._preformatted = max(self._preformatted + (-1 if is_end else 1), 0)
        elif tag == "li" and not is_end:
            self._line.append("* ")

    def _end_line(self, kept: bool = False) -> None:
        """Begin a new line; an empty one is told only where it is ``kept``."""
        text = "".join(self._line)
        self._line.clear()
        line = text.rstrip() if self._preformatted else " ".join(text.split())
        if line or (kept and self._lines):
            self._lines.append(line)

    def told(self) -> str:
        """The whole text, which ends with a line end unless it is empty."""
        self._end_line()
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        return "\n".join((*self._lines, "")) if self._lines else ""
