"""What `kjr doctor` looks at: everything that the components of this installation need."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import rules
from kube_job_runner.bootstrap.components import STORE_ONLY
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports.findings import Finding, fail, ok, warn
from kube_job_runner.settings import Settings, changed, kubernetes_environment


async def examine(settings: Settings, components: Sequence[str]) -> list[Finding]:
    """Look at settings, database, cluster and log store, as far as these components need them."""
    found = [ok("settings", f"{len(changed(settings))} are not the default")]
    try:
        rules.load(settings.process.failure_rules)
    except ConfigurationError as error:
        found.append(fail("failure rules", str(error), "correct the file, or unset KJR_FAILURE_RULES"))
    url = settings.database.url or postgres.embedded.running_url(settings.process.data_dir)
    if url is None:
        remedy = "set KJR_DATABASE_URL, or start `kjr up` first"
        found.append(warn("database", "the embedded PostgreSQL does not run", remedy))
    else:
        found += await postgres.examine(url)
    if settings.cluster.kind != "kubernetes":
        found.append(ok("cluster", f"jobs are {settings.cluster.kind}: no Kubernetes is needed"))
    elif set(components) - STORE_ONLY:
        found += await _examine_cluster(settings, sorted(set(components) - STORE_ONLY))
    found.append(await _examine_logs(settings))
    return found


async def _examine_cluster(settings: Settings, components: Sequence[str]) -> list[Finding]:
    from kube_job_runner.adapters import kubernetes

    try:
        cluster = await kubernetes.connect(
            settings.cluster, kubernetes_environment(os.environ), namespaces=settings.specs.namespaces
        )
    except ConfigurationError as error:
        return [fail("cluster", str(error), "set KJR_KUBECONFIG, or KJR_CLUSTER=local for jobs as processes here")]
    try:
        return await cluster.examine(components)
    finally:
        await cluster.close()


async def _examine_logs(settings: Settings) -> Finding:
    logs = settings.log_store
    if logs.address == "postgres":
        return ok("log store", "PostgreSQL, as above")
    from kube_job_runner.adapters import object_store

    try:
        object_store.connect(logs.address, endpoint=logs.endpoint, region=logs.region)
    except Exception as error:  # noqa: BLE001 - a diagnosis tells what is wrong, whatever it is
        return fail("log store", str(error), "check KJR_LOG_STORE, its endpoint and region, and the extra s3")
    return ok("log store", f"{logs.address} is configured; it is not written to here")
