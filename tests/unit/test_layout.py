"""The shape of the house: names, sizes, folders, and where tests stand. A list of exceptions has no entry that is not needed."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kube_job_runner"
UNIT = ROOT / "tests" / "unit"
MODULE_LINES = 350
FUNCTION_LINES = 60

SAME_ROLE = {
    "client.py": "the adapter's connection to its server",
    "cluster.py": "the adapter's `ports.Cluster`",
    "connect.py": "how the adapter is opened",
    "errors.py": "what the SDK raises, and what the server raises: the SDK imports nothing of the server",
    "following.py": "the SDK, asynchronous and the generated synchronous one",
    "link.py": "the SDK, asynchronous and the generated synchronous one",
    "message_queue.py": "the adapter's `ports.MessageQueue`",
    "sdk.py": "the SDK, asynchronous and the generated synchronous one",
}
"""File names that stand in several folders, because the modules play the same role there."""

BEHAVIOURS = {
    "adapters/kubernetes/test_rbac.py": "the rights that are shipped against the requests of all modules",
    "adapters/local/test_escapes.py": "processes that leave their job's group, session and environment",
    "adapters/local/test_output.py": "logs of local jobs, from the process to the reader",
    "adapters/local/test_restart.py": "what a new runner finds of the jobs of an earlier one",
    "adapters/local/test_slots.py": "how many local jobs run at once",
    "adapters/local/test_starting.py": "the start of local jobs",
    "adapters/local/test_stopping.py": "the end of local jobs",
    "adapters/postgres/test_database_roles_page.py": "a page of reference",
    "adapters/simulated/test_lives.py": "the life of a simulated job in each mode",
    "adapters/sqs/test_failures.py": "failures of SQS through the whole adapter",
    "cli/test_import_budget.py": "what the commands import",
    "cli/test_reference.py": "a page of reference",
    "client/test_following.py": "both clients",
    "client/test_sdk.py": "both clients",
    "client/test_tracing.py": "the trace header of both clients",
    "client/test_waiting.py": "both clients",
    "domain/decide/test_lifecycle_matrix.py": "every state against every trigger",
    "domain/failures/test_corpus.py": "the whole table against messages from the field",
    "domain/decide/test_watched_time.py": "the clocks of all modules of decide",
    "domain/decide/test_permutations.py": "observations in any order",
    "settings/test_database_url_file.py": "one setting with two sources",
    "test_history_checker.py": "tests/support/history.py",
    "test_layout.py": "this one",
    "web/test_bad_requests.py": "the answers to a table of bad requests",
    "web/test_idempotency.py": "submits with a key, over HTTP",
    "web/test_trace_header.py": "the trace of a request, over HTTP",
}
"""Test modules that are about no single module, each with what it is about."""

TO_MOVE: set[str] = set()
"""Test modules that do not have the name and folder of what they test yet. This list may only become shorter."""

MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]
TESTS = [str(path.relative_to(UNIT)) for path in sorted(UNIT.rglob("test_*.py"))]


def test_a_file_name_stands_for_one_module() -> None:
    folders = defaultdict(set)
    for path in MODULES:
        folders[path.name].add(str(path.relative_to(PACKAGE).parent))
    shared = {name: found for name, found in folders.items() if len(found) > 1}
    assert shared.keys() == SAME_ROLE.keys(), shared


def test_modules_and_functions_are_short() -> None:
    texts = {path: path.read_text() for path in MODULES}
    assert [path for path, text in texts.items() if text.count("\n") > MODULE_LINES] == []
    functions = [
        (path, node.name)
        for path, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
    ]
    assert functions == []


def test_the_folders_are_those_of_the_architecture_page() -> None:
    _, _, table = (ROOT / "docs" / "architecture.md").read_text().partition("## The layout of the code\n")
    named = {name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)/`", row)}
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found == named | {"__init__.py", "__init__.pyi", "py.typed"}


def _has_subject(test: str) -> bool:
    room, _, name = test.rpartition("/")
    subject = (ROOT if room == "docs" else PACKAGE) / room / name.removeprefix("test_")
    return subject.is_file() or subject.with_suffix("").is_dir()


def test_a_test_module_has_the_name_of_what_it_tests() -> None:
    assert {test for test in TESTS if not _has_subject(test)} == BEHAVIOURS.keys() | TO_MOVE
