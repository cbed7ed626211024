"""An LDAP server for tests: OpenLDAP's slapd on free loopback ports, with a certificate."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.ports import free_port
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
TLSCACertificateFile DIRECTORY/ca.pem
TLSCertificateFile DIRECTORY/server.pem
TLSCertificateKeyFile DIRECTORY/server.key
sizelimit size.soft=500 size.hard=500 size.prtotal=unlimited
OPTIONS
database mdb
maxsize 67108864
suffix {SUFFIX}
rootdn {READER}
rootpw "{PASSWORD}"
directory DIRECTORY
index uid eq
access to attrs=homePhone by users read by * none
access to attrs=employeeNumber by users read by * search
access to dn.subtree=ou=closed,{SUFFIX} by users read by * none
access to * by * read
"""


class Slapd:
    """A server with the entries of an LDIF. ``ldap``, ``ldaps`` and ``ldapi`` are its URLs."""

    def __init__(self, directory: Path, ldif: str, options: str = "") -> None:
        assert SLAPD
        directory.mkdir(exist_ok=True)
        # A copy: AppArmor restricts the program in /usr/sbin to its own directories.
        self._program = directory / "slapd"
        shutil.copy(SLAPD, self._program)
        self.ca = directory / "ca.pem"
        make_authority(directory)
        self._config = directory / "slapd.conf"
        self._config.write_text(CONFIG.replace("DIRECTORY", str(directory)).replace("OPTIONS", options))
        (directory / "people.ldif").write_text(ldif)
        run([f"{self._program}", "-T", "add", "-q", "-f", f"{self._config}", "-l", f"{directory}/people.ldif"])
        self.port, self.tls_port = free_port(), free_port()
        self.ldap, self.ldaps = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.ldapi = f"ldapi://{directory}/socket"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start or restart the server at the same URLs, and wait until it accepts connections."""
        escaped = self.ldapi.removeprefix("ldapi://").replace("/", "%2F")
        urls = f"{self.ldap} {self.ldaps} ldaps://127.0.0.2:{self.tls_port} ldapi://{escaped}"
        self._process = subprocess.Popen(
            [self._program, "-d", "0", "-f", self._config, "-h", urls],
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
        assert self._process.poll() is None, "slapd has exited"
        try:
            socket.create_connection(("127.0.0.1", self.tls_port), timeout=TIMEOUT).close()
        except OSError:
            return False
        return True

    def send(self, number: int) -> None:
        """Send a signal to the server."""
        assert self._process
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End the server."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(TIMEOUT)
            self._process = None


def make_authority(directory: Path) -> None:
    """Create a CA in ca.pem, and in server.pem with server.key a certificate by it for 127.0.0.1 and localhost."""
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    key = ["-subj", "/CN=test authority", "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.pem"]
    run([*make, *key])
    signed = ["-CA", f"{directory}/ca.pem", "-CAkey", f"{directory}/ca.key", "-subj", "/CN=server"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    run([*make, *signed, *names, "-keyout", f"{directory}/server.key", "-out", f"{directory}/server.pem"])


def run(command: list[str]) -> None:
    """Run a command that must succeed."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
