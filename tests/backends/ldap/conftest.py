"""Servers and backends of the tests, and lookups in them."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fingerd.backends import Backend, Lookup, load_type
from fingerd.people import Person
from tests.helpers.daemons import EXAMPLES, descriptors, wait_until
from tests.helpers.slapd import SUFFIX, Slapd

MEMBERS = 2100
UNUSUAL = f"""
dn: uid=odd,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: odd
uid: second
cn:: T2Rk4oCu
cn: Another Name
sn: Odd
title: one
title: two
description: first line
description: second line
jpegPhoto:: /9j/AAECA4D/
physicalDeliveryOfficeName: The back door

dn: uid=a*b(c)\\5Cd,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: a*b(c)\\d
cn: Star Bracket
sn: Bracket

dn: cn=nologin,ou=people,{SUFFIX}
objectClass: inetOrgPerson
cn: Nologin Marrowby
sn: Marrowby
mail: nologin@example.org

dn: ou=closed,{SUFFIX}
objectClass: organizationalUnit
ou: closed

dn: ou=elsewhere,{SUFFIX}
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/ou=elsewhere,{SUFFIX}

dn: uid=mary ann,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: mary ann
cn: Mary Ann
sn: exact

dn: uid=first,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: first
cn: First
sn: exact

dn: uid=exact,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: exact
cn: Exact
sn: Other

dn: ou=members,{SUFFIX}
objectClass: organizationalUnit
ou: members
"""


def ldif() -> str:
    """The LDIF of the example, of unusual entries, and of many members."""
    members = "\n".join(
        f"dn: uid=u{number},ou=members,{SUFFIX}\nobjectClass: inetOrgPerson\n"
        f"uid: u{number}\ncn: Member {number}\nsn: x\n"
        for number in range(MEMBERS)
    )
    return f"{(EXAMPLES / 'ldap' / 'people.ldif').read_text()}{UNUSUAL}\n{members}"


@pytest.fixture(scope="session")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"), ldif())
    yield server
    server.stop()


@pytest.fixture
def own_slapd(tmp_path: Path) -> Iterator[Slapd]:
    """A server that the test may stop."""
    server = Slapd(tmp_path / "slapd", (EXAMPLES / "ldap" / "people.ldif").read_text())
    yield server
    server.stop()


Make = Callable[..., Any]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes backends, and closes them; no descriptor may stay open."""
    before = descriptors(os.getpid())
    made: list[Backend] = []

    def make(*urls: str, **options: Any) -> Backend:
        made.append(load_type("ldap")(urls, **{"base": SUFFIX, "timeout": 5.0, **options}))
        return made[-1]

    yield make
    gc.disable()  # a collection would also close them
    try:
        for backend in made:
            backend.close()
        wait_until(lambda: descriptors(os.getpid()) <= before)
    finally:
        gc.enable()


def lookup(username: str, seconds: float = 10, by_name: bool = False) -> Lookup:
    return Lookup(username, False, "192.0.2.1", time.monotonic() + seconds, by_name)


def find(backend: Backend, username: str, seconds: float = 10, by_name: bool = False) -> list[Person]:
    return list(backend.find(lookup(username, seconds, by_name)))


def list_users(backend: Backend, seconds: float = 10) -> Iterator[Person]:
    people = backend.list_users(lookup("", seconds))
    assert people is not None
    return people


BRINDLE = Person(
    "brindle",
    name="Brindle Oakenshaw",
    office="Kiln house",
    office_phone="555-0101",
    job="potter",
    directory="/home/brindle",
    shell="/bin/sh",
    plan="",
)
