"""Which source of people counts, and that no secret and nothing of other backends is read."""

import os
from pathlib import Path

import pytest

from fingerd.backends.files import Files
from fingerd.backends.system import System
from fingerd.errors import ConfigError
from fingerd.plans.configuration import PARTS, PlanConfig, read_plan_config


def read(text: str, tmp_path: Path) -> PlanConfig:
    path = tmp_path / "fingerd.yaml"
    path.write_text(text)
    return read_plan_config(str(path))


FILES = "{type: files, folder: /srv/first}"
SECOND = "{type: files, folder: /srv/second}"
# All of these fail when the daemon's settings are read here.
OTHERS = (
    "{type: ldap, url: 'ldap://127.0.0.1', base: 'dc=x', bind_dn: x, password_file: /nowhere/secret}",
    "{type: web, prefix: 'http://127.0.0.1/', auth_file: /nowhere/secret}",
    "{type: sql, url: 'nosuch://x', query: 'SELECT :user', password_file: /nowhere/secret}",
    "{type: scenario, file: /nowhere/story.toml}",
    "{type: of_another_package, secret: x}",
    "{type: static, users: {no: x}}",
)
SOURCES = {
    "alone": f"backend: {FILES}",
    "cache": f"backend: {{type: cache, backend: {FILES}, seconds: nonsense}}",
    "aliases": f"backend: {{type: aliases, file: /nowhere/aliases, backend: {FILES}}}",
    "one of a chain": f"backend: {{type: chain, backends: {FILES}}}",
    "the first of two": f"backend: {{type: chain, backends: [{FILES}, {SECOND}]}}",
    "the first in depth": "backend: {type: chain, backends: [{type: cache, backend: "
    f"{{type: chain, backends: [{{type: empty}}, {FILES}]}}}}, {SECOND}]}}",
    "after all others": f"backend: {{type: chain, backends: [{', '.join(OTHERS)}, {FILES}]}}",
    "other sections": f"backend: {FILES}\nlisten: nonsense\nlog: {{to: /nowhere/log}}\nhttp: 1\nplan: {{}}\nnosuch: 1",
}


@pytest.mark.parametrize("text", SOURCES.values(), ids=SOURCES)
def test_the_first_source_in_the_file_counts(text: str, tmp_path: Path) -> None:
    config = read(text, tmp_path)
    assert isinstance(config.backend, Files)
    assert config.backend.folder == "/srv/first"


def test_accounts_are_a_source(tmp_path: Path) -> None:
    config = read(f"backend: {{type: chain, backends: [{{type: system, plans: /srv/plans}}, {FILES}]}}", tmp_path)
    assert isinstance(config.backend, System)
    assert config.backend.plans == "/srv/plans"


def test_what_is_shown_is_read_too(tmp_path: Path) -> None:
    text = (
        f"backend: {FILES}\nreply: {{colors: true}}\nlimits: {{query_bytes: 100}}\npolicy: [{{from: any, deny: true}}]"
    )
    settings = read(f"{text}\nhosts: [example.org]", tmp_path).settings
    assert settings.reply.colors
    assert settings.limits.query_bytes == 100
    assert settings.policy[0].deny
    assert settings.hosts == ("example.org",)


def test_people_are_in_the_chroot(tmp_path: Path) -> None:
    config = read(f"backend: {FILES}\nprocess: {{chroot: {tmp_path}, user: 0}}", tmp_path)
    assert isinstance(config.backend, Files)
    assert config.backend.folder == f"{tmp_path}/srv/first"
    with pytest.raises(ConfigError, match="accounts in a chroot"):
        read(f"backend: {{type: system}}\nprocess: {{chroot: {tmp_path}}}", tmp_path)


WRONG = {
    "nothing": ("", "the file is empty"),
    "not YAML": ("backend: {", "1:11"),
    "no backend": ("listen: []", "backend: required, but not given"),
    "no type": ("backend: {}", "backend.type: required, but not given"),
    "no folder": ("backend: {type: files}", "backend.folder: required, but not given"),
    "another option": (f"backend: {FILES[:-1]}, nosuch: 1}}", "unknown option"),
    "no source": ("backend: {type: static, users: {}}", "none that fingerd-plan can write"),
    "no source in a chain": ("backend: {type: chain, backends: [{type: empty}]}", "none that fingerd-plan can write"),
    "a wrong policy": (f"backend: {FILES}\npolicy: 1", "policy"),
    "a loop": ("backend: &a {type: cache, backend: *a}", "recursive alias"),
}


@pytest.mark.parametrize(("text", "problem"), WRONG.values(), ids=WRONG)
def test_problems_name_their_place(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read(text, tmp_path)
    assert all(line.startswith(f"{tmp_path}/fingerd.yaml") for line in caught.value.problems)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_plan_config(str(tmp_path / "nowhere"))


@pytest.mark.root
@pytest.mark.parametrize("part", PARTS)
def test_a_user_who_may_not_read_the_secrets_of_others_reads_it(part: str, tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents):
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o711)
    secret = tmp_path / "secret"
    secret.write_text("password\n")
    secret.chmod(0o600)
    web = f"{{type: web, prefix: 'http://127.0.0.1/', auth_file: {secret}}}"
    inner = f"[{web}, {FILES}]" if part == "chain" else FILES
    names = f"file: {secret}, " if part == "aliases" else ""
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: {part}, {names}{PARTS[part]}: {inner}}}\nprocess: {{pidfile: /root/x/pid}}\n")
    os.seteuid(2001)
    try:
        assert isinstance(read_plan_config(str(path)).backend, Files)
    finally:
        os.seteuid(0)
