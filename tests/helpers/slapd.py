"""A directory server of the tests' own: OpenLDAP's slapd, on free ports of loopback, with a certificate to show."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.requirements import find, needs

SLAPD = find("slapd")
SUFFIX = "dc=example,dc=org"
READER, PASSWORD = f"cn=reader,{SUFFIX}", "s3cret, and long"

needs_slapd = needs("slapd", "openssl")

CONFIG = f"""\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile FOLDER/ca.pem
TLSCertificateFile FOLDER/server.pem
TLSCertificateKeyFile FOLDER/server.key
sizelimit size.soft=500 size.hard=500 size.prtotal=unlimited
OPTIONS
database mdb
maxsize 67108864
suffix {SUFFIX}
rootdn {READER}
rootpw "{PASSWORD}"
directory FOLDER
index uid eq
access to attrs=homePhone by users read by * none
access to dn.subtree=ou=closed,{SUFFIX} by users read by * none
access to * by * read
"""


class Slapd:
    """A server that knows what an LDIF says. ``ldap``, ``ldaps`` and ``ldapi`` are its addresses."""

    def __init__(self, folder: Path, ldif: str, options: str = "") -> None:
        assert SLAPD
        folder.mkdir(exist_ok=True)
        # A copy: where AppArmor is on, it keeps the program in /usr/sbin to folders of its own.
        self._program = folder / "slapd"
        shutil.copy(SLAPD, self._program)
        self.ca = folder / "ca.pem"
        make_authority(folder)
        self._config = folder / "slapd.conf"
        self._config.write_text(CONFIG.replace("FOLDER", str(folder)).replace("OPTIONS", options))
        (folder / "people.ldif").write_text(ldif)
        run([f"{self._program}", "-T", "add", "-q", "-f", f"{self._config}", "-l", f"{folder}/people.ldif"])
        self.port, self.tls_port = free_port(), free_port()
        self.ldap, self.ldaps = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.ldapi = f"ldapi://{folder}/socket"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, again where it has been stopped, at the same addresses; it answers then."""
        escaped = self.ldapi.removeprefix("ldapi://").replace("/", "%2F")
        addresses = f"{self.ldap} {self.ldaps} ldaps://127.0.0.2:{self.tls_port} ldapi://{escaped}"
        self._process = subprocess.Popen(
            [self._program, "-d", "0", "-f", self._config, "-h", addresses],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(self._listens)
        except BaseException:
            self.stop()
            raise

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, "slapd has ended"
        try:
            socket.create_connection(("127.0.0.1", self.tls_port), timeout=TIMEOUT).close()
        except OSError:
            return False
        return True

    def send(self, number: int) -> None:
        """Have a signal sent to it."""
        assert self._process
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(TIMEOUT)
            self._process = None


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def make_authority(folder: Path) -> None:
    """Make ca.pem, and server.pem with server.key for 127.0.0.1 and localhost, which it has signed."""
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    key = ["-subj", "/CN=test authority", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem"]
    run([*make, *key])
    signed = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-subj", "/CN=server"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    run([*make, *signed, *names, "-keyout", f"{folder}/server.key", "-out", f"{folder}/server.pem"])


def run(command: list[str]) -> None:
    """Run a command that must do well."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
