"""Named statements: what they may name of the domain."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import statements
from kube_job_runner.domain.states import TERMINAL, State

FILES = sorted(
    entry.name.removesuffix(".sql")
    for entry in resources.files("kube_job_runner.adapters.postgres").joinpath("queries").iterdir()
)
LIVE = {state.value for state in State} - {state.value for state in TERMINAL}
WHOLE_ROW = re.compile(r"(?:SELECT|DISTINCT|RETURNING|,)\s*\*|\w\.\*|\b(?:row_to_json|to_jsonb?)\(", re.IGNORECASE)
SOURCES = sorted(Path(postgres.__file__).parent.rglob("*.py"))
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


@pytest.mark.parametrize("file", FILES)
def test_a_statement_names_its_columns(file: str) -> None:
    """A statement with `*` has another result once a migration adds a column, and fails in a transaction that prepared it."""
    for name, text in statements.load(file).items():
        assert not WHOLE_ROW.search(re.sub(r"--.*", "", text)), f"{file}.{name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_so_does_the_sql_in_a_module(path: Path) -> None:
    assert not re.search(r"\b(?:SELECT|RETURNING) (?:\w+\.)?\*", path.read_text("utf-8"))
