"""The `Cluster` port on a Kubernetes API server: one Job per attempt, two requests per job (create, delete)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from urllib.parse import quote

import msgspec

from kube_job_runner.adapters.kubernetes import answers, decode, examine, inventory, manifest, podlogs
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource, CredentialSource
from kube_job_runner.adapters.kubernetes.decode import Facts, Item
from kube_job_runner.adapters.kubernetes.discovery import discover
from kube_job_runner.adapters.kubernetes.execplugin import ExecSource
from kube_job_runner.adapters.kubernetes.informer import Informer
from kube_job_runner.adapters.kubernetes.known_objects import Known, KnownEvents
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig
from kube_job_runner.adapters.kubernetes.watched_namespace import Kind, Tuning, WatchStats, Wiring
from kube_job_runner.domain import names
from kube_job_runner.domain.errors import NameTaken, TemporaryError
from kube_job_runner.domain.facts import Condition, EventFacts, JobFacts, PodFacts
from kube_job_runner.ports import ClusterJob, OwnedObject, SeenEvent, SeenJob, SeenPod, Unlisted, WatchEvent
from kube_job_runner.ports.findings import Finding
from kube_job_runner.settings import KubernetesEnvironment
from kube_job_runner.settings.groups import ClusterSettings
from kube_job_runner.telemetry import loggers

ALL_NAMESPACES = "*"

_log = loggers.get_logger(__name__)
_encoder = msgspec.json.Encoder()


class KubernetesCluster:
    """One cluster, as `ports.Cluster`. The watches may run at once, and each more than once."""

    def __init__(
        self,
        client: Client,
        *,
        instance: str,
        installation: str = "",
        namespaces: tuple[str, ...],
        tuning: Tuning,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._instance = instance
        self._installation = installation
        self._scopes: tuple[str | None, ...] = (
            (None,) if ALL_NAMESPACES in namespaces else tuple(dict.fromkeys(namespaces))
        )
        selector = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY},{names.INSTANCE_LABEL}={instance}"
        self._by_label = f"labelSelector={quote(selector, safe='')}"
        self._tuning = tuning
        self._monotonic = monotonic
        self._sleep = sleep
        self._now = now
        self.watch_stats: Mapping[Kind, WatchStats] = {kind: WatchStats() for kind in get_args(Kind)}

    async def examine(self, components: Collection[str]) -> list[Finding]:
        """Return what `kjr doctor` tells of this cluster: version, and the rights that these components need."""
        return await examine.examine(self._client, namespaces=self._scopes, components=components)

    async def create(self, job: ClusterJob) -> JobFacts:
        """Create the cluster job, or adopt our own of that name; see `ports.ClusterWriter.create`."""
        action = f"creating Job {job.namespace}/{job.cluster_name}"
        body = manifest.render(job, instance=self._instance, installation=self._installation)
        answer = await self._client.request("POST", _jobs(job.namespace), action=action, body=body)
        if answer.ok:
            return _item(answer, action).facts
        if answer.status == 409 and answers.parse_status(answer.body).reason == "AlreadyExists":
            return await self._adopt(job)
        raise answers.refusal(answer, action=action)

    async def find(self, namespace: str, cluster_name: str) -> JobFacts | None:
        """Return the facts of our cluster job of that name, or None; see `ports.ClusterWriter.find`."""
        item = await self._get(namespace, cluster_name)
        return item.facts if item is not None and self._is_ours(item) else None

    async def delete(
        self,
        namespace: str,
        cluster_name: str,
        *,
        cluster_uid: str,
        wait_for_pods: bool,
        pods: Sequence[tuple[str, str]] = (),
        grace_seconds: int | None = None,
    ) -> None:
        """Ask for the removal of a cluster job by uid; see `ports.ClusterWriter.delete`.

        The propagation is always named: the default of a raw Job delete leaves the pods running (batch/v1 strategy).
        """
        action = f"deleting Job {namespace}/{cluster_name}"
        propagation = "Foreground" if wait_for_pods else "Background"
        answer = await self._delete(
            _jobs(namespace, cluster_name), action=action, uid=cluster_uid, propagationPolicy=propagation
        )
        if not (answer.ok or answer.missing) and not await self._replaced(answer, namespace, cluster_name, cluster_uid):
            raise answers.as_temporary(answers.refusal(answer, action=action))
        if grace_seconds is not None:
            removals = (self._delete_pod(namespace, *pod, grace_seconds=grace_seconds) for pod in pods)
            await asyncio.gather(*removals)

    async def _delete_pod(self, namespace: str, name: str, uid: str, *, grace_seconds: int) -> None:
        action = f"deleting Pod {namespace}/{name}"
        target = f"{_path('/api/v1', 'pods', namespace)}/{quote(name)}"
        answer = await self._delete(target, action=action, uid=uid, gracePeriodSeconds=grace_seconds)
        if not (answer.ok or answer.missing or answer.status == 409):  # 409: another pod has the name by now
            raise answers.as_temporary(answers.refusal(answer, action=action))

    async def _replaced(self, answer: Answer, namespace: str, cluster_name: str, cluster_uid: str) -> bool:
        """Tell whether a delete was refused because the Job of that name is another one by now: only a look tells."""
        if answer.status != 409:
            return False
        item = await self._get(namespace, cluster_name)
        return item is None or item.facts.uid != cluster_uid

    async def _delete(self, target: str, *, action: str, uid: str, **options: str | int) -> Answer:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, **options}
        return await self._client.request("DELETE", target, action=action, body=_encoder.encode(body))

    def watch_jobs(self) -> AsyncGenerator[WatchEvent]:
        """Yield what happens to our Jobs; see `ports.ClusterWatcher`."""
        wiring: Wiring[JobFacts] = Wiring(
            decoder=decode.JOBS,
            remember=lambda: Known(lambda job_id, n, facts: SeenJob(job_id=job_id, attempt=n, facts=facts)),
            kind="job",
            selector=self._by_label,
            **self._common("job"),
        )
        return self._events(wiring, "/apis/batch/v1", "jobs")

    def watch_pods(self) -> AsyncGenerator[WatchEvent]:
        """Yield what happens to our Pods; see `ports.ClusterWatcher`."""
        wiring: Wiring[PodFacts] = Wiring(
            decoder=decode.PODS,
            remember=lambda: Known(lambda job_id, n, facts: SeenPod(job_id=job_id, attempt=n, facts=facts)),
            kind="pod",
            selector=self._by_label,
            **self._common("pod"),
        )
        return self._events(wiring, "/api/v1", "pods")

    def watch_events(self) -> AsyncGenerator[WatchEvent]:
        """Yield the Warning Events about our Jobs and Pods; see `ports.ClusterWatcher`.

        Events carry no labels of their object: they are told apart by its name, and by its uid once that is known.
        """
        wiring: Wiring[EventFacts] = Wiring(
            decoder=decode.EVENTS,
            remember=lambda: KnownEvents(
                lambda job_id, n, facts: SeenEvent(job_id=job_id, attempt=n, facts=facts), now=self._now
            ),
            kind="event",
            selector="fieldSelector=type%3DWarning",
            **self._common("event"),
        )
        return self._events(wiring, "/api/v1", "events")

    def _common(self, kind: Kind) -> dict[str, Any]:
        return {
            "client": self._client,
            "tuning": self._tuning,
            "stats": self.watch_stats[kind],
            "monotonic": self._monotonic,
            "sleep": self._sleep,
        }

    async def _events(self, wiring: Wiring[Facts], api: str, resource: str) -> AsyncGenerator[WatchEvent]:
        informer = Informer(wiring, paths={scope: _path(api, resource, scope) for scope in self._scopes})
        async with contextlib.aclosing(informer.events()) as events:
            async for event in events:
                yield event

    def logs(
        self,
        namespace: str,
        pod_name: str,
        *,
        container: str,
        follow: bool,
        since: datetime | None = None,
        timestamps: bool = False,
    ) -> AsyncGenerator[bytes]:
        """Yield the live log of a container; see `ports.ClusterLogs.logs`."""
        return podlogs.read(
            self._client,
            namespace,
            pod_name,
            container=container,
            follow=follow,
            since=since,
            timestamps=timestamps,
            sleep=self._sleep,
        )

    def covers(self, namespace: str) -> bool:
        """Tell whether a namespace is among those of this installation; see `ports.ClusterInventory`."""
        return None in self._scopes or namespace in self._scopes

    def troubles(self) -> Mapping[str, str]:
        """Return why namespaces cannot be watched now; see `ports.ClusterTroubles`. Without Events one can do."""
        return self.watch_stats["job"].troubles | self.watch_stats["pod"].troubles

    async def list_owned(self) -> AsyncGenerator[list[OwnedObject] | Unlisted]:
        """Yield everything with our labels, by namespace, Jobs first; see `ports.ClusterInventory`."""
        failed = 0
        for scope in self._scopes:
            try:
                async for page in self._owned_in(scope):
                    yield page
            except TemporaryError as error:
                failed += 1
                if failed == len(self._scopes):
                    raise
                yield Unlisted(namespace=scope, why=str(error))

    async def _owned_in(self, scope: str | None) -> AsyncGenerator[list[OwnedObject]]:
        kinds: tuple[tuple[Literal["Job", "Pod"], str], ...] = (
            ("Job", _path("/apis/batch/v1", "jobs", scope)),
            ("Pod", _path("/api/v1", "pods", scope)),
        )
        for kind, path in kinds:
            limit = self._tuning.page_limit
            async for page in inventory.pages(self._client, kind, path, selector=self._by_label, limit=limit):
                yield page

    async def remove_owned(self, found: OwnedObject) -> None:
        """Delete an object by uid; see `ports.ClusterInventory`."""
        action = f"deleting {found.kind} {found.namespace}/{found.name}"
        jobs, pods = _jobs(found.namespace), _path("/api/v1", "pods", found.namespace)
        target = f"{jobs if found.kind == 'Job' else pods}/{quote(found.name)}"
        answer = await self._delete(target, action=action, uid=found.uid, propagationPolicy="Background")
        if not (answer.ok or answer.missing or answer.status == 409):  # 409: the name belongs to another object by now
            raise answers.as_temporary(answers.refusal(answer, action=action))

    async def node_conditions(self, name: str) -> tuple[Condition, ...] | None:
        """Return the conditions of a node; see `ports.NodeReader`. The right to read nodes is optional."""
        action = f"reading Node {name}"
        answer = await self._client.request("GET", f"/api/v1/nodes/{quote(name, safe='')}", action=action)
        if answer.missing or answer.status == 403:
            return None
        if not answer.ok:
            raise answers.as_temporary(answers.refusal(answer, action=action))
        try:
            return decode.node_conditions(answer.body)
        except (msgspec.MsgspecError, ValueError):
            raise answers.temporary(f"{action}: the answer is not a Node", delay_seconds=5.0) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _adopt(self, job: ClusterJob) -> JobFacts:
        """Return the facts of the Job that holds the name, if it is this very attempt."""
        item = await self._get(job.namespace, job.cluster_name)
        if item is None:
            raise answers.temporary(f"Job {job.namespace}/{job.cluster_name} was there and is gone", delay_seconds=1.0)
        same_work = item.annotations.get(names.SPEC_HASH_ANNOTATION) == job.work_hash
        if not (self._is_ours(item) and item.job_id == job.job_id and item.attempt == job.attempt and same_work):
            raise NameTaken(f"the name {job.namespace}/{job.cluster_name} is taken by a Job that is not ours")
        _log.info(
            "cluster_job_adopted",
            action="job.adopt",
            job_id=str(job.job_id),
            attempt=job.attempt,
            cluster_uid=item.facts.uid,
        )
        return item.facts

    async def _get(self, namespace: str, cluster_name: str) -> Item[JobFacts] | None:
        action = f"reading Job {namespace}/{cluster_name}"
        answer = await self._client.request("GET", _jobs(namespace, cluster_name), action=action)
        if answer.ok:
            return _item(answer, action)
        if answer.missing:
            return None
        raise answers.as_temporary(answers.refusal(answer, action=action))

    def _is_ours(self, item: Item[JobFacts]) -> bool:
        labels = item.labels
        managed = labels.get(names.MANAGED_BY_LABEL) == names.MANAGED_BY
        return managed and labels.get(names.INSTANCE_LABEL) == self._instance


def _path(api: str, resource: str, namespace: str | None) -> str:
    return f"{api}/{resource}" if namespace is None else f"{api}/namespaces/{quote(namespace)}/{resource}"


def _jobs(namespace: str, cluster_name: str | None = None) -> str:
    path = _path("/apis/batch/v1", "jobs", namespace)
    return path if cluster_name is None else f"{path}/{quote(cluster_name)}"


def _item(answer: Answer, action: str) -> Item[JobFacts]:
    try:
        return decode.JOBS.object(answer.body)
    except (msgspec.MsgspecError, ValueError):
        raise answers.temporary(f"{action}: the answer is not a Job", delay_seconds=5.0) from None


def _source(config: ConnectionConfig, environment: KubernetesEnvironment) -> CredentialSource:
    if config.user.exec_plugin is None:
        return ConfiguredSource(config.user, monotonic=time.monotonic)
    return ExecSource(config, variables=environment.variables, now=lambda: datetime.now(UTC), monotonic=time.monotonic)


async def connect(
    settings: ClusterSettings,
    environment: KubernetesEnvironment,
    *,
    namespaces: tuple[str, ...],
    installation: str = "",
) -> KubernetesCluster:
    """Return the cluster that the settings and the environment name. The first request opens the first connection.

    `installation` is the id that marks what we create as made for this very database.

    Raises:
        ConfigurationError: there is no such configuration, or it is wrong.
    """
    config = discover(settings, environment)
    _log.info("cluster_configured", action="cluster.connect", server=config.server, origin=config.origin)
    client = Client(
        config,
        _source(config, environment),
        concurrency=settings.concurrency,
        monotonic=time.monotonic,
    )
    tuning = Tuning(idle_seconds=settings.watch_idle_seconds, relist_seconds=settings.relist_seconds)
    return KubernetesCluster(
        client,
        instance=settings.instance,
        installation=installation,
        namespaces=namespaces,
        tuning=tuning,
    )
