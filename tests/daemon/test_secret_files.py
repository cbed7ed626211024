"""Files of secrets that other users may read or change: a warning, whatever the option, and never the secret."""

import os
import subprocess
from pathlib import Path

import pytest

from fingerd.config.system_options import read_secret
from fingerd.config.values import Scalar
from tests.conftest import Start
from tests.helpers.daemons import FINGERD

SECRET = "s3cret"
OPTIONS = {
    "web": "{type: web, prefix: 'http://127.0.0.1/', auth_file: FILE}",
    "sql": "{type: sql, url: 'postgresql://u@127.0.0.1/x', query: 'SELECT :user AS login', password_file: FILE}",
    "ldap": "{type: ldap, url: 'ldap://127.0.0.1', base: dc=x, bind_dn: cn=x, password_file: FILE}",
    "within others": "{type: cache, backend: {type: web, prefix: 'http://127.0.0.1/', auth_file: FILE}}",
}
MODES = {
    0o600: "",
    0o640: "",
    0o660: "",
    0o700: "",
    0o644: "read",
    0o604: "read",
    0o602: "change",
    0o666: "read and change",
    0o777: "read and change",
}


def check(tmp_path: Path, backend: str, secret: Path) -> str:
    """What --check prints of the backend."""
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"backend: {backend.replace('FILE', str(secret))}\n")
    done = subprocess.run([*FINGERD, "--check", "-c", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert SECRET not in done.stdout + done.stderr
    return done.stderr


def make_secret(path: Path, mode: int) -> Path:
    path.write_text(f"{SECRET}\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "granted"), MODES.items(), ids=map(oct, MODES))
@pytest.mark.parametrize("name", OPTIONS)
def test_what_every_user_may_do_with_a_secret_is_a_warning(tmp_path: Path, name: str, mode: int, granted: str) -> None:
    for module in {"sql": ("sqlalchemy", "psycopg2"), "ldap": ("ldap3",)}.get(name, ()):
        pytest.importorskip(module)
    secret = make_secret(tmp_path / "secret", mode)
    warned = [line for line in check(tmp_path, OPTIONS[name], secret).splitlines() if "secret" in line]
    option = OPTIONS[name].partition(": FILE")[0].rpartition(" ")[2]
    within = "backend.backend" if name == "within others" else "backend"
    column = len("backend: ") + OPTIONS[name].index("FILE") + 1
    where = f"{tmp_path}/fingerd.yaml:1:{column}: {within}.{option}"
    what = f"warning: {where}: every user may {granted} {secret}, which holds a secret"
    assert warned == ([what] if granted else [])


def test_a_directory_in_which_every_user_may_replace_a_secret_is_a_warning(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    secret = make_secret(directory / "secret", 0o600)
    for mode, granted in {0o777: "replace", 0o1777: "", 0o755: "", 0o702: "replace"}.items():
        directory.chmod(mode)
        assert ("every user may replace" in check(tmp_path, OPTIONS["web"], secret)) is bool(granted)
    directory.chmod(0o777)
    secret.chmod(0o644)
    assert f"every user may read and replace {secret}, which" in check(tmp_path, OPTIONS["web"], secret)


def test_a_link_is_followed_to_the_file(tmp_path: Path) -> None:
    secret = make_secret(tmp_path / "secret", 0o644)
    link = tmp_path / "link"
    os.symlink(secret, link)
    assert f"every user may read {link}, which" in check(tmp_path, OPTIONS["web"], link)


def test_the_warning_is_logged_at_the_start_too(start: Start, tmp_path: Path) -> None:
    secret = make_secret(tmp_path / "secret", 0o644)
    daemon = start(f'listen: "127.0.0.1:0"\nbackend: {OPTIONS["web"].replace("FILE", str(secret))}\n')
    (line,) = (line for line in daemon.log if "which holds a secret" in line)
    assert "WARNING" in line
    assert f"backend.auth_file: every user may read {secret}, which holds a secret" in line


ENCODED = {
    "UTF-8": f"\ufeff{SECRET}é\nmore\n".encode(),
    "CR LF": f"\ufeff{SECRET}é\r\n".encode(),
    "no line end": f"\ufeff{SECRET}é".encode(),
    "UTF-16, little": f"\ufeff{SECRET}é\r\nmore\r\n".encode("utf-16-le"),
    "UTF-16, big": f"\ufeff{SECRET}é\n".encode("utf-16-be"),
}


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    assert read_secret(Scalar(str(file), "text", False, None)).text == f"{SECRET}é"


def test_a_file_with_a_byte_order_mark_only_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content, problem in ((b"\xef\xbb\xbf\n", "the first line is empty"), (b"\xff\xfe\0", "not UTF-8 text")):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=problem):
            read_secret(Scalar(str(file), "text", False, None))
