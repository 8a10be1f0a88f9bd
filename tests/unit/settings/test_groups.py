"""One default each: a setting's default is written in its group alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

import kube_job_runner
from kube_job_runner.settings import SETTINGS, Settings, load

PACKAGE = Path(kube_job_runner.__file__).parent
HOMES = {PACKAGE / "settings" / "groups.py", PACKAGE / "domain" / "limits.py"}
Default = tuple[str, ast.expr]


def _defaults(node: ast.AST) -> Iterator[Default]:
    """The names that a node gives a value to: arguments with a default, fields and constants."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        with_default = positional[len(positional) - len(arguments.defaults) :]
        yield from zip([each.arg for each in with_default], arguments.defaults, strict=True)
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if default is not None:
                yield each.arg, default
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value
    elif isinstance(node, ast.Assign):
        yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _number(node: ast.expr) -> float | None:
    """The value of a number, or of a product of numbers."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _number(node.left), _number(node.right)
        return None if left is None or right is None else left * right
    return None


def _repeated(source: str) -> list[str]:
    """The numbers in a module that repeat the default of a setting, under its name or a part of its name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for name, value in _defaults(node):
            number, bare = _number(value), name.lower().strip("_")
            found += [
                f"{name} = {number:g} is the default of {setting.variable}"
                for setting in SETTINGS.values()
                if number is not None and number == setting.field.default and f"_{setting.name}".endswith(f"_{bare}")
            ]
    return found


@pytest.mark.parametrize(
    ("source", "setting"),
    [
        ("def run(*, cleanup_delay_seconds: float = 300.0): ...", "KJR_CLEANUP_DELAY_SECONDS"),
        ("class Pace:\n    idle_seconds: float = 90", "KJR_WATCH_IDLE_SECONDS"),
        ("_SPEC_MAX_BYTES = 256 * 1024", "KJR_SPEC_MAX_BYTES"),
    ],
)
def test_a_second_default_is_found(source: str, setting: str) -> None:
    [found] = _repeated(source)
    assert found.endswith(setting)


def test_no_default_is_written_a_second_time() -> None:
    repeated = {
        path.relative_to(PACKAGE).as_posix(): found
        for path in sorted(PACKAGE.rglob("*.py"))
        if path not in HOMES and (found := _repeated(path.read_text()))
    }
    assert repeated == {}


def test_the_settings_of_an_empty_environment_are_the_defaults_of_the_groups() -> None:
    assert load(environ={}) == Settings()


def test_every_setting_has_a_name_of_its_own_and_a_default() -> None:
    fields = [field for group in structs.fields(Settings) for field in structs.fields(group.type)]
    assert sorted(SETTINGS) == sorted(field.encode_name for field in fields)
    assert not [setting.name for setting in SETTINGS.values() if setting.field.required]
