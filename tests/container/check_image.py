"""The image: its user, its ports, its health; how it is reloaded and stopped, and what process 1 reaps."""

import contextlib
import subprocess
import sys
from pathlib import Path

from tests.container.conftest import Start
from tests.container.podman import IMAGE, LIMITS, ROOT, TIMEOUT, Container, Podman, wait_until

BOTH = """\
listen: ":79"
http: {listen: ":8079"}
backend: {type: files, folder: /srv/people}
policy: [{from: any, list: true}]
"""
HIGH = 'listen: ":1079"\nbackend: {type: files, folder: /srv/people}\n'
ORPHANS = """\
backend: {type: command, argv: [sh, -c, "setsid sh -c 'sleep 0.1 & true' >/dev/null 2>&1 & echo hi"]}
"""
FETCH = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", 8079, timeout=20)
connection.request("GET", sys.argv[1])
response = connection.getresponse()
print(response.status, response.read().decode())
"""


def write_person(tmp_path: Path, login: str, plan: str) -> None:
    people = tmp_path / "people"
    people.mkdir(exist_ok=True)
    (people / f"{login}.txt").write_text(plan)


def status(pid: int, field: str) -> list[str]:
    """The values of a field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (values,) = (line.partition(":")[2].split() for line in lines if line.startswith(f"{field}:"))
    return values


def zombies(pid: int) -> list[str]:
    """The children of a process that have ended and were not waited for."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [child] * (status(int(child), "State")[0] == "Z")
    return found


def check_it_is_the_package_and_says_what_it_is(podman: Podman) -> None:
    image = podman.run("inspect", "--type=image", "--format", "{{json .Config}}", IMAGE).stdout
    for text in ('"User":"fingerd"', '"79/tcp":{}', '"8079/tcp":{}', '"Entrypoint":["/usr/sbin/fingerd","--nodaemon"]'):
        assert text in image, image
    version = next((ROOT / "dist").glob("fingerd_*_all.deb")).name.split("_")[1]
    assert podman.run("inspect", "--type=image", f"{IMAGE}:{version}").returncode == 0
    run = ("run", "--rm", "--network=none", *LIMITS, "--no-healthcheck")
    assert podman.run(*run, IMAGE, "--version").stdout == f"fingerd {version}\n"
    shown = podman.run(*run, "--entrypoint=dpkg-query", IMAGE, "--show", "--showformat=${Version}", "fingerd")
    assert shown.stdout == version
    # Neither systemd nor a compiler, and nothing that the build needed.
    gone = ("/usr/bin/systemctl", "/usr/bin/gcc", "/mnt/fingerd_*", "/var/lib/apt/lists/*")
    kept = podman.run(*run, "--entrypoint=sh", IMAGE, "-c", f"ls -d {' '.join(gone)}", check=False)
    assert kept.stdout == ""


def check_the_package_s_own_configuration_answers_on_port_79(start: Start) -> None:
    container = start()
    container.wait_for("listening on :79")
    assert container.pyfinger("example@localhost").startswith("This is fingerd.")
    assert container.health() == 0
    assert container.stop() == 0
    assert "stopped" in container.log()


def check_it_runs_as_its_user_without_any_right_on_a_file_system_that_it_cannot_write(start: Start) -> None:
    container = start()
    container.wait_for("listening on :79")
    (uid,) = set(status(container.pid, "Uid"))
    assert int(uid) > 0
    assert container.exec("id", "--name", "--user").strip() == "fingerd"
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status(container.pid, kind)[0], 16) == 0
    assert status(container.pid, "NoNewPrivs") == ["1"]
    assert status(container.pid, "NSpid")[-1] == "1"
    for folder in ("/", "/etc", "/tmp", "/run/fingerd", "/var/log/fingerd", "/usr/lib/python3/dist-packages"):
        script = f"touch {folder}/x 2>/dev/null && echo written"
        assert container.exec("sh", "-c", f"{script} || true") == "", folder


def check_people_come_from_a_volume_by_finger_and_by_http(start: Start, tmp_path: Path) -> None:
    write_person(tmp_path, "moshez", "Happy and well\n")
    container = start(BOTH)
    container.wait_for("listening on :79, :8079")
    assert "Happy and well\n" in container.pyfinger("moshez@localhost")
    page = fetch(container, "/~moshez/text")
    assert page.startswith("200 ")
    assert "Happy and well" in page
    write_person(tmp_path, "zoe", "New here\n")
    wait_until(lambda: "New here" in container.pyfinger("zoe@localhost"), "the new person", container.log)


def fetch(container: Container, path: str) -> str:
    """The status and the text of a page, asked for within the container's network."""
    command = ["nsenter", f"--target={container.pid}", "--net", sys.executable, "-c", FETCH, path]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT).stdout


def check_sighup_reloads_the_file_of_the_volume_and_a_bad_one_changes_nothing(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "etc" / "fingerd.yaml"
    container = start("backend: {type: static, users: {bob: one}}\n")
    container.wait_for("listening on :79")
    config.write_text("nonsense: [")
    container.signal("HUP")
    container.wait_for("not reloaded: ")
    assert container.pyfinger("bob@localhost") == "one\n"
    new = config.with_suffix(".new")
    new.write_text("backend: {type: static, users: {bob: two}}\n")
    new.rename(config)  # as editors do
    container.signal("HUP")
    container.wait_for("configuration reloaded")
    assert container.pyfinger("bob@localhost") == "two\n"
    config.write_text("backend: {type: static, users: {bob: three}}\n")
    container.exec("fingerd", "--config", "/etc/fingerd/fingerd.yaml", "--reload", "1")
    wait_until(lambda: container.pyfinger("bob@localhost") == "three\n", "the third configuration", container.log)


def check_a_port_above_1024_needs_no_sysctl(start: Start, tmp_path: Path) -> None:
    write_person(tmp_path, "moshez", "Happy and well\n")
    container = start(HIGH, "--env=FINGERD_PORT=1079", port=1024)
    container.wait_for("listening on :1079")
    assert "Happy and well\n" in container.pyfinger("moshez@localhost:1079")
    assert container.health() == 0


def check_options_after_the_image_are_the_daemon_s(podman: Podman, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "fingerd.yaml").write_text("backend: {type: static, users: {bob: Happy and well}}\n")
    options = ("run", "--rm", "--network=none", *LIMITS, "--no-healthcheck", f"--volume={tmp_path}:/etc/fingerd:ro")
    command = (*options, IMAGE, "--config", "/etc/fingerd/fingerd.yaml")
    assert podman.run(*command, "--check").returncode == 0
    assert podman.run(*command, "--query", "bob").stdout == "Happy and well\n"


def check_a_configuration_that_is_wrong_ends_it_with_78_and_the_reason(start: Start, podman: Podman) -> None:
    container = start("backend: {type: statik}\n")
    assert podman.run("wait", container.name).stdout.strip() == "78"
    assert "did you mean static" in container.log()


def check_it_is_unhealthy_while_nothing_answers(start: Start) -> None:
    container = start("listen: []\nbackend: {type: empty}\n")
    container.wait_for("listening on nothing")
    assert container.health() == 1


def check_process_1_reaps_orphans(start: Start) -> None:
    container = start(ORPHANS)
    container.wait_for("listening on :79")
    for _ in range(5):
        assert container.pyfinger("bob@localhost") == "hi\n"
    wait_until(lambda: not zombies(container.pid), "all orphans are reaped", container.log)
    assert container.stop() == 0
