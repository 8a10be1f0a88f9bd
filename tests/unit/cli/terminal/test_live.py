"""The live phase line ends as text."""

from __future__ import annotations

import re

from tests.support.terminal import on_terminal
from tests.unit.cli.processes import KJR, environ
from tests.unit.cli.stub import Stub


def test_the_living_phase_line_ends_as_text(stub: Stub) -> None:
    with on_terminal([*KJR, "run", "never-started"], environ(stub)) as terminal:
        assert terminal.finish() == 125
    (job_id,) = stub.jobs
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.screen.decode())
    *_, phases, last = screen.rstrip().splitlines()
    assert re.search(r"✓ queued [0-9.]+s  starting [0-9.]+s$", phases.rstrip())
    assert last == f"kjr: job {job_id} failed: ImageNotFound: About ImageNotFound. (docs: kjr explain ImageNotFound)"
