"""Filters (RFC 4515) and distinguished names (RFC 4514): checks, and escaping of values."""

import re

from ldap3.operation.search import compile_filter
from ldap3.utils.dn import parse_dn

from fingerd.backends.ldap.comparisons import USER, comparisons, parse


def check_filter(template: str | None, placeholder: str = "") -> None:
    """ValueError unless this is None, or a filter in which ``placeholder``, if given, is a value or a part of one."""
    if template is None:
        return
    if placeholder not in template:
        raise ValueError(f"must contain {placeholder}")
    if placeholder and re.search(rf"\([^()=]*{re.escape(placeholder)}", template):
        raise ValueError(f"{placeholder} must be a value, not an attribute")
    if placeholder and re.search(rf"\\[0-9a-fA-F]?{re.escape(placeholder)}", template):
        raise ValueError(f"{placeholder} must not follow a backslash")
    text = template.replace(placeholder, "a") if placeholder else template
    try:
        compile_filter(parse(text))  # type: ignore[no-untyped-call]
    except Exception as error:  # ldap3 raises exceptions of many types
        raise ValueError(f"is not an RFC 4515 filter: {text}") from error
    if placeholder == USER and not comparisons(template):
        raise ValueError(f"must compare an attribute with {USER}, so that its value can be compared exactly")


def check_dn(text: str) -> None:
    """ValueError unless this is a distinguished name; the empty one is the root."""
    try:
        if text:
            parse_dn(text)
    except Exception as error:
        raise ValueError(f"is not a distinguished name: {text}") from error


def escape_value(text: str) -> str:
    """The text as a value in a filter (RFC 4515 3): every byte is escaped, so that none has a meaning."""
    return "".join(f"\\{byte:02x}" for byte in text.encode())
