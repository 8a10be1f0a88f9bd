"""The components, one row each: how each runs, and what it needs. docs/architecture.md says how to add one.

`tests/unit/bootstrap/test_components.py` compares the rows with the rights in PostgreSQL, the chart and the documentation.
"""

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from kube_job_runner.bootstrap import builders
from kube_job_runner.bootstrap.adapter_kinds import cluster_kind, external_queue
from kube_job_runner.bootstrap.builders import Parts
from kube_job_runner.components import (
    log_collector,
    messages_processor,
    outbox_relay,
    sweeper,
    watchers,
    web_server,
)
from kube_job_runner.components.leader_loop import Leadership
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports import Clock, Fence
from kube_job_runner.ports.checks import ClusterUse
from kube_job_runner.services.readiness import DepthMeter, Probe, round_age, watch_age
from kube_job_runner.settings import Settings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

Work = Coroutine[Any, Any, None]


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """What a component is. It has either `run` or `lead`."""

    name: str
    run: Callable[[Parts], Work] | None = None
    """How it works: until `parts.stop`. Any number of processes do so at once."""
    lead: Callable[[Parts, Fence], Work] | None = None
    """How it works for one term as the leader. One process leads at a time, the others stand by. It writes with the fence."""
    cluster: tuple[ClusterUse, ...] = ()
    """What it does with the cluster. None: it makes no request to the cluster."""
    queue: bool = False
    """Whether it uses a queue outside the database, where there is one. The others send only through the database."""
    relays: bool = False
    """Whether it exists only with a queue outside the database."""
    serves: bool = False
    """Whether it serves the API, and the probes of its process with it."""
    traced: bool = False
    """Whether it makes spans."""
    rounds: bool = False
    """Whether it is ready only while its rounds end well."""
    watches: str = ""
    """The kind of watch that it must hear from, to be ready as the leader."""

    def start(self, parts: Parts) -> Work:
        """Return its work in this process, to be awaited."""
        if (lead := self.lead) is not None:
            return parts.leaders[self.name].run(lambda fence: lead(parts, fence), stop=parts.stop)
        assert self.run is not None
        return self.run(parts)

    def probes(self, settings: Settings, clock: Clock, leaders: Mapping[str, Leadership]) -> dict[str, Probe]:
        """Return its part of readiness, by the name of the check."""
        if self.rounds:
            return {self.name: round_age(self.name, clock)}
        if not self.watches or not cluster_kind(settings).remote:  # the watches of other kinds may be silent
            return {}
        heard, leader = watch_age(self.watches, clock), leaders[self.name]
        return {f"watch-{self.watches}s": lambda: heard() if leader.leads else None}


def _web_server(parts: Parts) -> Work:
    def ready(url: str) -> None:
        log.info("listening", action="web.listen", url=url)
        if parts.on_ready is not None:
            parts.on_ready(url)

    clock = parts.pg.clock()
    app = builders.web_app(parts, clock, tracer=parts.tracer_of("web-server"))
    serving = web_server.run(app, parts.settings, parts.stop, ready)
    return web_server.run_in_sync(serving, clock, stop=parts.stop)


def _messages_processor(parts: Parts) -> Work:
    return messages_processor.run(
        builders.processor(parts, tracer=parts.tracer_of("messages-processor")),
        pipelines=parts.settings.batches.pipelines,
        stop=parts.stop,
        drain_seconds=parts.settings.process.drain_seconds,
    )


def _watch_jobs(parts: Parts, fence: Fence) -> Work:
    metrics.watch_heard.beat("job")  # its age counts from now, because another process led before
    return watchers.run(builders.observer("job", parts, parts.pg.fenced(fence)), stop=parts.stop)


def _watch_pods(parts: Parts, fence: Fence) -> Work:
    metrics.watch_heard.beat("pod")
    fenced = parts.pg.fenced(fence)
    text = functools.partial(builders.observer, "event", parts, fenced)
    return watchers.run(builders.observer("pod", parts, fenced), stop=parts.stop, text=text)


def _log_collector(parts: Parts) -> Work:
    return log_collector.run(builders.collector(parts, tracer=parts.tracer_of("log-collector")), stop=parts.stop)


def _sweep(parts: Parts, fence: Fence) -> Work:
    fenced = parts.pg.fenced(fence)
    return sweeper.run(
        builders.sweeper(parts, fenced),
        settings=parts.settings.sweep,
        stop=parts.stop,
        reconciler=builders.reconciler(parts, fenced),
        depth=DepthMeter(parts.pg.health),
    )


def _relay(parts: Parts) -> Work:
    return outbox_relay.run(
        builders.relay(parts),
        pipelines=parts.settings.batches.pipelines,
        stop=parts.stop,
        drain_seconds=parts.settings.process.drain_seconds,
    )


ROWS = (
    Component(name="web-server", run=_web_server, serves=True, traced=True),
    Component(
        name="messages-processor", run=_messages_processor, cluster=("create",), queue=True, traced=True, rounds=True
    ),
    Component(name="job-status-processor", lead=_watch_jobs, cluster=("watch_jobs",), watches="job"),
    Component(name="pod-events-processor", lead=_watch_pods, cluster=("watch_pods",), watches="pod"),
    Component(name="log-collector", run=_log_collector, cluster=("read_logs",), traced=True, rounds=True),
    Component(name="sweeper", lead=_sweep, cluster=("reconcile",), rounds=True),
    Component(name="outbox-relay", run=_relay, queue=True, relays=True),
)
BY_NAME: Mapping[str, Component] = {row.name: row for row in ROWS}


def all_components(settings: Settings) -> tuple[Component, ...]:
    """Return the components of an installation with these settings.

    Raises:
        ConfigurationError: KJR_QUEUE cannot be read.
    """
    outside = external_queue(settings.queue) is not None
    return tuple(row for row in ROWS if outside or not row.relays)


def named(names: Sequence[str], settings: Settings) -> tuple[Component, ...]:
    """Return the components of these names; all of the installation when none is named.

    Raises:
        ConfigurationError: there is no component of that name, or KJR_QUEUE cannot be read.
    """
    everything = all_components(settings)
    if unknown := sorted(set(names) - BY_NAME.keys()):
        known = ", ".join(row.name for row in everything)
        raise ConfigurationError(f"unknown component {', '.join(unknown)}; there are: {known}")
    return tuple(BY_NAME[name] for name in dict.fromkeys(names)) or everything
