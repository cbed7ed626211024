"""Several processes that share one socket, behind HAProxy, as docs/fleet.md has them: a restart loses nothing."""

import re
import subprocess
from pathlib import Path

from tests.daemon.test_supervisors import Supervisor, listening
from tests.fleet.load import Load
from tests.helpers.daemons import TIMEOUT, ask, let_everybody_in
from tests.helpers.fronts import haproxy, recipe
from tests.helpers.ports import free_port
from tests.helpers.requirements import needs


@needs("haproxy")
def test_one_of_several_processes_is_restarted_without_loss(tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    supervisor = Supervisor(tmp_path)
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "brindle.txt").write_text("Kiln house\n")
    given = {"[192.0.2.1, 192.0.2.2]": "[127.0.0.1]", "examples/community": str(folder)}
    supervisor.config.write_text(f"{recipe('processes.yaml', given)}\nlog: {{to: {tmp_path}/log}}\n")
    names = {"LISTEN_FDNAMES": "fingerd.socket"}
    processes: list[subprocess.Popen[bytes]] = []
    with listening("127.0.0.1") as (listener,):
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        port = free_port()
        given = {
            "bind :79": f"bind 127.0.0.1:{port}",
            "bind :::79": f"bind ::1:{port}",
            "192.0.2.11:79": address,
            "192.0.2.12:79": address,
            "/run/haproxy/admin.sock": f"{tmp_path}/admin.sock",
        }

        def start() -> None:
            processes.append(supervisor.start(listener, environment=names))
            while supervisor.received() != "READY=1":
                pass

        front = None
        try:
            start()
            start()
            front = haproxy(tmp_path / "front", recipe("haproxy.cfg", given), port)
            with Load(lambda query, source: ask(("127.0.0.1", port), query, source=source)) as load:
                load.wait_for(100)
                for process in processes[:2]:
                    process.terminate()
                    assert process.wait(TIMEOUT) == 0
                    load.wait_for(50)
                    start()
                    load.wait_for(50)
            assert load.lost() == 0, load.answers
            log = Path(tmp_path, "log").read_text()
            assert set(re.findall(r'client=(\S+) query="brindle"', log)) <= set(load.sources)
        finally:
            if front:
                front.close()
            for process in processes:
                process.terminate()
                process.wait(TIMEOUT)
            supervisor.socket.close()
