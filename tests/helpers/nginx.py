"""nginx as a reverse proxy, in the foreground."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.requirements import find, need

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    keepalive_timeout 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/nginx.socket;
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {target};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Host $host;
            {more}
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, port: int, target: str, user: str = "root", more: str = "") -> Iterator[None]:
    """Serve at this port of 127.0.0.1 what the target, ``http://HOST:PORT`` or ``http://unix:PATH``, answers.

    ``more`` are further directives of its location.
    """
    need("nginx")
    folder.mkdir()
    program = find("nginx")
    assert program
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, target=target, more=more))
    options = ["-g", f"user {user};"] if user else []
    with subprocess.Popen([program, "-p", str(folder), "-c", str(config), *options]) as process:
        try:
            wait_until(lambda: (folder / "nginx.pid").exists() or process.poll() is not None)
            assert process.poll() is None, (folder / "error.log").read_text()
            yield
        finally:
            process.terminate()
            process.wait(TIMEOUT)
