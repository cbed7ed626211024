"""What the section ``metrics`` needs at the start, and at a reload; and that nothing of it is there without it."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fingerd import load_config
from fingerd.errors import ConfigError
from tests.conftest import Start
from tests.daemon.conftest import run
from tests.helpers.daemons import Daemon, ask, let_everybody_in
from tests.helpers.http import get
from tests.http.test_start import check, imported

FREE = 'listen: "127.0.0.1:0"\n'
ZOE = "backend: {type: static, users: {zoe: Reading}}\n"
METRICS = 'metrics: {listen: "127.0.0.1:0"}\n'
LIBRARIES = {"h11", "prometheus_client"}

ERRORS = {
    "no address": (ZOE + "metrics: {}\n", "metrics.listen: required, but not given"),
    "an empty list": (ZOE + "metrics: {listen: []}\n", "metrics.listen: is empty: name an address"),
    "inetd": (ZOE + "metrics: {listen: inetd}\n", "metrics.listen: must be addresses or unix sockets"),
    "systemd": (ZOE + "metrics: {listen: systemd}\n", "metrics.listen: must be addresses or unix sockets"),
    "systemd among others": (ZOE + 'metrics: {listen: [":9079", systemd]}\n', "metrics.listen: must be addresses or"),
    "a socket from systemd": (
        ZOE + "metrics: {listen: {systemd: metrics}}\n",
        "metrics.listen: must be addresses or unix sockets",
    ),
    "inetd for Finger": (f"listen: inetd\n{ZOE}{METRICS}", "metrics: cannot be served by processes that inetd starts"),
    "a port alone": (ZOE + "metrics: {listen: 9079}\n", 'metrics.listen: must be "host:port"'),
    "an unknown option": (ZOE + 'metrics: {listen: ":9079", path: /metrics}\n', "metrics.path: unknown option"),
    "true": (ZOE + "metrics: true\n", "metrics: must be"),
}


@pytest.mark.parametrize(("config", "problem"), ERRORS.values(), ids=ERRORS)
def test_what_is_no_configuration_of_metrics(config: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(config)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    found = [re.sub(r"\[\d\]", "", line) for line in caught.value.problems]
    assert any(re.match(rf"{path}:\d+:\d+: {re.escape(problem)}", line) for line in found), found


@pytest.mark.parametrize("library", ["h11", "prometheus_client"])
def test_a_missing_library_is_named_with_its_packages(library: str, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    error = f"raise ModuleNotFoundError(\"No module named '{library}'\", name='{library}')\n"
    (hidden / f"{library}.py").write_text(error)
    path = os.pathsep.join(filter(None, (str(hidden), os.environ.get("PYTHONPATH"))))
    checked = check(tmp_path, ZOE + METRICS, PYTHONPATH=path)
    hint = "(pip install prometheus_client h11, or apt install python3-prometheus-client python3-h11)"
    assert checked.returncode == 78
    assert f"metrics: needs something that is not installed: {library} {hint}\n" in checked.stderr
    assert check(tmp_path, ZOE, PYTHONPATH=path).returncode == 0


@pytest.mark.parametrize("section", ["", METRICS], ids=["without", "with"])
def test_the_libraries_are_imported_only_with_the_section(section: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(FREE + ZOE + section)
    command = [sys.executable, "-X", "importtime", "-m", "fingerd", "-c", str(path), "-n"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "listening on" in line:
                address = "127.0.0.1", int(re.findall(r" 127.0.0.1:(\d+)", line)[0])
                assert ask(address, b"zoe\r\n") == b"Reading\r\n"
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    found = imported("".join(lines))
    assert LIBRARIES & found == (LIBRARIES if section else set())
    modules = re.findall(r"\| +(fingerd\.metrics\S*)$", "".join(lines), re.MULTILINE)
    small = {"fingerd.metrics", "fingerd.metrics.loader", "fingerd.metrics.options"}
    assert set(modules) == (small | {f"fingerd.metrics.{name}" for name in MODULES} if section else small)
    assert "jinja2" not in found  # only pages need it


MODULES = ("collector", "counters")  # and the door, of which Python does not tell here


def addresses(daemon: Daemon) -> list[tuple[str, int]]:
    return [("127.0.0.1", int(port)) for port in re.findall(r":(\d+)\b", daemon.listening)]


def test_metrics_beside_pages_on_addresses_of_their_own(start: Start) -> None:
    daemon = start(f'{FREE}http: {{listen: "127.0.0.1:0"}}\n{METRICS}{ZOE}')
    finger, pages, metrics = addresses(daemon)
    assert ask(finger, b"zoe\r\n") == b"Reading\r\n"
    assert get(pages, "/~zoe").status == get(metrics, "/metrics").status == get(metrics, "/healthz").status == 200
    assert get(pages, "/metrics").status == get(pages, "/healthz").status == get(metrics, "/~zoe").status == 404


def test_a_unix_socket_has_the_mode_that_the_section_names(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    daemon = start(f'{FREE}metrics: {{listen: {{unix: {path}, mode: "600"}}}}\n{ZOE}')
    assert path.stat().st_mode & 0o777 == 0o600
    assert get(str(path), "/healthz").status == 200
    assert daemon.stop() == 0
    assert not path.exists()


def test_a_busy_address_is_69(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "fingerd.yaml").write_text(f'{FREE}{ZOE}metrics: {{listen: "127.0.0.1:{port}"}}\n')
        done = run("-n", "-c", str(tmp_path / "fingerd.yaml"))
    assert done.returncode == 69
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.root
def test_metrics_need_nothing_of_an_empty_chroot(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    let_everybody_in(tmp_path)
    measures = [option for name in os.environ if name.startswith("COVERAGE") for option in ("-u", name)]
    config = f"{FREE}{METRICS}{ZOE}process: {{chroot: {root}, user: nobody}}\n"
    daemon = start(config, inside=("env", *measures))
    finger, metrics = addresses(daemon)
    assert ask(finger, b"zoe\r\n") == b"Reading\r\n"
    for target, status in (("/metrics", 200), ("/healthz", 200), ("/other", 404)):
        assert get(metrics, target).status == status
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "internal error" in line]
    assert list(root.iterdir()) == []


# Reloads.


def reload(daemon: Daemon, config: str) -> list[str]:
    """What a reload with another configuration says of a restart."""
    daemon.config.write_text(config)
    known = len(daemon.log)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    return [line.partition(": ")[2] for line in daemon.log[known:] if "restart" in line]


def test_adding_removing_or_moving_them_needs_a_restart_each_time(start: Start) -> None:
    daemon = start(FREE + ZOE)
    for _ in range(2):
        assert reload(daemon, FREE + METRICS + ZOE) == ["metrics has changed: a restart is needed"]
    assert reload(daemon, FREE + ZOE) == []
    daemon = start(FREE + METRICS + ZOE)
    _, metrics = addresses(daemon)
    for _ in range(2):
        assert reload(daemon, FREE + ZOE) == ["metrics has changed: a restart is needed"]
        moved = METRICS.replace("127.0.0.1", "127.0.0.2")
        assert reload(daemon, FREE + moved + ZOE) == ["metrics.listen has changed: a restart is needed"]
        assert get(metrics, "/metrics").status == 200
    assert reload(daemon, FREE + METRICS + ZOE.replace("Reading", "Writing")) == []
    assert daemon.ask(b"zoe\r\n") == b"Writing\r\n"
