"""SIGHUP: what of the section http takes effect, and what needs a restart."""

import os
import signal

from tests.helpers.http import HttpDaemon
from tests.http.conftest import StartHttp

ZOE = "backend: {type: static, users: {zoe: Reading}}\n"


def reload(daemon: HttpDaemon, config: str) -> list[str]:
    """The warnings of a reload with another configuration."""
    daemon.config.write_text(config)
    known = len(daemon.log)
    os.kill(daemon.process.pid, signal.SIGHUP)
    daemon.logged("configuration reloaded")
    return [line.partition("WARNING ")[2] for line in daemon.log[known:] if "restart" in line]


def test_the_title_changes_and_another_address_needs_a_restart_each_time(start_http: StartHttp) -> None:
    daemon = start_http(ZOE, "title: Before")
    assert "Before" in daemon.get("/").text
    text = daemon.config.read_text()
    assert reload(daemon, text.replace("Before", "After")) == []
    assert "After" in daemon.get("/").text
    for _ in range(2):
        moved = text.replace('http: {listen: "127.0.0.1:0"', 'http: {listen: "127.0.0.2:0"')
        assert reload(daemon, moved) == ["fingerd.daemon.reload: http.listen has changed: a restart is needed"]
    assert daemon.get("/~zoe").status == 200
    for _ in range(2):
        removed = "\n".join(line for line in text.splitlines() if not line.startswith("http:"))
        assert reload(daemon, f"{removed}\n") == ["fingerd.daemon.reload: http has changed: a restart is needed"]
    assert daemon.get("/~zoe").status == 200
    assert reload(daemon, text.replace("Reading", "Writing")) == []
    assert "Writing" in daemon.get("/~zoe").text
