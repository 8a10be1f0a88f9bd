"""The lines of /readyz that say more than ready: everybody may read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from kube_job_runner import ports
from kube_job_runner.bootstrap import running


class _Cluster:
    def troubles(self) -> Mapping[str, str]:
        return {"team-b": 'jobs.batch is forbidden: User "system:serviceaccount:kjr:pods" cannot list resource'}


def test_a_namespace_that_cannot_be_listed_is_named_without_the_words_of_the_cluster() -> None:
    (said,) = running._notes({}, cast("ports.Cluster", _Cluster())).items()
    assert said == ("namespace team-b", "degraded: it cannot be listed now; the log says why (action watch.retry)")
