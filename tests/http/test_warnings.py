"""What ``--check`` warns of in the section http."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, TIMEOUT

ALL = "every local user can connect, and http.proxies lets all of them name any client: set mode and group"
LOCAL = "a reverse proxy on this host would make all its clients local, which a rule names: set http.proxies"
LOCAL_RULE = "policy: [{from: local, list: true}, {from: any}]\n"


@pytest.mark.parametrize(
    ("http", "rules", "warning"),
    [
        ('listen: "unix:/tmp/x", proxies: [unix]', "", ALL),
        ("listen: {unix: /tmp/x, mode: '666'}, proxies: [unix]", "", ALL),
        ("listen: {unix: /tmp/x, mode: '660'}, proxies: [unix]", LOCAL_RULE, ""),
        ('listen: "unix:/tmp/x"', "", ""),
        ('listen: "unix:/tmp/x"', LOCAL_RULE, LOCAL),
        ('listen: "127.0.0.1:8079"', LOCAL_RULE, LOCAL),
        ('listen: "[::1]:8079"', "policy: [{from: '127.0.0.1', list: true}, {from: any}]\n", LOCAL),
        ('listen: "localhost:8079"', "policy: [{from: '::1', list: true}, {from: any}]\n", LOCAL),
        ('listen: "127.0.0.1:8079", proxies: ["127.0.0.1"]', LOCAL_RULE, ""),
        ('listen: ":8079"', LOCAL_RULE, ""),
        ('listen: "127.0.0.1:8079"', "policy: [{from: '192.0.2.0/24'}, {from: any}]\n", ""),
    ],
)
def test_a_proxy_that_could_give_away_the_rights_of_others(http: str, rules: str, warning: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: empty}}\nhttp: {{{http}}}\n{rules}")
    done = subprocess.run(
        [*FINGERD, "--check", "-c", str(path)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0
    found = [line.partition("http.listen: ")[2] for line in done.stderr.splitlines() if "http" in line]
    assert found == ([warning] if warning else [])
