"""The package in examples/: it is built and installed as any other, its tests pass, and a daemon serves it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.helpers.daemons import EXAMPLES, ROOT, TIMEOUT, ask, wait_until

WEATHER = EXAMPLES / "fingerd-weather"
# Without the variables by which this test run affects the Pythons that it starts.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTHON", "VIRTUAL_ENV"))
}


def run(*command: str | Path, folder: Path) -> str:
    """The output of the command, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with fingerd, all packages of these tests, and fingerd-weather."""
    folder = tmp_path_factory.mktemp("weather")
    venv.create(folder / "environment", symlinks=True)
    python = folder / "environment" / "bin" / "python"
    (site,) = (folder / "environment" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    shutil.copytree(WEATHER, folder / "source")  # setuptools leaves files where it builds
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check", "install")
    here = all(map(importlib.util.find_spec, ("setuptools", "wheel")))  # else pip fetches them
    how = ("--no-deps", "--no-compile", *(("--no-build-isolation", "--no-index") if here else ()))
    try:
        run(*pip, *how, folder / "source", folder=folder)
    except AssertionError as error:
        if "from versions: none" in str(error):
            pytest.skip("needs the network, or setuptools and wheel: pip finds no package index")
        raise
    return python


def test_its_own_tests_pass(python: Path, tmp_path: Path) -> None:
    shutil.copytree(WEATHER / "tests", tmp_path / "tests")
    shutil.copy(WEATHER / "weather.json", tmp_path)
    run(
        python,
        "-B",
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path}/pytest",
        "tests",
        folder=tmp_path,
    )


def test_it_is_listed_with_its_options_and_its_package(python: Path, tmp_path: Path) -> None:
    listed = run(python, "-m", "fingerd", "--backends", folder=tmp_path)
    assert listed.endswith(
        "weather (fingerd-weather 1.0)\n"
        "    The weather of a place; the username is the name of the place.\n"
        "    - source (text; required)\n"
        "    - unit (celsius or fahrenheit; default: celsius)\n"
        "    - timeout (time; default: 5; from 0.1 to 8760h)\n"
    )


def test_an_invalid_option_is_an_error_at_its_place(python: Path, tmp_path: Path) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text("backend:\n  type: weather\n  source: weather.json\n  unit: kelvin\n")
    command = [str(python), "-m", "fingerd", "--check", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stderr) == (78, f"{config}:4:9: backend.unit: must be celsius or fahrenheit\n")
    config.write_text("backend:\n  type: weather\n  source: weather.json\n")
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert f"{config}:3:11: backend.source: must be an absolute path" in done.stderr


def test_a_daemon_serves_it_with_the_configuration_of_its_readme(python: Path, tmp_path: Path) -> None:
    source, config, log = (tmp_path / name for name in ("weather.json", "fingerd.yaml", "log"))
    shutil.copy(WEATHER / "weather.json", source)
    block = re.search(r"^A configuration.*\n\n((?:    .*\n)+)", (WEATHER / "README.md").read_text(), re.MULTILINE)
    assert block
    text = block[1].replace("127.0.0.1:1079", "127.0.0.1:0").replace("/srv/fingerd-weather/weather.json", str(source))
    config.write_text(re.sub("^    ", "", text, flags=re.MULTILINE))
    command = [str(python), "-m", "fingerd", "-n", "-c", str(config), "-l", str(log)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or (log.exists() and "listening on" in log.read_text()))
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)\n", log.read_text())
            assert found
            address = ("127.0.0.1", int(found[1]))
            assert ask(address, b"Lisbon\r\n") == "lisbon: clear, 24 °C\r\n".encode()
            assert ask(address, b"Atlantis\r\n") == b"No such user\r\n"
            source.write_text(json.dumps({"lisbon": {"sky": "fog"}}))
            assert ask(address, b"Lisbon\r\n") == "lisbon: clear, 24 °C\r\n".encode()  # cached
            process.terminate()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


def test_the_page_on_backends_quotes_the_package_and_its_tests() -> None:
    sources = "".join(path.read_text() for path in WEATHER.rglob("*.*") if path.suffix in (".py", ".toml"))
    lines = {line.partition("  #")[0].strip() for line in sources.splitlines()}
    blocks = re.findall(
        r"^```(?:python|toml)\n(.*?)^```", (ROOT / "docs" / "backends.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 5
    for line in "".join(blocks).splitlines():
        assert line.strip() in lines, line
