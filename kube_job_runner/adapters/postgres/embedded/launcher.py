"""A script that becomes `postgres` or `initdb`. It runs in a new process, so that it can change its identity.

It ties the life of the server to ours: on Linux, PR_SET_PDEATHSIG sends SIGINT to the server when the parent ends, even by
SIGKILL, and PostgreSQL then shuts down fast and cleanly. It also changes a user that PostgreSQL refuses to run as: root, or a
uid without an entry in /etc/passwd. It imports no other module of ours, so that it starts within about 15 ms under
`python -I -S`.

Usage: launcher.py PARENT_PID IDENTITY PROGRAM [ARGUMENT...]; IDENTITY is `plain`, `namespace` or `setuid`.
"""

import ctypes
import os
import signal
import sys

NOBODY = 65534
NO_NAMESPACE = 71  # exit code: this machine does not allow a new user namespace

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def enter_namespace() -> None:
    """Become `nobody` in a new user namespace. Outside of it, files and signals still belong to the current user."""
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _write("/proc/self/uid_map", f"{NOBODY} {uid} 1")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{NOBODY} {gid} 1")


def become_nobody() -> None:
    """Change from root to `nobody`, irrevocably."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to send SIGINT when the parent's thread ends.

    It must come after every change of credentials, because such a change clears the request (prctl(2), PR_SET_PDEATHSIG).
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the request
        sys.exit(1)


def main(arguments: list[str]) -> None:
    """Change the identity, tie our life to the parent's, and become the program."""
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
