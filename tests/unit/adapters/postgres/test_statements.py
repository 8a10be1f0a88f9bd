"""Named statements: what they may name of the domain."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.domain.states import TERMINAL, State

FILES = sorted(
    entry.name.removesuffix(".sql")
    for entry in resources.files("kube_job_runner.adapters.postgres").joinpath("queries").iterdir()
)
LIVE = {state.value for state in State} - {state.value for state in TERMINAL}
STATES = re.compile(r"\bstate (?:NOT )?IN \(([^)]+)\)|ARRAY\[([^]]+)\]\) AS s \(state\)")


@pytest.mark.parametrize("file", FILES)
def test_a_list_of_states_is_all_terminal_ones_or_all_live_ones(file: str) -> None:
    for name, text in statements.load(file).items():
        for found in STATES.finditer(text):
            states = set(re.findall(r"'(\w+)'", found[1] or found[2]))
            assert states in ({state.value for state in TERMINAL}, LIVE), f"{file}.{name}: {sorted(states)}"


@pytest.mark.parametrize("file", FILES)
def test_every_statement_has_a_line_that_describes_it_and_no_marker_left(file: str) -> None:
    for name, text in statements.load(file).items():
        assert text.startswith("-- "), name
        assert not re.search(r"\{\w+\.\w+", text), name
