"""The `Cluster` port on a Kubernetes API server: one Job per attempt, two requests per job (create, delete)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from kube_job_runner import telemetry
from kube_job_runner.adapters.kubernetes import answers, decode, manifest, podlogs
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.config import ConnectionConfig
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource, CredentialSource
from kube_job_runner.adapters.kubernetes.decode import Item
from kube_job_runner.adapters.kubernetes.discovery import discover
from kube_job_runner.adapters.kubernetes.execplugin import ExecSource
from kube_job_runner.adapters.kubernetes.informer import Informer
from kube_job_runner.adapters.kubernetes.scope import Tuning, WatchStats, Wiring
from kube_job_runner.domain import names
from kube_job_runner.domain.errors import NameTaken
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.ports import ClusterJob, SeenJob, SeenPod, WatchEvent
from kube_job_runner.settings import KubernetesEnvironment, Settings

ALL_NAMESPACES = "*"

_log = telemetry.get_logger(__name__)
_encoder = msgspec.json.Encoder()


class KubernetesCluster:
    """One cluster, as `ports.Cluster`. The two watches may run at once, and each more than once."""

    def __init__(
        self,
        client: Client,
        *,
        instance: str,
        namespaces: tuple[str, ...],
        tuning: Tuning,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._instance = instance
        self._scopes: tuple[str | None, ...] = (
            (None,) if ALL_NAMESPACES in namespaces else tuple(dict.fromkeys(namespaces))
        )
        self._selector = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY},{names.INSTANCE_LABEL}={instance}"
        self._tuning = tuning
        self._monotonic = monotonic
        self._sleep = sleep
        self.watch_stats: Mapping[str, WatchStats] = {"job": WatchStats(), "pod": WatchStats()}

    async def create(self, job: ClusterJob) -> JobFacts:
        """Create the cluster job, or adopt our own of that name; see `ports.ClusterWriter.create`."""
        action = f"creating Job {job.namespace}/{job.cluster_name}"
        body = manifest.render(job, instance=self._instance)
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

    async def delete(self, namespace: str, cluster_name: str, *, cluster_uid: str, wait_for_pods: bool) -> None:
        """Ask for the removal of a cluster job by uid; see `ports.ClusterWriter.delete`.

        The propagation is always named: the default of a raw Job delete leaves the pods running (batch/v1 strategy).
        """
        action = f"deleting Job {namespace}/{cluster_name}"
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground" if wait_for_pods else "Background",
            "preconditions": {"uid": cluster_uid},
        }
        target = _jobs(namespace, cluster_name)
        answer = await self._client.request("DELETE", target, action=action, body=_encoder.encode(options))
        if answer.ok or answer.missing:
            return
        if answer.status == 409:  # the precondition failed, or something else did: only a look tells
            item = await self._get(namespace, cluster_name)
            if item is None or item.facts.uid != cluster_uid:
                return
        raise answers.as_temporary(answers.refusal(answer, action=action))

    async def watch_jobs(self) -> AsyncGenerator[WatchEvent]:
        """Yield what happens to our Jobs; see `ports.ClusterWatcher`."""
        wiring: Wiring[JobFacts] = Wiring(
            client=self._client,
            decoder=decode.JOBS,
            told=lambda job_id, attempt, facts: SeenJob(job_id=job_id, attempt=attempt, facts=facts),
            kind="job",
            selector=self._selector,
            tuning=self._tuning,
            stats=self.watch_stats["job"],
            monotonic=self._monotonic,
            sleep=self._sleep,
        )
        informer = Informer(wiring, paths={scope: _path("/apis/batch/v1", "jobs", scope) for scope in self._scopes})
        async with contextlib.aclosing(informer.events()) as events:
            async for event in events:
                yield event

    async def watch_pods(self) -> AsyncGenerator[WatchEvent]:
        """Yield what happens to our Pods; see `ports.ClusterWatcher`."""
        wiring: Wiring[PodFacts] = Wiring(
            client=self._client,
            decoder=decode.PODS,
            told=lambda job_id, attempt, facts: SeenPod(job_id=job_id, attempt=attempt, facts=facts),
            kind="pod",
            selector=self._selector,
            tuning=self._tuning,
            stats=self.watch_stats["pod"],
            monotonic=self._monotonic,
            sleep=self._sleep,
        )
        informer = Informer(wiring, paths={scope: _path("/api/v1", "pods", scope) for scope in self._scopes})
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

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _adopt(self, job: ClusterJob) -> JobFacts:
        """Return the facts of the Job that holds the name, if it is this very attempt."""
        item = await self._get(job.namespace, job.cluster_name)
        if item is None:
            raise answers.temporary(f"Job {job.namespace}/{job.cluster_name} was there and is gone", delay_seconds=1.0)
        same_work = item.annotations.get(names.SPEC_HASH_ANNOTATION) == job.spec_hash
        if not (self._is_ours(item) and item.job_id == job.job_id and item.attempt == job.attempt and same_work):
            raise NameTaken(f"the name {job.namespace}/{job.cluster_name} is taken by a Job that is not ours")
        _log.info("cluster_job_adopted", job_id=str(job.job_id), attempt=job.attempt, cluster_uid=item.facts.uid)
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


async def connect(settings: Settings, environment: KubernetesEnvironment) -> KubernetesCluster:
    """Return the cluster that the settings and the environment name. The first request opens the first connection.

    Raises:
        ConfigurationError: there is no such configuration, or it is wrong.
    """
    config = discover(settings, environment)
    _log.info("cluster_configured", server=config.server, origin=config.origin)
    client = Client(
        config,
        _source(config, environment),
        concurrency=settings.cluster_concurrency,
        monotonic=time.monotonic,
    )
    tuning = Tuning(idle_seconds=settings.watch_idle_seconds, relist_seconds=settings.relist_seconds)
    return KubernetesCluster(client, instance=settings.instance, namespaces=settings.namespaces, tuning=tuning)
