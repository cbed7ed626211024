"""HAProxy that asks /healthz of two daemons, by examples/fleet/haproxy-health.cfg: none that stops loses a client."""

import re
from pathlib import Path

from tests.fleet.load import Load
from tests.helpers.daemons import Daemon, ask, let_everybody_in, wait_until
from tests.helpers.fronts import haproxy, recipe, server_state
from tests.helpers.ports import free_port
from tests.helpers.requirements import needs

HOSTS = {"one": "127.0.0.11", "two": "127.0.0.12"}


@needs("haproxy")
def test_a_daemon_that_stops_and_starts_again_loses_no_client(tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    port, finger, metrics = free_port(), free_port(), free_port()
    stats = tmp_path / "admin.sock"
    given = {
        "bind :79": f"bind 127.0.0.1:{port}",
        "bind :::79": f"bind ::1:{port}",
        "192.0.2.11:79\n": f"{HOSTS['one']}:{finger}\n",
        "192.0.2.12:79\n": f"{HOSTS['two']}:{finger}\n",
        "port 9079": f"port {metrics}",
        "/run/haproxy/admin.sock": str(stats),
    }

    def start(name: str) -> Daemon:
        config = tmp_path / f"{name}.yaml"
        config.write_text(
            f"listen: {{address: '{HOSTS[name]}:{finger}', proxies: [127.0.0.1]}}\n"
            f"metrics: {{listen: '{HOSTS[name]}:{metrics}'}}\n"
            "backend: {type: static, users: {brindle: Kiln house}}\n"
        )
        return Daemon(config)

    daemons, logged = {name: start(name) for name in HOSTS}, list[str]()
    front = haproxy(tmp_path / "front", recipe("haproxy-health.cfg", given), port)
    try:
        wait_until(lambda: {server_state(stats, name) for name in HOSTS} == {("UP", "L7OK")})
        with Load(lambda query, source: ask(("127.0.0.1", port), query, source=source)) as load:
            load.wait_for(100)
            for name in HOSTS:
                assert daemons[name].stop() == 0
                logged += daemons[name].log
                wait_until(lambda name=name: server_state(stats, name)[0].startswith("DOWN"))  # type: ignore[misc]
                load.wait_for(50)
                daemons[name] = start(name)
                wait_until(lambda name=name: server_state(stats, name) == ("UP", "L7OK"))  # type: ignore[misc]
                load.wait_for(50)
        assert load.lost() == 0, load.answers
    finally:
        front.close()
        for daemon in daemons.values():
            daemon.stop()
            logged += daemon.log
    assert set(re.findall(r'client=(\S+) query="brindle" ', "\n".join(logged))) == set(load.sources)
    assert not [line for line in logged if "query=" in line and 'query="brindle"' not in line and "hung-up" not in line]
