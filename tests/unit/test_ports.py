"""Ports stay small: at most six methods each."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from kube_job_runner import ports

PORTS = [kind for name in ports.__all__ if getattr(kind := getattr(ports, name), "_is_protocol", False)]


def methods(kind: type[Any]) -> set[str]:
    """Return the public methods that a class itself has."""
    return {name for name, value in vars(kind).items() if inspect.isfunction(value) and not name.startswith("_")}


def test_the_ports_are_found() -> None:
    assert len(PORTS) > 20


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_a_port_has_at_most_six_methods_or_only_joins_others(port: type[Any]) -> None:
    inherited = {name for base in port.__mro__[1:] for name in methods(base)}
    joins_others = methods(port) <= {"close"} and sum(1 for base in port.__mro__[1:] if base in PORTS) > 1
    assert joins_others or 0 < len(methods(port) | inherited) <= 6
