"""What the process becomes: its user, groups, folders and files, as ``process:`` says."""

import os
from dataclasses import dataclass
from typing import Annotated

from fingerd.config.system_options import User, read_file, read_folder, read_group, read_mode, read_path, read_user
from fingerd.errors import StartError


@dataclass(frozen=True, slots=True)
class Process:
    """What the process becomes once everything is bound."""

    user: Annotated[User, read_user] | None = None
    group: Annotated[int, read_group] | None = None
    chroot: Annotated[str, read_folder] | None = None
    rundir: Annotated[str, read_path] = "/"
    umask: Annotated[int, read_mode] = 0o027
    pidfile: Annotated[str, read_file] | None = None

    def __post_init__(self) -> None:
        seen = os.path.join(self.chroot or "/", self.rundir.lstrip("/"))
        if not os.path.isdir(seen):
            raise ValueError(f"there is no folder {seen} to run in")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who the daemon is in the end. ``groups`` are the supplementary ones, None where they stay as they are."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None

    @classmethod
    def of(cls, process: Process) -> "Owner":
        """The owner that the settings mean; StartError with exit code 77 where only root could become that."""
        user = process.user
        uid = os.getuid() if user is None else user.uid
        gid = process.group if process.group is not None else os.getgid() if user is None else user.gid
        if (uid, gid) == (os.getuid(), os.getgid()):
            return cls(uid, gid, None)
        if os.getuid() != 0:
            raise StartError(f"only root can become another user (uid {uid}, gid {gid})", os.EX_NOPERM)
        return cls(uid, gid, tuple(sorted({gid, *(os.getgrouplist(user.name, gid) if user and user.name else ())})))
