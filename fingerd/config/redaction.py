"""Keeps secrets out of messages: the values of options that may hold one, such as passwords, URLs and headers."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, get_args

import yaml

MASK = "***"

_SECRET_WORDS = {"auth", "credentials", "dsn", "env", "headers", "key", "passphrase", "passwd", "password", "secret"}
_SECRET_WORDS |= {"token", "uri", "url"}
_MIN_LENGTH = 3  # shorter values are not masked: they occur in any message
_NAME = re.compile("[A-Za-z][A-Za-z0-9_-]{0,63}")


def may_be_secret(field: "dataclasses.Field[Any]", kind: Any) -> bool:
    """Whether the option may hold a secret: declared with ``repr=False``, or by its name; but not where it is kept."""
    words = field.name.split("_")
    if words[1:] and words[-1] in ("env", "file"):  # password_env, password_file
        return False
    is_path = any(getattr(part, "type_name", "") == "path" for part in _parts(kind))
    return not is_path and (not field.repr or not _SECRET_WORDS.isdisjoint(words))


def _parts(kind: Any) -> Iterator[Any]:
    """What a type is composed of, converters included."""
    for part in get_args(kind):
        yield part
        yield from _parts(part)


def is_name(key: str, value: yaml.Node) -> bool:
    """Whether a key can be shown: it is a word, and not a value that was written as a key, as in ``{secret}``."""
    return bool(_NAME.fullmatch(key)) and not _is_empty(value)


def is_braced(node: yaml.Node) -> bool:
    """Whether YAML reads a text in braces, such as ``{user}``, as this mapping without values."""
    return isinstance(node, yaml.MappingNode) and node.flow_style and all(_is_empty(value) for _, value in node.value)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.value and not node.style


def redact(message: str, nodes: Iterable[yaml.Node]) -> str:
    """The message without the texts below these nodes. Of a URL without a user, only the query is masked."""
    texts = {part for node in nodes for text in _texts(node, []) for part in _secrets_in(text)}
    for text in sorted(texts, key=len, reverse=True):
        for form in (text, repr(text)[1:-1]):
            if len(form) >= _MIN_LENGTH:
                message = message.replace(form, MASK)
    return message


def redact_exception(error: BaseException, nodes: Collection[yaml.Node]) -> None:
    """Redact the messages of an exception and of its causes, for a traceback."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        cause.args = tuple(redact(part, nodes) if isinstance(part, str) else part for part in cause.args)
        cause = cause.__cause__ or cause.__context__


def _texts(node: yaml.Node, seen: list[yaml.Node]) -> Iterator[str]:
    """All scalars below the node, except keys that are names."""
    if node in seen:
        return
    seen.append(node)
    if isinstance(node, yaml.ScalarNode):
        yield node.value
    for item in node.value if isinstance(node, yaml.CollectionNode) else ():
        if isinstance(item, yaml.Node):
            yield from _texts(item, seen)
            continue
        key, value = item
        if not isinstance(key, yaml.ScalarNode) or not is_name(key.value, value):
            yield from _texts(key, seen)
        yield from _texts(value, seen)


def _secrets_in(text: str) -> Iterator[str]:
    """The text; of a URL its query, and if it has a user, the parts of what stands before its last @.

    That is a user and a password, which a parser may have split anywhere.
    """
    _, slashes, rest = text.partition("://")
    user, at, _ = rest.rpartition("@")
    if not slashes or at:
        yield text
    if slashes:
        yield from re.split("[:/?#@]", user)
        yield rest.partition("?")[2]
