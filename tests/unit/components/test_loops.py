"""Loops of components: they back off while something is unreachable, however long that takes."""

from __future__ import annotations

import asyncio

import pytest

from kube_job_runner.components import loops
from kube_job_runner.domain.errors import TemporaryError

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_a_long_outage_does_not_end_a_component() -> None:
    """More failures in a row than a float has powers of two."""
    stop = asyncio.Event()
    failures = 0

    async def one_round() -> float:
        nonlocal failures
        if failures == 1100:
            stop.set()
            return 0.0
        failures += 1
        raise TemporaryError("unreachable")

    loop = asyncio.get_running_loop()
    began = loop.time()
    await loops.repeat(one_round, stop=stop, what="test")
    assert loop.time() - began == pytest.approx(0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 1095 * 5.0)
