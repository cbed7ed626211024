"""HAProxy and stunnel as TLS in front of fingerd on one machine, by docs/fleet.md, asked by pyfinger --tls."""

import grp
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.load import is_closed, silent
from tests.helpers.certificates import Authority
from tests.helpers.daemons import EXAMPLES, FINGERD, ROOT, TIMEOUT, Daemon, ask, is_open, let_everybody_in, wait_until
from tests.helpers.fronts import RECIPES, Front, haproxy, recipe, stunnel
from tests.helpers.ports import free_port
from tests.helpers.proxy import line
from tests.helpers.requirements import need, needs
from tests.unit.client.test_cli import outcome, pyfinger

GROUPS = {"haproxy": "haproxy", "stunnel": "stunnel4"}
LONG = "".join(f"{number:09}\n" for number in range(6000))  # longer than the buffers on the way
QUERIES = (("zoe",), ("-l", "zoe"), ("nobody",), ("-l", "long"), ("",))


class Site:
    """One machine with fingerd, with TLS in front at ``tls_port``, and without at ``port``."""

    def __init__(self, folder: Path, program: str) -> None:
        let_everybody_in(folder)
        self.authority = Authority(folder / "authority")
        self.folder = folder
        people = folder / "people"
        shutil.copytree(EXAMPLES / "community", people)
        (people / "long.txt").write_text(LONG)
        self.socket = folder / "tls.sock"
        group = GROUPS[program] if os.getuid() == 0 else grp.getgrgid(os.getgid()).gr_name
        text = recipe(
            "tls.yaml",
            {
                '":79"': '"127.0.0.1:0"',
                "/run/fingerd/tls.sock": str(self.socket),
                "group: haproxy": f"group: {group}",
                "folder: examples/community": f"folder: {people}",
                "198.51.100.0/24": "127.0.0.1",
            },
        )
        (folder / "fingerd.yaml").write_text(text)
        self.fingerd = Daemon(folder / "fingerd.yaml")
        self.tls_port = free_port()
        try:
            self.front = self._start(program)
        except BaseException:
            self.fingerd.stop()
            raise

    def _start(self, program: str) -> Front:
        names = ("DNS:localhost", "IP:127.0.0.1", "IP:::1")
        certificate = self.authority.issue(*names)
        given = {"/run/fingerd/tls.sock": str(self.socket)}
        if program == "stunnel":
            given |= {":::8179": f":::{self.tls_port}", "/etc/stunnel/finger.pem": str(certificate)}
            return stunnel(self.folder / program, recipe("stunnel.conf", given), self.tls_port)
        given |= {
            "bind :8179": f"bind 127.0.0.1:{self.tls_port}",
            "bind :::8179": f"bind ::1:{self.tls_port}",
            "/etc/haproxy/finger.pem": str(certificate),
        }
        return haproxy(self.folder / program, recipe("haproxy-tls.cfg", given), self.tls_port)

    def close(self) -> None:
        """End it; fingerd has logged no bug."""
        self.front.close()
        self.fingerd.stop()
        assert not [line for line in self.fingerd.log if "Traceback" in line]


@pytest.fixture(scope="module", params=GROUPS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need(request.param, "openssl")
    site = Site(tmp_path_factory.mktemp(request.param), request.param)
    yield site
    site.close()


def test_pyfinger_prints_through_tls_what_it_prints_without(site: Site) -> None:
    ca, port = str(site.authority.ca), site.fingerd.address[1]
    for *options, name in QUERIES:
        plain = outcome(pyfinger("-8", *options, f"{name}@127.0.0.1:{port}"))
        encrypted = outcome(pyfinger("-8", "--tls", "--ca", ca, *options, f"{name}@127.0.0.1:{site.tls_port}"))
        assert encrypted == plain
        assert plain[0] == 0
    assert "000005999\n" in outcome(pyfinger("-l", "--tls", "--ca", ca, f"long@localhost:{site.tls_port}"))[1]


def test_policy_and_log_have_the_client_s_address(site: Site) -> None:
    ca = str(site.authority.ca)
    member = outcome(pyfinger("--tls", "--ca", ca, "-l", f"brindle@127.0.0.1:{site.tls_port}"))
    assert "The kiln is lit" in member[1]
    lines = iter(lambda: site.fingerd.logged('query="/W brindle" outcome=answered '), "")
    assert "client=127.0.0.1 " in next(line for line in lines if line.endswith(" via=unix"))
    stranger = outcome(pyfinger("--tls", "--ca", ca, "-l", f"brindle@[::1]:{site.tls_port}"))
    if stranger[0] == 1 and "port" in stranger[2]:
        pytest.skip("needs IPv6 on loopback")
    assert stranger == (0, "In real life: Brindle Oakenshaw\n", "")
    assert 'client=::1 query="/W brindle" outcome=answered ' in next(
        line for line in lines if line.endswith(" via=unix")
    )


def test_what_is_in_front_is_verified(site: Site, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    code, printed, told = outcome(pyfinger("--tls", "--ca", str(other.ca), f"zoe@127.0.0.1:{site.tls_port}"))
    assert (code, printed) == (1, "")
    assert "not trusted here" in told
    code, printed, told = outcome(pyfinger("--tls", "--ca", str(site.authority.ca), f"zoe@127.0.0.2:{site.tls_port}"))
    assert (code, printed) == (1, "")
    assert "is for another host" in told or "refused" in told  # HAProxy listens on one address here


def test_old_versions_of_tls_are_refused(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(site.authority.ca))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", site.tls_port), TIMEOUT) as client, pytest.raises(ssl.SSLError):
        context.wrap_socket(client, server_hostname="127.0.0.1")


def test_a_client_without_tls_gets_nothing(site: Site) -> None:
    code, printed, _ = outcome(pyfinger("-t", "20", f"zoe@127.0.0.1:{site.tls_port}"))
    assert code == 1
    assert "zoe" not in printed.lower()


@pytest.mark.parametrize("site", ["haproxy"], indirect=True)
def test_a_client_of_haproxy_has_so_many_connections_before_the_handshake(site: Site) -> None:
    with silent(site.tls_port, "127.9.5.1", 53) as connections:
        wait_until(lambda: sum(is_closed(connection) for connection in connections) >= 3)
        other = pyfinger("--tls", "--ca", str(site.authority.ca), f"zoe@127.0.0.1:{site.tls_port}")
        assert other.returncode == 0


@needs("systemd-socket-activate")
def test_the_socket_unit_and_its_name_in_the_configuration(tmp_path: Path) -> None:
    """By systemd-socket-activate; systemd itself is asked in the checks of the Debian package."""
    unit = dict(re.findall(r"^(\w+)=(.*)$", (RECIPES / "fingerd-tls.socket").read_text(), re.MULTILINE))
    text = (RECIPES / "tls.yaml").read_text()
    assert f"unix: {unit['ListenStream']}" in text
    (shown,) = re.findall(r"^# {7}(- \{systemd: .*)$", text, re.MULTILINE)
    config, path = tmp_path / "fingerd.yaml", tmp_path / "tls.sock"
    config.write_text(f"listen:\n  - '127.0.0.1:0'\n  {shown}\nbackend: {{type: empty}}\n")
    activate = ["systemd-socket-activate", f"--fdname={unit['FileDescriptorName']}", f"--listen={path}"]
    with subprocess.Popen(
        [*activate, "--setenv=PYTHONPATH", *FINGERD, "-n", "-c", str(config)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: is_open(str(path)))
            assert ask(str(path), line("192.0.2.7") + b"zoe\r\n") == b"No such user\r\n"
            assert process.stderr
            assert any("client=192.0.2.7 " in logged for logged in process.stderr)
        finally:
            process.terminate()


def test_while_fingerd_is_down_pyfinger_says_that_there_is_no_answer(site: Site) -> None:
    assert stat.S_IMODE(site.socket.stat().st_mode) == 0o660
    site.fingerd.stop()
    code, printed, told = outcome(pyfinger("--tls", "--ca", str(site.authority.ca), f"zoe@127.0.0.1:{site.tls_port}"))
    assert (code, printed) == (1, "")
    assert told.startswith("pyfinger: 127.0.0.1: ")
    assert len(told.splitlines()) == 1
    site.fingerd = Daemon(site.fingerd.config)
    wait_until(lambda: pyfinger("--tls", "--ca", str(site.authority.ca), f"zoe@127.0.0.1:{site.tls_port}").stdout)
