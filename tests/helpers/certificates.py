"""Certificates for tests, by openssl: an authority, and servers' certificates with whatever is wrong with them."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CONFIG = """\
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """A certificate authority in a folder of its own; ``ca`` is the file with its certificate."""

    def __init__(self, folder: Path, name: str = "Test authority") -> None:
        folder.mkdir()
        self._folder = folder
        self.ca = folder / "ca.pem"
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(_CONFIG.format(folder=folder))
        files = ("-keyout", f"{folder}/ca.key", "-out", f"{self.ca}")
        use = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl("req", "-x509", *_NEW_KEY, "-days", "30", "-subj", f"/CN={name}", *use, *files)

    def issue(
        self, *names: str, days: tuple[float, float] = (-1, 7), usage: str = "serverAuth", is_authority: bool = False
    ) -> Path:
        """A file with a certificate for these names (``DNS:example.org``, ``IP:::1``), and its key.

        ``days`` are those of its beginning and end, from now.
        """
        number = len(list(self._folder.iterdir()))
        file, request = self._folder / f"server-{number}.pem", self._folder / "request.pem"
        begins, ends = (f"{datetime.now(UTC) + timedelta(day):%Y%m%d%H%M%SZ}" for day in days)
        extensions = [f"subjectAltName={','.join(names)}", f"extendedKeyUsage={usage}"]
        if is_authority:
            extensions.append("basicConstraints=critical,CA:TRUE")
        added = [part for extension in extensions for part in ("-addext", extension)]
        _openssl("req", *_NEW_KEY, "-subj", "/CN=server", *added, "-keyout", f"{file}.key", "-out", f"{request}")
        dates = ("-startdate", begins, "-enddate", ends)
        config = f"{self._folder}/ca.cnf"
        _openssl("ca", "-batch", "-notext", "-config", config, *dates, "-in", f"{request}", "-out", f"{file}")
        file.write_bytes(file.read_bytes() + Path(f"{file}.key").read_bytes())
        return file


def self_signed(file: Path, name: str, common_name: str = "server") -> Path:
    """Write a file with a certificate that has signed itself, and its key; an empty ``name`` is none."""
    subject = ("-subj", f"/CN={common_name}", *(("-addext", f"subjectAltName={name}") if name else ()))
    _openssl("req", "-x509", *_NEW_KEY, "-days", "7", *subject, "-keyout", f"{file}.key", "-out", f"{file}")
    file.write_bytes(file.read_bytes() + Path(f"{file}.key").read_bytes())
    return file


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
