"""`ports.Cluster` on a Kubernetes API server: one Job per attempt, and two requests per job (create, delete)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NoReturn, get_args

import msgspec

from kube_job_runner.adapters.kubernetes import (
    answers,
    api_paths,
    cluster_checks,
    created_labels,
    decode,
    identity,
    inventory,
    looks,
    manifest,
    pod_logs,
    watched_namespace,
)
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.decode import Facts, Item
from kube_job_runner.adapters.kubernetes.informer import Informer
from kube_job_runner.adapters.kubernetes.watched_namespace import Kind, Tuning, WatchContext, WatchedKind, WatchStats
from kube_job_runner.domain import names
from kube_job_runner.domain.errors import ClusterRefused, NameTaken, TemporaryError
from kube_job_runner.domain.facts import Condition, JobFacts
from kube_job_runner.domain.failures import refusals
from kube_job_runner.domain.freshness import WatchTimes
from kube_job_runner.domain.sight import Sight
from kube_job_runner.ports import ClusterIdentity, ClusterJob, OwnedObject, Unlisted, WatchEvent, send_lease
from kube_job_runner.ports.checks import CheckResult, ClusterUse
from kube_job_runner.telemetry import loggers

ALL_NAMESPACES = "*"

_log = loggers.get_logger(__name__)
_encoder = msgspec.json.Encoder()


class KubernetesCluster:
    """`ports.Cluster`. Every watch may run several times at once."""

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
        self._namespaces: tuple[str | None, ...] = (
            (None,) if ALL_NAMESPACES in namespaces else tuple(dict.fromkeys(namespaces))
        )
        self._label_selector = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY},{names.INSTANCE_LABEL}={instance}"
        self._tuning = tuning
        self._monotonic = monotonic
        self._sleep = sleep
        self._now = now
        self.watch_stats: Mapping[Kind, WatchStats] = {kind: WatchStats() for kind in get_args(Kind)}

    async def run_checks(self, uses: Mapping[str, Collection[ClusterUse]]) -> list[CheckResult]:
        """Check the cluster for `kjr doctor`: its version, and the rights that components, by name, need for their uses."""
        return await cluster_checks.run_checks(self._client, namespaces=self._namespaces, uses=uses)

    async def identity(self) -> ClusterIdentity | None:
        return await identity.read(self._client, namespaces=self._namespaces)

    async def close(self) -> None:
        await self._client.close()

    # -- writer ------------------------------------------------------------------------------------------------------

    async def create(self, job: ClusterJob) -> JobFacts:
        action = f"creating Job {job.namespace}/{job.cluster_name}"
        body = manifest.render(job, instance=self._instance, installation=self._installation)
        answer = await self._client.request("POST", api_paths.jobs(job.namespace), action=action, body=body)
        if answer.ok:
            item = _item(answer, action)
            if lost := created_labels.changed(answer.body, self._labels(job)):
                await self._refuse_changed(job, item.facts.uid, lost)
            return item.facts
        if answer.status == 409 and answers.parse_status(answer.body).reason == "AlreadyExists":
            return await self._adopt(job)
        raise answers.refusal(answer, action=action)

    async def _adopt(self, job: ClusterJob) -> JobFacts:
        """Return the facts of the Job that has the name, if it is this very attempt.

        If it does the same work and only lacks some of our labels, an earlier create of ours made it, and a webhook changed it.
        """
        item = await self._get(job.namespace, job.cluster_name)
        if item is None:
            raise answers.temporary(f"Job {job.namespace}/{job.cluster_name} was there and is gone", delay_seconds=1.0)
        same_work = item.annotations.get(names.SPEC_HASH_ANNOTATION) == job.work_hash
        if same_work and (lost := created_labels.lost(item.labels, self._labels(job))):
            await self._refuse_changed(job, item.facts.uid, lost)
        if not (self._is_ours(item) and item.job_id == job.job_id and item.attempt == job.attempt and same_work):
            raise NameTaken(f"the name {job.namespace}/{job.cluster_name} is taken by a Job that is not ours")
        send_lease.note_adoption()
        _log.info(
            "adopted the cluster job of an earlier create",
            action="job.adopt",
            job_id=str(job.job_id),
            attempt=job.attempt,
            cluster_uid=item.facts.uid,
        )
        return item.facts

    def _labels(self, job: ClusterJob) -> dict[str, str]:
        return manifest.labels_of(job, instance=self._instance, installation=self._installation)

    async def _refuse_changed(self, job: ClusterJob, uid: str, lost: Sequence[str]) -> NoReturn:
        """Remove a Job of ours that no watch would show, and refuse it."""
        await self._delete_exactly("Job", job.namespace, job.cluster_name, uid, propagationPolicy="Background")
        raise ClusterRefused(
            f"something in the cluster changed our labels {', '.join(lost)} of Job {job.namespace}/{job.cluster_name},"
            " so nobody could watch it; it was removed",
            reason=refusals.LABELS_CHANGED.reason,
        )

    async def find(self, namespace: str, cluster_name: str, *, cluster_uid: str | None = None) -> JobFacts | None:
        item = await self._get(namespace, cluster_name)
        if item is None:
            return None
        return item.facts if item.facts.uid == cluster_uid or self._is_ours(item) else None

    async def look(self, namespace: str, cluster_name: str, *, cluster_uid: str) -> Sight:
        item = await self._get(namespace, cluster_name)
        pods = await looks.pods_of(self._client, namespace, cluster_uid=cluster_uid)
        return Sight(job=item.facts if item is not None else None, pods=pods)

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
        """See `ports.ClusterWriter.delete`.

        The propagation is always named, because a Job delete without one leaves the pods running (batch/v1 strategy).
        """
        action = f"deleting Job {namespace}/{cluster_name}"
        propagation = "Foreground" if wait_for_pods else "Background"
        answer = await self._delete(
            api_paths.jobs(namespace, cluster_name), action=action, uid=cluster_uid, propagationPolicy=propagation
        )
        if answer.missing or (not answer.ok and await self._replaced(answer, namespace, cluster_name, cluster_uid)):
            send_lease.note_gone(cluster_uid)
        elif not answer.ok:
            raise answers.as_temporary(answers.refusal(answer, action=action))
        if grace_seconds is not None:
            removals = (
                self._delete_exactly("Pod", namespace, name, uid, gracePeriodSeconds=grace_seconds)
                for name, uid in pods
            )
            await asyncio.gather(*removals)

    async def _replaced(self, answer: Answer, namespace: str, cluster_name: str, cluster_uid: str) -> bool:
        """Return whether a delete was refused because another Job has the name now. It reads that Job."""
        if answer.status != 409:
            return False
        item = await self._get(namespace, cluster_name)
        return item is None or item.facts.uid != cluster_uid

    async def remove_owned(self, found: OwnedObject) -> None:
        await self._delete_exactly(found.kind, found.namespace, found.name, found.uid, propagationPolicy="Background")

    async def _delete_exactly(
        self, kind: Literal["Job", "Pod"], namespace: str, name: str, uid: str, **options: str | int
    ) -> None:
        """Delete an object by uid. It is no error if it is gone, or if another object has its name now."""
        action = f"deleting {kind} {namespace}/{name}"
        target = api_paths.jobs(namespace, name) if kind == "Job" else api_paths.pods(namespace, name)
        answer = await self._delete(target, action=action, uid=uid, **options)
        if answer.missing:
            send_lease.note_gone(uid)
        elif not (answer.ok or answer.status == 409):
            raise answers.as_temporary(answers.refusal(answer, action=action))

    async def _delete(self, target: str, *, action: str, uid: str, **options: str | int) -> Answer:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, **options}
        return await self._client.request("DELETE", target, action=action, body=_encoder.encode(body))

    async def _get(self, namespace: str, cluster_name: str) -> Item[JobFacts] | None:
        action = f"reading Job {namespace}/{cluster_name}"
        answer = await self._client.request("GET", api_paths.jobs(namespace, cluster_name), action=action)
        if answer.ok:
            return _item(answer, action)
        if answer.missing:
            return None
        raise answers.as_temporary(answers.refusal(answer, action=action))

    def _is_ours(self, item: Item[JobFacts]) -> bool:
        labels = item.labels
        managed = labels.get(names.MANAGED_BY_LABEL) == names.MANAGED_BY
        return managed and labels.get(names.INSTANCE_LABEL) == self._instance

    # -- watcher and logs --------------------------------------------------------------------------------------------

    def watch_jobs(self) -> AsyncGenerator[WatchEvent]:
        return self._watch(watched_namespace.JOBS)

    def watch_pods(self) -> AsyncGenerator[WatchEvent]:
        return self._watch(watched_namespace.PODS)

    def watch_events(self) -> AsyncGenerator[WatchEvent]:
        return self._watch(watched_namespace.EVENTS)

    def watch_times(self, kind: Kind) -> Mapping[str, WatchTimes]:
        return self.watch_stats[kind].times

    async def _watch(self, kind: WatchedKind[Facts]) -> AsyncGenerator[WatchEvent]:
        context: WatchContext[Facts] = WatchContext(
            client=self._client,
            kind=kind,
            label_selector=self._label_selector,
            tuning=self._tuning,
            stats=self.watch_stats[kind.name],
            identify=self.identity,
            now=self._now,
            monotonic=self._monotonic,
            sleep=self._sleep,
        )
        async with contextlib.aclosing(Informer(context, namespaces=self._namespaces).events()) as events:
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
        return pod_logs.read(
            self._client,
            namespace,
            pod_name,
            container=container,
            follow=follow,
            since=since,
            timestamps=timestamps,
            sleep=self._sleep,
        )

    # -- inventory ---------------------------------------------------------------------------------------------------

    def covers(self, namespace: str) -> bool:
        return None in self._namespaces or namespace in self._namespaces

    def troubles(self) -> Mapping[str, str]:
        """See `ports.ClusterTroubles`. Events are optional: a failing watch of them is not a trouble."""
        return self.watch_stats["job"].troubles | self.watch_stats["pod"].troubles

    async def list_owned(self) -> AsyncGenerator[list[OwnedObject] | Unlisted]:
        failed = 0
        for namespace in self._namespaces:
            try:
                async for page in self._owned_in(namespace):
                    yield page
            except TemporaryError as error:
                failed += 1
                if failed == len(self._namespaces):
                    raise
                yield Unlisted(namespace=namespace, why=str(error))

    async def _owned_in(self, namespace: str | None) -> AsyncGenerator[list[OwnedObject]]:
        kinds: tuple[tuple[Literal["Job", "Pod"], str], ...] = (
            ("Job", api_paths.jobs(namespace)),
            ("Pod", api_paths.pods(namespace)),
        )
        for kind, path in kinds:
            limit = self._tuning.page_limit
            async for page in inventory.pages(
                self._client, kind, path, label_selector=self._label_selector, limit=limit
            ):
                yield page

    async def node_conditions(self, name: str) -> tuple[Condition, ...] | None:
        action = f"reading Node {name}"
        answer = await self._client.request("GET", api_paths.node(name), action=action)
        if answer.missing or answer.status == 403:  # the right to read nodes is optional
            return None
        if not answer.ok:
            raise answers.as_temporary(answers.refusal(answer, action=action))
        try:
            return decode.node_conditions(answer.body)
        except (msgspec.MsgspecError, ValueError):
            raise answers.temporary(f"{action}: the answer is not a Node", delay_seconds=5.0) from None


def _item(answer: Answer, action: str) -> Item[JobFacts]:
    try:
        return decode.JOBS.object(answer.body)
    except (msgspec.MsgspecError, ValueError):
        raise answers.temporary(f"{action}: the answer is not a Job", delay_seconds=5.0) from None
