"""The record of a job: its timeline, and its explanation."""

from __future__ import annotations

from kube_job_runner.services.explainer import Explainer
from kube_job_runner.web.api import record_views as views
from kube_job_runner.web.api.queries import JobPath
from kube_job_runner.web.kit.handling import Call, Nothing, Reply


class RecordsApi:
    """The operations that answer what happened to a job, long after the cluster forgot it."""

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer

    async def timeline(self, call: Call[JobPath, Nothing, Nothing]) -> Reply[views.TimelineView]:
        """Return the phases of all attempts of a job."""
        return Reply(views.timeline_view(await self._explainer.timeline(call.path.id)))

    async def explanation(self, call: Call[JobPath, Nothing, Nothing]) -> Reply[views.ExplanationView]:
        """Return one sentence about a job, and the evidence for it."""
        return Reply(views.explanation_view(await self._explainer.explain(call.path.id)))
