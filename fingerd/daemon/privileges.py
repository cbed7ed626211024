"""Who the daemon becomes, and giving up root for good: groups and gid before the uid, then a check of all of them."""

import os
from dataclasses import dataclass

from fingerd.errors import StartError
from fingerd.settings import Process


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the daemon is in the end. ``groups`` are the supplementary ones, None where they stay as they are."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None

    @classmethod
    def of(cls, process: Process) -> "Identity":
        """The owner that the settings mean; StartError with exit code 77 where only root could become that."""
        user = process.user
        uid = os.getuid() if user is None else user.uid
        gid = process.group if process.group is not None else os.getgid() if user is None else user.gid
        if (uid, gid) == (os.getuid(), os.getgid()):
            return cls(uid, gid, None)
        if os.getuid() != 0:
            raise StartError(f"only root can become another user (uid {uid}, gid {gid})", os.EX_NOPERM)
        return cls(uid, gid, tuple(sorted({gid, *(os.getgrouplist(user.name, gid) if user and user.name else ())})))


def drop_privileges(owner: Identity) -> None:
    """Change groups and user for good, and nothing else; StartError where that is not allowed, or could be undone."""
    if owner.groups is None:
        return
    try:
        os.setgroups(owner.groups)
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
    except OSError as error:
        raise StartError(f"cannot become uid {owner.uid}, gid {owner.gid}: {error.strerror}", os.EX_NOPERM) from error
    verify_dropped(owner)


def verify_dropped(owner: Identity) -> None:
    """StartError where this process is not wholly what it should be, or could be root again."""
    if os.getresuid() != (owner.uid,) * 3 or os.getresgid() != (owner.gid,) * 3:
        raise StartError(f"still uid {os.getresuid()}, gid {os.getresgid()}", os.EX_SOFTWARE)
    if owner.groups is not None and not set(os.getgroups()) <= set(owner.groups):
        raise StartError(f"still in the groups {os.getgroups()}", os.EX_SOFTWARE)
    if owner.uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise StartError("root could be had back", os.EX_SOFTWARE)
