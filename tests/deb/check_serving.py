"""Reloads, crashes, hangs, and a busy port."""

import subprocess
import time

from tests.deb.machine import Machine, Report
from tests.deb.roots import ROOT

DEFAULT = (ROOT / "etc/fingerd.yaml").read_text()
EXAMPLE = "This is fingerd. Edit /etc/fingerd.yaml to tell of real people."


def check_a_reload_with_a_good_file_loses_no_query(service: Machine, report: Report) -> None:
    with service.load() as load:
        for number in range(1, 4):
            service.configure(DEFAULT.replace(EXAMPLE, f"Text {number}"), restart=False)
            service.run("systemctl", "reload", "fingerd.service")
            time.sleep(0.2)
    report("three reloads:", load)
    assert load.lost == []
    assert load.answers
    assert {f"{text}\r\n" for text in (EXAMPLE, "Text 1", "Text 2", "Text 3")} == set(load.answers)


def check_a_reload_with_a_bad_file_is_reported_and_loses_no_query(service: Machine, report: Report) -> None:
    service.configure(DEFAULT.replace("policy:", "polity:"), restart=False)
    cursor = service.cursor()
    with service.load() as load:
        assert service.status("systemctl", "reload", "fingerd.service") != 0
        refused = service.wait_for_lines(cursor, "polity")
        time.sleep(0.2)
        service.run("systemctl", "kill", "--signal=HUP", "--kill-who=main", "fingerd.service")
    report("a reload and a SIGHUP:", load)
    assert load.lost == []
    assert load.answers
    assert set(load.answers) == {f"{EXAMPLE}\r\n"}
    hung_up = service.wait_for_lines(cursor, "not reloaded: ")
    report("at systemctl reload:", refused[0][1])
    report("at SIGHUP:", hung_up[0][1])
    assert service.show("fingerd.service", "ActiveState") == "active"
    assert service.show("fingerd.service", "NRestarts") == "0"


def check_a_reload_ends_no_other_process_of_the_user(service: Machine, report: Report) -> None:
    service.run("systemd-run", "--quiet", "--unit=sleeper", "--uid=fingerd", "sleep", "600")
    try:
        pid = service.show("sleeper.service", "MainPID")
        service.drop_in("fingerd.service", f"[Service]\nExecReload=\nExecReload=/usr/sbin/fingerd --reload {pid}\n")
        cursor = service.cursor()
        assert service.status("systemctl", "reload", "fingerd.service") != 0
        refused = service.wait_for_lines(cursor, f"process {pid} has no handler for SIGHUP")
        assert service.show("sleeper.service", "MainPID") == pid
    finally:
        service.run("systemctl", "stop", "sleeper.service")
    report("the sandbox shows what the signal would do:", refused[0][1])


def check_a_killed_daemon_is_restarted_within_3_seconds(service: Machine, report: Report) -> None:
    service.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "fingerd.service")
    start = time.monotonic()
    service.wait_for_answer("example@localhost", EXAMPLE, seconds=3)
    report(f"back after {time.monotonic() - start:.1f} s")
    assert service.show("fingerd.service", "NRestarts") == "1"


def check_the_watchdog_restarts_a_daemon_that_hangs(service: Machine, report: Report) -> None:
    assert service.show("fingerd.service", "WatchdogUSec") == "30s"
    service.drop_in("fingerd.service", "[Service]\nWatchdogSec=1\n")
    service.run("systemctl", "restart", "fingerd.service")
    time.sleep(1.5)
    assert service.show("fingerd.service", "NRestarts") == "0"
    service.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", "fingerd.service")
    start = time.monotonic()
    service.wait_until(lambda: service.show("fingerd.service", "NRestarts") == "1", "a restart")
    service.wait_for_answer("example@localhost", EXAMPLE)
    report(f"with WatchdogSec=1: alive for 1.5 s, stopped, answers again after {time.monotonic() - start:.1f} s")


HOLDER = """
import socket
holder = socket.create_server(("", 79), family=socket.AF_INET6, dualstack_ipv6=True)
print("held", flush=True)
import time
time.sleep(60)
"""


def check_a_busy_port_is_logged_and_the_package_is_configured(bare: Machine, report: Report) -> None:
    bare.write("/root/holder.py", HOLDER)
    bare.run("systemd-run", "--quiet", "--unit=holder", "python3", "/root/holder.py")
    bare.wait_for_port(79)
    try:
        cursor = bare.cursor()
        bare.install()
        status = bare.run("dpkg-query", "--show", "--showformat=${Status}", "fingerd")
        assert status == "install ok installed"
        output = bare.wait_for_lines(cursor, "cannot listen on")
        assert "Address already in use" in output[0][1]
        report(f"{status}; the journal says: {output[0][1]}")
        assert bare.show("fingerd.service", "SubState") in ("auto-restart", "start")
    finally:
        bare.run("systemctl", "stop", "holder")
    took = bare.wait("systemctl", "is-active", "--quiet", "fingerd.service", seconds=5)
    assert EXAMPLE in bare.finger("example@localhost")
    report(f"the port released, the service answers after {took:.1f} s")


def check_the_service_stops_and_the_running_answer_is_given(service: Machine, report: Report) -> None:
    service.write("/usr/local/bin/slow", "#!/bin/sh\nsleep 1\necho slowly\n", 0o755)
    service.drop_in("fingerd.service", ROOT / "examples/systemd/command.conf")
    service.configure("backend: {type: command, argv: [/usr/local/bin/slow, '{user}']}\n")
    client = subprocess.Popen(service.network("finger", "x@localhost"), stdout=subprocess.PIPE, text=True)
    service.wait_until(lambda: service.processes("slow"), "a running program")
    service.run("systemctl", "stop", "fingerd.service")
    assert "slowly" in client.communicate(timeout=60)[0]
    assert service.show("fingerd.service", "Result") == "success"
    report("stopped while a program ran: the client got its answer, the service ended with success")


def check_the_service_can_listen_on_a_unix_socket(service: Machine, report: Report) -> None:
    service.configure(f'listen: [":79", "unix:/run/fingerd/socket"]\n{DEFAULT.replace("listen:", "# listen:")}')
    ask = "import socket; c = socket.socket(socket.AF_UNIX); c.connect('/run/fingerd/socket'); c.send(b'example\\n')"
    assert EXAMPLE in service.run(
        "setpriv", "--reuid=nobody", "--clear-groups", "python3", "-c", f"{ask}; print(c.recv(99))"
    )
    service.run("systemctl", "stop", "fingerd.service")
    assert not service.exists("/run/fingerd/socket")
    report("unix:/run/fingerd/socket answers the user nobody, and is removed with the service")
