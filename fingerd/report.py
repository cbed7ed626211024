"""What is said of people: the answer to {U} and the table of {C} (RFC 1288 2.5)."""

from collections.abc import Iterable, Sequence

from fingerd.people import Person

NOBODY_LISTED = "No one logged on."

_ROW = "{:<15} {}"  # RFC 1288 4.1 begins a row with the login and the full name


def records(people: Sequence[Person]) -> str:
    """Everything that is told of these people, one after the other, an empty line between two."""
    return "\n".join(person.text if person.text.endswith("\n") else f"{person.text}\n" for person in people)


def table(people: Iterable[Person], room: int) -> str:
    """The list of {C}, a row for each; no more people are asked for once it is longer than ``room`` characters.

    Somebody without a login is a list that is a text already, and told as it is.
    """
    rows: list[str] = []
    length, headed = 0, False
    for person in people:
        if person.login and not headed:
            rows.append(_ROW.format("Login", "Name"))
            headed = True
        rows.append(_ROW.format(person.login, person.login) if person.login else person.text.rstrip("\r\n"))
        length += len(rows[-1])
        if length > room:
            break
    return "\n".join(rows) if rows else NOBODY_LISTED
