"""Dropping privileges: supplementary groups and gid before the uid, then a check that root cannot be regained."""

import os
from dataclasses import dataclass

from fingerd.errors import StartError
from fingerd.settings import Process


@dataclass(frozen=True, slots=True)
class Identity:
    """The uid, gid and supplementary groups of the running daemon; ``groups`` is None if nothing is to be changed."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None

    @classmethod
    def of(cls, process: Process) -> "Identity":
        """The configured identity. Raises StartError (exit code 77) if this process may not switch to it."""
        user = process.user
        uid = os.getuid() if user is None else user.uid
        gid = process.group if process.group is not None else os.getgid() if user is None else user.gid
        if (uid, gid) == (os.getuid(), os.getgid()):
            return cls(uid, gid, None)
        if os.getuid() != 0:
            raise StartError(f"only root can become another user (uid {uid}, gid {gid})", os.EX_NOPERM)
        return cls(uid, gid, tuple(sorted({gid, *(os.getgrouplist(user.name, gid) if user and user.name else ())})))


def drop_privileges(identity: Identity) -> None:
    """Switch to the identity for good. Raises StartError if that is not permitted, or can be undone."""
    if identity.groups is not None:  # else no call at all: a sandbox may forbid them
        uid, gid = identity.uid, identity.gid
        try:
            os.setgroups(identity.groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        except OSError as error:
            raise StartError(f"cannot become uid {uid}, gid {gid}: {error.strerror}", os.EX_NOPERM) from error
    verify_dropped(identity)


def verify_dropped(identity: Identity) -> None:
    """Raises StartError (exit code 70) if this process does not have the identity alone, or can become root again."""
    if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3:
        wrong = f"still uid {os.getresuid()}, gid {os.getresgid()}"
    elif identity.groups is not None and not set(os.getgroups()) <= set(identity.groups):
        wrong = f"still in the groups {os.getgroups()}"
    elif identity.uid == 0:
        return
    else:
        try:
            os.setuid(0)
        except OSError:  # EPERM; EINVAL in a user namespace without a uid 0
            return
        wrong = "setuid(0) succeeded"
    raise StartError(f"privileges not dropped: {wrong}", os.EX_SOFTWARE)
