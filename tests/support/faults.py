"""The faults of the drills, each a context manager: the fault lasts as long as its block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.support.proxy import Mode
from tests.support.stage import Stage


@contextlib.contextmanager
def stopped(stage: Stage, server: str) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end."""
    stage.stop(server)
    try:
        yield
    finally:
        stage.go_on(server)


@contextlib.contextmanager
def killed(stage: Stage, server: str) -> Iterator[None]:
    """SIGKILL, and a start on the same data at the end."""
    stage.kill(server)
    try:
        yield
    finally:
        stage.start(server)


@contextlib.contextmanager
def swallowed(stage: Stage, server: str) -> Iterator[None]:
    """The network keeps connections open but drops everything; connections from this time stay dead afterwards."""
    stage.set_network(server, "swallow")
    try:
        yield
    finally:
        stage.set_network(server, "pass")


@contextlib.contextmanager
def watch_away(stage: Stage, component: str, *, mode: Mode) -> Iterator[None]:
    """Cut one component off from the API server. All others, and the nodes, still reach it."""
    stage.cluster_proxies[component].set_mode(mode)
    try:
        yield
    finally:
        stage.cluster_proxies[component].set_mode("pass")


@contextlib.contextmanager
def writes_slow(stage: Stage, *, seconds: float) -> Iterator[None]:
    """Let each write to the API server take so long."""
    with stage.slow_writes(seconds=seconds) as slow:
        yield
        assert slow.writes > 0, "no write went through the slow server"


@contextlib.contextmanager
def component_killed(stage: Stage, component: str) -> Iterator[None]:
    """SIGKILL of a component, and a start at the end."""
    stage.product.kill(component)
    try:
        yield
    finally:
        stage.product.start(component)


@contextlib.contextmanager
def clock_off(stage: Stage, component: str, *, ahead_seconds: float) -> Iterator[None]:
    """Restart a component with a wrong clock, and at the end with the right one."""
    for seconds in (ahead_seconds, None):
        stage.product.kill(component)
        stage.product.start(component, clock_ahead_seconds=seconds or 0)
        if component == "web-server":
            stage.product.wait_ready()
        if seconds is not None:
            yield


FAULTS = {"SIGSTOP": stopped, "SIGKILL": killed, "swallow": swallowed}
SERVERS = ("postgres", "elasticmq", "kube-apiserver")
WATCHERS = ("job-status-processor", "pod-events-processor")
WATCH_MODES: tuple[Mode, ...] = ("reset", "swallow")
