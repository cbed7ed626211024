"""The web servers of docs/http.md in front of fingerd, by the configurations of examples/http/: who asks, and how."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.daemons import EXAMPLES, FINGERD, ROOT, TIMEOUT, Daemon, Machine, is_open, wait_until
from tests.helpers.http import Response, head, parse, send
from tests.helpers.requirements import need, needs
from tests.helpers.slapd import run

RECIPES = EXAMPLES / "http"
MEMBER, STRANGER, ROBOT = "198.51.100.7", "203.0.113.9", "203.0.113.66"
PEOPLE, DOMAIN = "people.example.org", "example.org"
PAGE = (ROOT / "docs" / "http.md").read_text()
# How the page says that fingerd is behind nginx by TCP.
TCP = re.findall(r"`(listen: \"127[^`]*|proxies: \[127[^`]*|proxy_pass http://127[^`]*)`", PAGE)
WEBFINGER = "/.well-known/webfinger?resource=acct:brindle@example.org"

# What Debian's apache2 has beside the sites, with the modules that the recipe enables.
APACHE = """\
ServerRoot FOLDER
PidFile FOLDER/apache.pid
DefaultRuntimeDir FOLDER
ErrorLog FOLDER/error.log
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
MODULES
Listen 80
Listen 443
Include FOLDER/site
"""


class Site:
    """A machine whose fingerd, by examples/http.yaml, is behind a web server; all clients have an address of it."""

    def __init__(self, host: Machine, folder: Path, *, by_tcp: bool = False) -> None:
        self._host = host
        self._by_tcp = by_tcp
        self._folder = folder
        folder.mkdir()
        folder.chmod(0o755)
        (folder / "hosts").write_text(f"127.0.0.1 localhost {PEOPLE} {DOMAIN}\n")
        self.inside("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.inside("mount", "--bind", f"{folder}/hosts", "/etc/hosts")
        for address in (MEMBER, STRANGER, ROBOT):
            self.inside("ip", "address", "add", f"{address}/32", "dev", "lo")
        self.ca = folder / "ca.pem"
        self._make_certificates()
        self._started: list[subprocess.Popen[bytes]] = []
        (commands,) = re.findall(r"^#     (install -d .*)$", (EXAMPLES / "http.yaml").read_text(), re.MULTILINE)
        self.inside(*commands.split())
        config = folder / "fingerd.yaml"
        text = (EXAMPLES / "http.yaml").read_text().replace(" examples/", f" {EXAMPLES}/")
        if by_tcp:  # as docs/http.md says
            (listen,) = re.findall(r"^  listen: .*\n(?:    .*\n)+", text, re.MULTILINE)
            text = text.replace(listen, f"  {TCP[0]}\n").replace("proxies: [unix]", TCP[1])
            assert all(line in text for line in TCP[:2])
        config.write_text(text)
        self.fingerd = Daemon(config, inside=host.inside)

    def inside(self, *command: str) -> str:
        """The standard output of a command on the machine, which must succeed."""
        done = self._host.run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _make_certificates(self) -> None:
        for name in (PEOPLE, DOMAIN):
            place = self._folder / "live" / name
            place.mkdir(parents=True)
            make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            files = ["-keyout", f"{place}/privkey.pem", "-out", f"{place}/fullchain.pem"]
            run([*make, *files, "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"])
        self.ca.write_text("".join((self._folder / "live" / n / "fullchain.pem").read_text() for n in (PEOPLE, DOMAIN)))

    def recipe(self, name: str, before: str = "") -> Path:
        """The configuration, with the certificates that are there."""
        text = (RECIPES / name).read_text().replace("/etc/letsencrypt/live", str(self._folder / "live"))
        if self._by_tcp:
            text = text.replace("proxy_pass http://unix:/run/fingerd/http.sock;", TCP[2])
        path = self._folder / "site"
        path.write_text(before + text)
        return path

    def start(self, *command: str) -> None:
        """Start a web server, and wait until it answers."""
        with (self._folder / "output").open("wb") as output:
            started = subprocess.Popen(
                [*self._host.inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env={"PATH": "/usr/sbin:/usr/bin", "HOME": str(self._folder), "XDG_DATA_HOME": str(self._folder)},
            )
        self._started.append(started)

        def answers() -> bool:
            assert started.poll() is None, (self._folder / "output").read_text()
            return not self._curl(f"https://{PEOPLE}/robots.txt", MEMBER).returncode

        wait_until(answers)

    def _curl(self, url: str, source: str, *options: str) -> "subprocess.CompletedProcess[bytes]":
        command = ["curl", "-sS", "-i", "--http1.1", "--path-as-is", "--cacert", str(self.ca), "--interface", source]
        return subprocess.run([*self._host.inside, *command, *options, url], capture_output=True, check=False)

    def get(self, url: str, source: str, *options: str) -> Response:
        """The response to a client at this address."""
        done = self._curl(url, source, *options)
        assert done.returncode == 0, done.stderr
        return parse(done.stdout, "HEAD" if "--head" in options else "GET")

    def close(self) -> None:
        """End the web server and fingerd."""
        for started in self._started:
            started.send_signal(signal.SIGTERM)
            started.wait(TIMEOUT)
        self.fingerd.stop()


@pytest.fixture
def site(host: Machine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    need("curl", "openssl")
    site = Site(host, tmp_path / "site", by_tcp=getattr(request, "param", False))
    yield site
    site.close()


def start_nginx(site: Site) -> None:
    """Debian's nginx, by its own configuration, which includes the sites."""
    path = site.recipe("nginx.conf")
    for folder, place in (("sites", "/etc/nginx/sites-enabled"), ("logs", "/var/log/nginx")):
        (path.parent / folder).mkdir()
        site.inside("mount", "--bind", f"{path.parent}/{folder}", place)
    path.rename(path.parent / "sites" / "people")
    site.start("nginx", "-g", "daemon off;")


def start_apache(site: Site) -> None:
    """Apache, with the modules that the recipe enables and no others that matter."""
    path = site.recipe("apache.conf")
    (enabled,) = re.findall(r"^#     a2enmod (.*)$", path.read_text(), re.MULTILINE)
    # as a2enmod does, whose files name what a module depends on
    depends = {"proxy_http": ("proxy", "proxy_http"), "ssl": ("socache_shmcb", "ssl")}
    modules = [module for name in enabled.split() for module in depends[name]]
    lines = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules)
    config = path.parent / "apache2.conf"
    config.write_text(APACHE.replace("FOLDER", str(path.parent)).replace("MODULES", lines))
    site.start("apache2", "-DFOREGROUND", "-f", str(config))


def start_caddy(site: Site) -> None:
    """Caddy, with an authority of its own: none outside can be asked."""
    path = site.recipe("Caddyfile", before="{\n\tlocal_certs\n\tskip_install_trust\n\tadmin off\n}\n")
    site.ca = path.parent / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    site.start("caddy", "run", "--config", str(path), "--adapter", "caddyfile")


@cache
def printed(query: str, client: str) -> bytes:
    """What a Finger client at this address gets."""
    command = [*FINGERD, "-c", "examples/http.yaml", "--query", query, "--from", client]
    return subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout


@pytest.mark.root
@pytest.mark.parametrize(
    "start",
    [
        pytest.param(start_nginx, marks=needs("nginx"), id="nginx"),
        pytest.param(start_apache, marks=needs("apache2"), id="apache"),
        pytest.param(start_caddy, marks=needs("caddy"), id="caddy"),
    ],
)
def test_a_web_server_in_front(site: Site, start: Callable[[Site], None]) -> None:
    start(site)
    url = f"https://{PEOPLE}"

    # The client is who asks the web server, in policy and log.
    for client in (MEMBER, STRANGER):
        for name in ("brindle", "tansy", "nobody"):
            assert site.get(f"{url}/~{name}/text", client).body == printed(name, client)
            line = site.fingerd.logged(f'"GET /~{name}/text"')
            assert f"client={client} " in line
    assert printed("brindle", MEMBER) != printed("brindle", STRANGER)
    assert [site.get(f"{url}/list/json", client).status for client in (MEMBER, STRANGER)] == [200, 403]
    assert site.get(f"{url}/~brindle", ROBOT).status == 403
    assert b"Finger online user list denied" in printed("", STRANGER)

    # Whom a client names as itself is of no importance.
    for forged in (MEMBER, "127.0.0.1", f"{MEMBER}, 127.0.0.1", "unix", "nonsense"):
        spoofed = site.get(f"{url}/~brindle/text", STRANGER, "-H", f"X-Forwarded-For: {forged}")
        assert spoofed.body == printed("brindle", STRANGER), forged
        assert f"client={STRANGER} " in site.fingerd.logged('"GET /~brindle/text"')

    # A response passes as it is, and a request too.
    page = site.get(f"{url}/~brindle", STRANGER)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert site.get(f"{url}/~brindle", STRANGER, "-H", f"If-None-Match: {page.headers['etag']}").status == 304
    assert site.get(f"{url}/~brindle", STRANGER, "--head").status == 200
    assert site.get(f"{url}/?q=brindle", STRANGER).headers["location"].endswith("/~brindle")
    for path in ("/~a%2Fb", "/~%25", "/~%C3%A9%20x", "/~a%2F..%2F~brindle"):
        assert site.get(url + path, STRANGER).status == 404
        assert "outcome=unknown" in site.fingerd.logged(f'"GET {path}"')
    assert site.get(f"{url}/~brindle/feed", STRANGER).headers["content-type"] == "application/atom+xml"

    # No TLS, and the other host.
    moved = site.get(f"http://{PEOPLE}/~brindle?x=1", STRANGER)
    assert (moved.status // 100, moved.headers["location"]) == (3, f"{url}/~brindle?x=1")
    found = site.get(f"https://{DOMAIN}{WEBFINGER}", STRANGER)
    assert (found.status, found.headers["content-type"]) == (200, "application/jrd+json")
    assert found.headers["access-control-allow-origin"] == "*"
    assert found.json["subject"] == "acct:brindle@example.org"
    assert found.json["links"][0]["href"] == f"{url}/~brindle"
    assert f"client={STRANGER} " in site.fingerd.logged("webfinger")
    unknown = site.get(f"https://{DOMAIN}{WEBFINGER.replace('brindle', 'tansy')}", STRANGER)
    assert (unknown.status, unknown.headers["access-control-allow-origin"]) == (404, "*")
    assert b"Brindle" not in site.get(f"https://{DOMAIN}/~brindle", STRANGER).body


@pytest.mark.root
@needs("nginx")
@pytest.mark.parametrize("site", [True], indirect=True)
def test_nginx_in_front_by_tcp(site: Site) -> None:
    start_nginx(site)
    for client in (MEMBER, STRANGER):
        assert site.get(f"https://{PEOPLE}/~brindle/text", client).body == printed("brindle", client)
        assert f"client={client} " in site.fingerd.logged("/~brindle/text")
    refused = json.loads(site.inside("curl", "-sS", "http://127.0.0.1:8079/~brindle/json"))
    assert "X-Forwarded-For" in refused["error"]


@pytest.mark.root
@pytest.mark.usefixtures("site")
def test_the_host_asks_as_the_page_says(host: Machine) -> None:
    (command,) = re.findall(r"`(curl -H 'X-Forwarded-For: .*? --unix-socket [^`]*)`", PAGE)
    assert STRANGER in command
    shown = host.run("sh", "-c", command).stdout
    assert "<html" in shown
    assert "Counting the tides" in shown


@pytest.mark.root
@pytest.mark.usefixtures("site")
def test_only_the_web_server_s_group_may_use_the_socket(host: Machine) -> None:
    ask = ("curl", "-sS", "-H", f"X-Forwarded-For: {MEMBER}", "--unix-socket", "/run/fingerd/http.sock")
    asked = [
        host.run("setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups", *ask, "http://x/~zoe/text")
        for group in ("www-data", "nogroup")
    ]
    assert asked[0].stdout.encode() == printed("zoe", MEMBER).replace(b"\r\n", b"\n")
    assert asked[1].returncode == 7
    assert "Permission denied" in asked[1].stderr or "Couldn't connect" in asked[1].stderr


@needs("systemd-socket-activate")
def test_the_socket_unit_and_the_configuration_in_it(tmp_path: Path) -> None:
    """systemd itself is asked in the checks of the Debian package."""
    text = (RECIPES / "fingerd-http.socket").read_text()
    settings = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert settings["ListenStream"] == "/run/fingerd/http.sock"
    shown = re.findall(r"^# {5}(http:|  .*)$", text, re.MULTILINE)
    assert "  listen: {systemd: http}" in shown
    config, path = tmp_path / "fingerd.yaml", f"{tmp_path}/http.sock"
    config.write_text("\n".join(["listen: '127.0.0.1:0'", "backend: {type: empty}", *shown, ""]))
    activate = ["systemd-socket-activate", f"--fdname={settings['FileDescriptorName']}", f"--listen={path}"]
    command = [*activate, "--setenv=PYTHONPATH", *FINGERD, "-n", "-c", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_open(path))
            answer = parse(send(path, head("/~nobody", X_Forwarded_For=STRANGER)))
            assert (answer.status, "No such user" in answer.text) == (404, True)
            assert parse(send(path, head("/~nobody"))).status == 400
        finally:
            process.terminate()
