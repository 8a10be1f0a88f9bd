"""Becomes `postgres` or `initdb`: run as a script, in a process of its own, so that it may change what it is.

It ties the server's life to ours (Linux: PR_SET_PDEATHSIG, so that even a SIGKILL of the parent stops it by SIGINT, which
PostgreSQL takes as a fast, clean shutdown), and leaves the user that PostgreSQL refuses to run as: root, or a uid without
a passwd entry. It imports nothing of ours: it starts in some 15 ms under `python -I -S`.

Usage: launcher.py PARENT_PID IDENTITY PROGRAM [ARGUMENT...]; IDENTITY is `plain`, `namespace` or `setuid`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

NOBODY = 65534
NO_NAMESPACE = 71  # exit code: this machine does not let us make a user namespace

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def enter_namespace() -> None:
    """Become `nobody` in a new user namespace: outside, files and signals stay those of the user we are."""
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _write("/proc/self/uid_map", f"{NOBODY} {uid} 1")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{NOBODY} {gid} 1")


def become_nobody() -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGINT when the parent's thread ends; must come after every change of credentials."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)


def main(arguments: list[str]) -> None:
    """Change identity, tie our life to the parent, and become the program."""
    parent, identity, program = int(arguments[0]), arguments[1], arguments[2]
    if identity == "namespace":
        try:
            enter_namespace()
        except OSError:
            sys.exit(NO_NAMESPACE)
    elif identity == "setuid":
        become_nobody()
    die_with_parent(parent)
    os.umask(0o077)
    os.execv(program, arguments[2:])  # noqa: S606  no shell on purpose


if __name__ == "__main__":
    main(sys.argv[1:])
