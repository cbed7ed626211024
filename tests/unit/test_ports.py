"""The ports that tests give to programs."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.helpers.ports import free_port

OTHER = "from tests.helpers.ports import free_port; print(*(free_port() for _ in range(120)))"


def test_no_client_gets_one_as_its_own() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not low <= free_port() <= high


def test_no_port_is_given_twice() -> None:
    mine = {free_port() for _ in range(120)}
    done = subprocess.run([sys.executable, "-c", OTHER], capture_output=True, text=True, check=True)
    others = set(map(int, done.stdout.split()))
    assert len(mine) == len(others) == 120
    assert not mine & others


def test_a_port_that_is_in_use_is_not_given() -> None:
    families = {"127.0.0.5": socket.AF_INET}
    if socket.has_dualstack_ipv6():
        families["::1"] = socket.AF_INET6
    for host, family in families.items():
        port = free_port()
        while port % 50 == 49:
            port = free_port()  # the next block may be another process's
        with socket.create_server((host, port + 1), family=family):
            assert free_port() != port + 1
