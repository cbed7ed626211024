"""TLS contexts of clients, and the CA certificates that they trust: those of a file, or the system's."""

import contextlib
import errno
import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

_BUNDLES = ("ca-certificates.crt", "ca-bundle.crt")  # in the system's directory of certificates


def client_context(ca_file: str | None = None, verify: bool = True) -> ssl.SSLContext:
    """A context that verifies certificates and host names, by those of a file and no others, or by the system's CAs.

    The certificates are loaded now, since a chroot has none; the system's only if they are in one file, as on Debian.
    ValueError if the file cannot be read, or contains none. Without ``verify``, any certificate is accepted.
    """
    try:
        if ca_file is not None and not stat.S_ISREG(os.stat(ca_file).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")  # opening a FIFO would wait
        context = ssl.create_default_context(cafile=ca_file)
        context.hostname_checks_common_name = False  # RFC 9525 2: names are those of subjectAltName
        # Python 3.13 sets it: then what `openssl req -x509` makes for one's own server could not be trusted any more.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    except OSError as error:
        cause = "contains no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"{ca_file}: {cause}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None and not _has_certificates(context) and (directory := _directory()):
        # OpenSSL would look for each certificate in the directory when it is needed.
        for bundle in _BUNDLES:
            with contextlib.suppress(OSError):
                context.load_verify_locations(directory / bundle)
    return context


def missing_certificates(context: ssl.SSLContext, root: Path, remedy: str) -> Iterator[str]:
    """A message, which ends with the remedy, if no certificate can be verified below ``root``."""
    if context.verify_mode == ssl.CERT_NONE or _has_certificates(context):
        return
    directory = _directory()
    if directory is None or not (root / directory.relative_to("/")).exists():
        yield f"no certificate can be verified: {remedy}"


def _has_certificates(context: ssl.SSLContext) -> bool:
    """Whether any was loaded; one that is no CA's is trusted as it is."""
    return context.cert_store_stats()["x509"] > 0


def _directory() -> Path | None:
    """The directory of the system's CA certificates, if it exists."""
    path = ssl.get_default_verify_paths().capath
    return Path(path).absolute() if path else None
