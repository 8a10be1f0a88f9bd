"""What is needed of leases: that of each component that watches or sweeps, one process works and the others stand by."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A leader's term: its writes are refused once the lease's epoch is another."""

    component: str
    epoch: int


class LeaseStore(Protocol):
    """Leases by component, on the database's clock: no clock of a process matters."""

    async def acquire(self, component: str, *, holder: str, lease_seconds: float) -> Fence | None:
        """Take the lease when nobody holds it, for `lease_seconds`; None when somebody does.

        Raises:
            DatabaseUnavailable: the database does not answer; the lease may have been taken, and will run out.
        """
        ...

    async def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        """Hold the lease for `lease_seconds` from now.

        Raises:
            LeaseLost: another process has taken it.
            DatabaseUnavailable: the database does not answer.
        """
        ...

    async def release(self, fence: Fence) -> None:
        """Give the lease back; one that another process has taken is left alone.

        Raises:
            DatabaseUnavailable: the database does not answer; the lease will run out.
        """
        ...
