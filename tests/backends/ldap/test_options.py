"""The options of ``type: ldap``, and what a chroot lacks for them."""

import os
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.backends.ldap import Ldap
from fingerd.config.system_options import Secret
from fingerd.errors import ConfigError
from fingerd.settings import load_config
from tests.helpers.daemons import FINGERD


def test_a_missing_library_is_reported_with_its_packages(tmp_path: Path) -> None:
    (tmp_path / "ldap3.py").write_text("raise ModuleNotFoundError(\"No module named 'ldap3'\")\n")
    config = tmp_path / "fingerd.yaml"
    config.write_text("backend:\n  type: ldap\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    command = [*FINGERD, "--check", "-c", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    assert (result.returncode, result.stderr) == (
        78,
        f"{config}:2:9: backend.type: the backend ldap needs something that is not installed: "
        "No module named 'ldap3' (pip install ldap3, or Debian's python3-ldap3)\n",
    )


PROBLEMS = {
    "no server": ("url: []", "backend.url: is empty: give at least one server"),
    "no base": ("base: x=y\n  bas: x", "backend.bas: unknown option (did you mean base?)"),
    "scheme": ("url: http://a", "backend.url: must begin with ldap://, ldaps:// or ldapi://"),
    "user": ("url: ldap://u:s3cret@a", "backend.url: must not contain a user: use bind_dn and password_file"),
    "search": (
        "url: ldap://a/dc=x",
        "backend.url: must be a host with an optional port, as in ldap://ldap.example.org",
    ),
    "question": ("url: ldap://a?cn", "backend.url: must end after the host and the port"),
    "no host": (
        'url: "ldap://:389"',
        "backend.url: must be a host with an optional port, as in ldap://ldap.example.org",
    ),
    "port": (
        "url: ldap://a:99999",
        "backend.url: is not a valid address (a password is percent-encoded)",
    ),
    "port 0": ("url: ldap://a:0", "backend.url: port 0 is not valid"),
    "brackets": (
        'url: "ldap://[::1"',
        "backend.url: is not a valid address (a password is percent-encoded)",
    ),
    "no path": (
        "url: ldapi://run/x",
        "backend.url: must be ldapi:// and the path of a socket, as in ldapi:///run/slapd/ldapi",
    ),
    "filter": ("filter: (uid=x)", "backend.filter: must contain {user}"),
    "filter's form": ("filter: (uid={user}", "backend.filter: is not an RFC 4515 filter: (uid=a"),
    "name as attribute": (
        'filter: "({user}=x)"',
        "backend.filter: {user} must be a value, not an attribute",
    ),
    "list": ("list_filter: uid=*", "backend.list_filter: is not an RFC 4515 filter: uid=*"),
    "names": ("name_filter: (cn={user})", "backend.name_filter: must contain {word}"),
    "atom": ("fields: {plam: x}", "backend.fields.plam: there is no atom plam (did you mean plan?)"),
    "attribute": ("fields: {plan: a=b}", "backend.fields.plan: a=b is not an attribute name"),
    "no login": ("fields: {login: []}", "backend.fields.login: must name an attribute: a person needs a login"),
    "scope": ("scope: sub", "backend.scope: must be subtree, one or base (did you mean subtree?)"),
    "password alone": ("password_file: PASSWORD", "backend: bind_dn and password_file must be given together"),
    "name alone": ("bind_dn: cn=x", "backend: bind_dn and password_file must be given together"),
    "empty name": (
        "bind_dn: ''\n  password_file: PASSWORD",
        "backend.bind_dn: is empty: omit it for anonymous access",
    ),
    "unencrypted": (
        "bind_dn: cn=x\n  password_file: PASSWORD",
        "backend.url: would send the password to ldap://192.0.2.1 unencrypted: use ldaps:// or starttls",
    ),
    "starttls with ldaps": (
        "url: ldaps://a\n  starttls: true",
        "backend.starttls: is for ldap:// only: ldaps:// is encrypted from the start",
    ),
    "unused ca_file": ("ca_file: PASSWORD", "backend.ca_file: is not used: no connection is encrypted"),
    "no certificate": ("starttls: true\n  ca_file: PASSWORD", "backend.ca_file: PASSWORD: contains no certificates"),
    "no file": ("starttls: true\n  ca_file: /none", "backend.ca_file: /none: No such file or directory"),
    "no password": ("bind_dn: x\n  password_file: /none", "backend.password_file: /none: No such file or directory"),
    "base's form": ("base: people", "backend.base: is not a distinguished name: people"),
}


@pytest.mark.parametrize(("options", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_invalid_options_are_reported(tmp_path: Path, options: str, problem: str) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    lines = [f"  {line.strip()}" for line in options.replace("PASSWORD", str(password)).split("\n")]
    given = {line.strip().partition(":")[0] for line in lines}
    lines += [
        line for line in ("  url: ldap://192.0.2.1", "  base: dc=x") if line.strip().partition(":")[0] not in given
    ]
    path = tmp_path / "fingerd.yaml"
    path.write_text("\n".join(["backend:", "  type: ldap", *lines]))
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert [text.partition(": ")[2] for text in caught.value.problems] == [problem.replace("PASSWORD", str(password))]


def test_a_password_may_be_sent_unencrypted_to_a_local_server() -> None:
    for url in ("ldap://127.0.0.1", "ldap://[::1]:3389/", "ldap://localhost", "ldapi:///run/slapd/ldapi"):
        backend = Ldap((url,), "dc=x", bind_dn="cn=x", password_file=Secret("s3cret"))
        assert "s3cret" not in repr(backend)


def test_requirements_that_a_chroot_lacks_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(Ldap(("ldap://127.0.0.1", "ldaps://[::1]"), "").missing_requirements(tmp_path)) == []
    (complaint,) = Ldap(("ldap://192.0.2.1", "ldap://a", "ldap://b"), "").missing_requirements(tmp_path)
    assert "host names cannot be resolved" in complaint
    assert list(Ldap(("ldapi:///socket",), "").missing_requirements(tmp_path)) == [
        f"there is no socket {tmp_path}/socket"
    ]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").touch()
    assert list(Ldap(("ldap://a",), "").missing_requirements(tmp_path)) == []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "certificates"))
    (tmp_path / "certificates").mkdir()
    backend = Ldap(("ldaps://127.0.0.1",), "")
    assert list(backend.missing_requirements(Path("/"))) == []
    assert list(backend.missing_requirements(tmp_path / "etc")) == ["no certificate can be verified: give ca_file"]
    assert list(Ldap(("ldaps://127.0.0.1",), "", verify=False).missing_requirements(tmp_path)) == []
