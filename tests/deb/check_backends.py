"""The backends that need more than the sandbox allows, each with its documented drop-in."""

from pathlib import Path

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import ROOT

EXAMPLES = ROOT / "examples/systemd"
COMMAND = "backend: {type: command, argv: [/usr/local/bin/who-is, '{user}'], timeout: 5}\n"
WEB = 'backend: {type: web, prefix: "http://127.0.0.1:8000/"}\n'


@pytest.mark.parametrize("drop_in", sorted(EXAMPLES.glob("*.conf")), ids=lambda path: path.stem)
def check_a_drop_in_needs_no_further_package(service: Machine, report: Report, drop_in: Path) -> None:
    service.drop_in("fingerd.service", drop_in)
    if drop_in.name == "socket.conf":
        service.run("systemctl", "stop", "fingerd.service")
    service.run("systemctl", "restart", "fingerd.service")
    assert "This is fingerd" in service.finger("example@localhost")
    service.run("systemctl", "reload", "fingerd.service")
    report(drop_in.name, "alone, in a machine with the dependencies of the package: starts, answers, reloads")


def check_a_program_is_run_with_command_conf_and_not_without(service: Machine, report: Report) -> None:
    service.write("/usr/local/bin/who-is", '#!/bin/sh\necho "$1 is somebody"\n', 0o755)
    service.configure(COMMAND)
    cursor = service.cursor()
    assert "Internal error in server" in service.finger("x@localhost")
    report("without:", service.wait_for_lines(cursor, "backend failed")[0][1])
    service.drop_in("fingerd.service", EXAMPLES / "command.conf")
    service.run("systemctl", "restart", "fingerd.service")
    output = service.finger("moshez@localhost").strip()
    assert output == "moshez is somebody"
    report("with:", output)


def check_exec_paths_allows_a_single_program(service: Machine, report: Report) -> None:
    service.write("/usr/local/bin/who-is", '#!/bin/sh\n/usr/bin/id -un && echo no\necho "$1 is somebody"\n', 0o755)
    service.configure(COMMAND)
    service.drop_in("fingerd.service", "[Service]\nExecPaths=/usr/local/bin/who-is /bin/sh\n")
    service.run("systemctl", "restart", "fingerd.service")
    output = service.finger("moshez@localhost").strip()
    assert output == "moshez is somebody"
    report("ExecPaths=/usr/local/bin/who-is /bin/sh runs the script, but no program that the script runs:", output)


def check_plans_in_homes_are_read_with_homes_conf_and_not_without(service: Machine, report: Report) -> None:
    service.run("sh", "-c", "mkdir -p /home/moshez && chmod 711 /home/moshez && echo 'to rest' > /home/moshez/.plan")
    service.write("/usr/local/bin/who-is", '#!/bin/sh\ncat "/home/$1/.plan" 2>&1\necho done\n', 0o755)
    service.configure(COMMAND)
    service.drop_in("fingerd.service", EXAMPLES / "command.conf")
    service.run("systemctl", "restart", "fingerd.service")
    without = service.finger("moshez@localhost")
    assert "to rest" not in without
    service.drop_in("fingerd.service", EXAMPLES / "homes.conf")
    service.run("systemctl", "restart", "fingerd.service")
    output = service.finger("moshez@localhost")
    assert "to rest" in output
    report("without:", without.splitlines()[0], " with:", output.splitlines()[0])


def check_a_web_server_is_asked_and_with_the_socket_by_web_conf(service: Machine, report: Report) -> None:
    service.write("/srv/web/moshez", "Happy and well\n")
    serve = "python3 -m http.server --bind 127.0.0.1 --directory /srv/web 8000"
    service.run("systemd-run", "--quiet", "--unit=web", *serve.split())
    service.wait_for_port(8000)
    try:
        service.configure(WEB)
        assert "Happy and well" in service.finger("moshez@localhost")
        report("fingerd.service as shipped: answered")
        service.drop_in("fingerd.service", EXAMPLES / "socket.conf")
        service.run("systemctl", "restart", "fingerd.service")
        cursor = service.cursor()
        assert "Internal error in server" in service.finger("moshez@localhost")
        report("with socket.conf:", service.wait_for_lines(cursor, "backend failed")[0][1])
        service.drop_in("fingerd.service", EXAMPLES / "web.conf")
        service.run("systemctl", "restart", "fingerd.service")
        assert "Happy and well" in service.finger("moshez@localhost")
        report("with socket.conf and web.conf: answered")
    finally:
        service.run("systemctl", "stop", "web")
