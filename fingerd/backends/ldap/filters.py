"""Filters (RFC 4515) and distinguished names (RFC 4514): checks, and escaping of values."""

import re

from ldap3.operation.search import compile_filter, parse_filter
from ldap3.utils.dn import parse_dn


def check_filter(template: str | None, placeholder: str = "") -> None:
    """ValueError unless this is None, or a filter in which ``placeholder``, if given, is a value or a part of one."""
    if template is None:
        return
    if placeholder not in template:
        raise ValueError(f"must contain {placeholder}")
    if placeholder and re.search(rf"\([^()=]*{re.escape(placeholder)}", template):
        raise ValueError(f"{placeholder} must be a value, not an attribute")
    text = template.replace(placeholder, "a") if placeholder else template
    try:
        parsed = parse_filter(text, None, True, True, None, False)  # type: ignore[no-untyped-call]
        compile_filter(parsed.elements[0])  # type: ignore[no-untyped-call]
    except Exception as error:  # ldap3 raises exceptions of many types
        raise ValueError(f"is not an RFC 4515 filter: {text}") from error


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
