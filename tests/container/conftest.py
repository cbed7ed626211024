"""One image for all checks; containers of it are removed at the end of each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.podman import ROOT, Container, Podman, missing

# Nothing may be written, and the process has no rights.
RIGHTS = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
Start = Callable[..., Container]


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman, with the image."""
    if reason := missing():
        pytest.exit(f"building an image {reason}", 1)
    if not list((ROOT / "dist").glob("fingerd_*_all.deb")):
        pytest.exit("no package in dist/: run make deb", 1)
    podman = Podman()
    try:
        podman.build()
        yield podman
    finally:
        podman.close()


@pytest.fixture
def start(podman: Podman, tmp_path: Path) -> Iterator[Start]:
    """Starts containers as docs/container.md does, with a configuration, or the package's own without one."""
    tmp_path.chmod(0o755)

    def start(config: str = "", *options: str, port: int = 79) -> Container:
        (tmp_path / "people").mkdir(exist_ok=True)
        mounts = []
        if config:
            (tmp_path / "etc").mkdir(exist_ok=True)
            (tmp_path / "etc" / "fingerd.yaml").write_text(config)
            mounts = [f"--volume={tmp_path}/etc:/etc/fingerd:ro", f"--volume={tmp_path}/people:/srv/people:ro"]
        sysctl = f"--sysctl=net.ipv4.ip_unprivileged_port_start={min(port, 1024)}"
        return Container(
            podman,
            *RIGHTS,
            sysctl,
            *mounts,
            *options,
            arguments=("--config", "/etc/fingerd/fingerd.yaml") if config else (),
        )

    yield start
    podman.run("rm", "--all", "--force", "--time=0", check=False)
