"""The sockets that the daemon's side still has, those included that the kernel keeps after the daemon closed them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.soak.attacks.configurations import HTTP_PORT, PORT

# include/net/tcp_states.h
TCP_STATES = {
    "01": "ESTABLISHED",
    "04": "FIN-WAIT-1",
    "05": "FIN-WAIT-2",
    "08": "CLOSE-WAIT",
    "09": "LAST-ACK",
    "0B": "CLOSING",
}  # TIME-WAIT is a small record of the kernel, and a handshake that is not complete is none of the daemon's


def daemon_sockets(unix_path: Path) -> Counter[str]:
    """Those of this network namespace, by state: of TCP at both ports, and of the unix listener at the path."""
    states = Counter(state for family in ("tcp", "tcp6") for state in _tcp(Path(f"/proc/self/net/{family}")))
    for line in Path("/proc/self/net/unix").read_text().splitlines():
        *_, flags, _, _, _, path = line.split(maxsplit=7) if line.count(" ") >= 7 else ("", "", "", "", "")
        if path == str(unix_path) and flags == "00000000":  # the listener has a flag
            states["UNIX"] += 1
    return states


def _tcp(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines()[1:]:
        fields = line.split()
        local, code, inode = fields[1], fields[3], fields[9]
        if int(local.rpartition(":")[2], 16) not in (PORT, HTTP_PORT):
            continue
        state = TCP_STATES.get(code)
        if state == "FIN-WAIT-2" and inode == "0":  # all was taken; the kernel keeps a small record for a minute
            continue
        if state:
            yield state
