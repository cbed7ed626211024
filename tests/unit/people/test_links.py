"""Which lines are links. The atom is written by strangers: what is no link never becomes one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.people.links import MAX_CHARACTERS, MAX_LINKS, PROFILE_REL, Link, link_texts, parse_links

VALID = {
    "a registered relation": ("me https://zoe.example/", Link("me", "https://zoe.example/")),
    "a relation that is a URI": ("http://x.example/rel https://a.example/b?c=d#e", None),
    "a media type": ("self https://a.example/u/zoe application/activity+json", None),
    "mail": ("contact mailto:zoe@example.org", None),
    "an account": ("me acct:zoe@social.example", None),
    "any space between": (" \tme \t https://zoe.example/  ", Link("me", "https://zoe.example/")),
    "upper case": ("me HTTPS://ZOE.example/A", None),
    "an IPv6 address": ("me http://[2001:db8::1]:8080/x", None),
    "percent-encoding": ("me https://zoe.example/%C3%A9", None),
}
INVALID = [
    "",
    "me",
    "https://zoe.example/",
    "me javascript:alert(1)",
    "me JaVaScRiPt:alert(1)",
    "me data:text/html,x",
    "me vbscript:x",
    "me file:///etc/passwd",
    "me ftp://zoe.example/",
    "me //zoe.example/",
    "me /zoe",
    "me https:",
    "me https://",
    "me https:///x",
    "me http:zoe.example",
    "me https://[::1",
    "me https://zoe.example:port/",
    "me https://zoe.example:0/",
    "me https://zoe.example/[x]",
    "me https://zoe.example/a#b#c",
    "me https://zoe.example/%zz",
    "me https://zoe.example/%4",
    "me https://zoe.example/\"onmouseover='x'",
    "me https://zoe.example/<script>",
    "me https://zoe.example/a\\b",
    "me https://zoé.example/",
    "me https://zoe.example/\u202e",
    "me acct:zoe",
    "me acct:@example.org",
    "me mailto:",
    "Me https://zoe.example/",
    "me! https://zoe.example/",
    "javascript https:x",
    "me https://zoe.example/ text",
    "me https://zoe.example/ text/html more",
    "me https://zoe.example/ text/html;charset=utf-8",
    "PROFILE",
    "profile profile",
    f"me https://zoe.example/{'a' * MAX_CHARACTERS}",
]


@pytest.mark.parametrize(("line", "link"), VALID.values(), ids=VALID)
def test_links(line: str, link: Link | None) -> None:
    assert parse_links(line) == (link or Link(*line.split()),)


@pytest.mark.parametrize("line", INVALID)
def test_a_line_that_is_none_is_ignored(line: str) -> None:
    assert parse_links(f"{line}\nme https://zoe.example/", "https://x.example/~zoe") == (
        Link("me", "https://zoe.example/"),
    )


def test_profile_is_the_page_where_there_is_one() -> None:
    assert parse_links("profile", "https://x.example/~zoe") == (
        Link(PROFILE_REL, "https://x.example/~zoe", "text/html"),
    )
    assert parse_links("profile") == ()
    assert list(link_texts("profile\nme https://zoe.example/ text/html")) == ["me https://zoe.example/ text/html"]


def test_each_link_is_there_once_and_only_some() -> None:
    assert len(parse_links("me https://zoe.example/\n" * 3)) == 1
    text = "\r\n".join(f"me https://zoe.example/{number}" for number in range(2 * MAX_LINKS))
    assert [link.href[20:] for link in parse_links(text)] == list(map(str, range(MAX_LINKS)))


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_read(text: str) -> None:
    for link in parse_links(text):
        assert " ".join(link).isascii()
        assert link.href.lower().startswith(("http://", "https://", "mailto:", "acct:"))
