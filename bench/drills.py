"""Fault drills at full length: a server is away for a minute while jobs are submitted and run; the results are a table.

`python -m bench drills postgres` runs those of one server, on their own stage; several may run at the same time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from bench import table
from tests.support import drills, faults
from tests.support.drills import Outcome, Plan
from tests.support.stage import Stage

GROUPS = (*faults.SERVERS, "components", "tokens", "clocks", "watches", "slow-writes")
LONG_GROUPS = ("watches", "slow-writes")
LONG_FACTOR = 5  # a watch is away, and writes are slow, five times as long as a server is away
WRITE_SECONDS = 2.0
CLOCK_SECONDS = 600.0
ROTATION_SECONDS, MISSING_SECONDS = 10.0, 1.0
Fault = Callable[[], AbstractContextManager[Any]]


def drills_of(stage: Stage, group: str) -> list[tuple[str, Fault]]:
    """Return the drills of a group, by name."""
    if group in faults.SERVERS:
        return [(f"{group}, {how}", functools.partial(fault, stage, group)) for how, fault in faults.FAULTS.items()]
    names = stage.product.components
    if group == "components":
        return [(f"{name}, SIGKILL", functools.partial(faults.component_killed, stage, name)) for name in names]
    if group == "clocks":
        return [
            (f"clock of {name}, {ahead:+.0f} s", functools.partial(faults.clock_off, stage, name, ahead_seconds=ahead))
            for name in names
            for ahead in (CLOCK_SECONDS, -CLOCK_SECONDS)
        ]
    if group == "watches":
        return [
            (f"watch of {name}, {how}", functools.partial(faults.watch_away, stage, name, mode=how))
            for name in faults.WATCHERS
            for how in faults.WATCH_MODES
        ]
    if group == "slow-writes":
        slow = functools.partial(faults.writes_slow, stage, seconds=WRITE_SECONDS)
        return [(f"API server takes {WRITE_SECONDS:.0f} s per write", slow)]
    rotating = functools.partial(stage.rotating_tokens, every_seconds=ROTATION_SECONDS, missing_seconds=MISSING_SECONDS)
    return [(f"tokens rotated every {ROTATION_SECONDS:.0f} s", rotating)]


def main(*, groups: Sequence[str], fault_seconds: float) -> int:
    """Run the drills of these groups one after the other and print them; return how many broke a promise."""
    plan = Plan(
        fault_seconds=fault_seconds,
        before_seconds=10,
        after_seconds=10,
        jobs_per_second=2.0,
        runs_seconds=(0, 2, 10, 30),
        end_seconds=420,
    )
    broken = 0
    with Stage(cleanup_delay_seconds=5) as stage:
        for group in groups:
            for name, fault in drills_of(stage, group):
                seconds = fault_seconds * (LONG_FACTOR if group in LONG_GROUPS else 1)
                outcome = drills.run(stage, name, fault, msgspec.structs.replace(plan, fault_seconds=seconds))
                broken += bool(outcome.violations)
                _show(outcome)
    return broken


def _show(outcome: Outcome) -> None:
    header = ["drill", "length", "in flight", "submitted, of these during it", "lost", "doubled", "failed", "logs lost"]
    header += ["converged", "last start", "first submit accepted", "slowest answer to a submit"]
    row = [outcome.name, f"{outcome.fault_seconds:.0f} s", str(outcome.in_flight)]
    row += [f"{outcome.submitted}, {outcome.during}", str(outcome.lost), str(outcome.doubled), str(outcome.failed)]
    row += [str(outcome.logs_lost), f"{outcome.converged_seconds:.1f} s"]
    row += [f"{outcome.last_start_seconds:.1f} s", f"{outcome.first_accepted_seconds:.1f} s"]
    row += [f"{outcome.slowest_submit_seconds:.1f} s"]
    table.show(outcome.name, header, [row])
    print(f"\nwhile it lasted: submits {outcome.submits}; reads {outcome.reads}; /readyz {outcome.ready}")
    for text in outcome.violations:
        print(f"BROKEN: {text}")
    print(flush=True)
