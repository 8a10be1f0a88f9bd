"""Leases of components: of each component that watches or sweeps, one process leads and the others stand by."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A leader's term. Its writes are refused after the lease has another epoch."""

    component: str
    epoch: int


class LeaseStore(Protocol):
    """Leases by component. Their times are the database's: the clocks of processes do not matter."""

    async def acquire(self, component: str, *, holder: str, lease_seconds: float) -> Fence | None:
        """Take the lease for `lease_seconds`; return None when another process holds it.

        Raises:
            DatabaseUnavailable: the database does not answer. The lease may be taken; it then expires.
        """
        ...

    async def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        """Extend the lease to `lease_seconds` from now.

        Raises:
            LeaseLost: another process has taken it.
            DatabaseUnavailable: the database does not answer.
        """
        ...

    async def release(self, fence: Fence) -> None:
        """Give the lease back, unless another process has taken it.

        Raises:
            DatabaseUnavailable: the database does not answer. The lease expires.
        """
        ...
