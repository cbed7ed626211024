"""The ports that tests give to programs."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.helpers.ports import free_port, is_free

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


def test_a_port_that_is_in_use_at_any_address_is_not_free() -> None:
    families = {"127.0.0.5": socket.AF_INET}
    if socket.has_dualstack_ipv6():
        families["::1"] = socket.AF_INET6
    for host, family in families.items():
        port = free_port()
        with socket.create_server((host, port), family=family):
            assert not is_free(port)
