"""The pace of the log-collector: its leases, retries, and pauses."""

from __future__ import annotations

import msgspec


class CollectPace(msgspec.Struct, frozen=True, kw_only=True):
    """How the log-collector works: its lease, its snapshots at once, and the pauses of its loops."""

    lease_seconds: float = 30.0
    snapshots_max: int = 16
    poll_seconds: float = 1.0
    pace_seconds: float = 0.25
    first_flush_seconds: float = 0.1
    flush_seconds: float = 0.3
    quiet_flush_seconds: float = 2.0
    retry_seconds: float = 0.5
    retry_max_seconds: float = 10.0
