"""File descriptors: how many this process may open, and how many of them connections of the web server may take."""

import resource

WANTED = 16_384
"""The soft limit that is asked for. Jobs of the local cluster inherit it, so it is not the highest that is possible."""
KEPT = 512
"""Descriptors that connections leave to the database, the cluster, logs and local jobs."""


def raise_limit() -> int:
    """Raise the soft limit of open files towards `WANTED`, as far as the hard limit allows. Return the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a sandbox may refuse it
        return soft
    return wanted


def connections_max(wanted: int, *, limit: int) -> int:
    """Return how many connections a server accepts: `wanted`, or fewer so that they stay below the limit of open files."""
    return max(8, min(wanted, limit - KEPT if limit >= 4 * KEPT else limit // 2))
