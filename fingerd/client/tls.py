"""TLS for ``--tls``: certificates and host names are verified, and each failure is one line in plain words.

``ssl`` takes longer to import than the rest of pyfinger, so ``cli`` loads this module only where it is needed.
"""

import errno
import re
import socket
import ssl

from fingerd.net.stream import is_ipv6_address
from fingerd.net.tls import client_context

_UNKNOWN_ISSUER = "is from an authority that is not trusted here; name a file of authorities with --ca"
# By OpenSSL's codes (X509_V_ERR_*), of which ssl has no names.
_CERTIFICATE_FAULTS = {
    2: _UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT
    9: "is not valid yet, or this machine's clock is wrong",  # CERT_NOT_YET_VALID
    10: "has expired, or that of its authority has",  # CERT_HAS_EXPIRED
    18: "is self-signed, and no file of --ca has it",  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: _UNKNOWN_ISSUER,  # SELF_SIGNED_CERT_IN_CHAIN
    20: _UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _UNKNOWN_ISSUER,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    26: "is not for servers",  # INVALID_PURPOSE
    62: "is for another host",  # HOSTNAME_MISMATCH
    64: "is for another host",  # IP_ADDRESS_MISMATCH
}
_ALERT = re.compile(r"(?:SSLV3_ALERT|TLSV1_ALERT|TLSV13_ALERT|TLSV1)_")  # how reasons begin that the server has sent
# What OpenSSL says of a first record that is none.
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
_TOO_OLD = {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"}


class Tls:
    """Starts TLS 1.2 or newer on connections, and trusts the CAs of a file, or the system's without one.

    ValueError, which names the file, if it cannot be read or has no certificates.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        self._context = client_context(ca_file)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever the system's openssl.cnf allows

    def start(self, connection: socket.socket, host: str) -> socket.socket:
        """The connection within TLS, to a server whose certificate is valid for ``host``, a name or an address.

        The timeout of the connection is the time for the whole handshake. Raises OSError, and closes the connection, if
        it fails. An end of the stream that TLS does not announce is an error (``cause_of``): Finger has no other mark
        of where an answer ends, so anybody on the way could cut it.
        """
        name = _certified_name(host)
        if name is None:
            connection.close()
            raise OSError(errno.EINVAL, "no certificate can be valid for this name")
        try:
            return self._context.wrap_socket(connection, server_hostname=name, suppress_ragged_eofs=False)
        except ssl.SSLCertVerificationError:
            raise
        except TimeoutError as error:
            raise OSError(errno.ETIMEDOUT, "no TLS handshake in time: is it a port for TLS?") from error
        except (ssl.SSLEOFError, ConnectionError) as error:
            raise OSError(errno.EPROTO, "closed during the TLS handshake: is it a port for TLS?") from error

    @staticmethod
    def cause_of(error: OSError) -> str:
        """Why a handshake, or reading and writing after it, has failed."""
        if isinstance(error, ssl.SSLCertVerificationError):
            fault = _CERTIFICATE_FAULTS.get(error.verify_code)
            return f"the certificate {fault or f'is not valid: {error.verify_message}'}"
        if isinstance(error, ssl.SSLEOFError):
            return "the connection ended, and TLS had not announced it (close_notify)"
        if not isinstance(error, ssl.SSLError):
            return error.strerror or str(error)
        reason = error.reason or ""
        if reason in _NO_TLS:
            return "the server does not speak TLS on that port"
        if reason in _TOO_OLD:
            return "the server has no TLS 1.2 or newer"
        words = _ALERT.sub("", reason).replace("_", " ").lower()
        return f"the server refuses TLS: {words}" if _ALERT.match(reason) else f"TLS: {words or error.strerror}"


def _certified_name(host: str) -> str | None:
    """The name that the certificate must have: an address without its zone, a name without the dot of the root.

    None for what cannot be a name: ``ssl`` would leave the connection open.
    """
    name = host.partition("%")[0] if is_ipv6_address(host) else host.removesuffix(".")
    try:
        name.encode("idna")
    except UnicodeError:
        return None
    return name
