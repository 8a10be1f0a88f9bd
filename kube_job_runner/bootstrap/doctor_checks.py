"""Checks of `kjr doctor`: everything that the components of this installation need."""

from collections.abc import Collection, Mapping, Sequence

from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import rules
from kube_job_runner.bootstrap.adapter_kinds import cluster_kind
from kube_job_runner.bootstrap.components import Component
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError, WrongCluster
from kube_job_runner.ports import ClusterIdentifier, ClusterIdentity
from kube_job_runner.ports.checks import CheckResult, ClusterUse, fail, ok, warn
from kube_job_runner.services import cluster_identity
from kube_job_runner.settings import Settings, changed, kubernetes_environment, masked


async def run_checks(settings: Settings, components: Sequence[Component]) -> list[CheckResult]:
    """Check settings, database, cluster and log store, as far as these components need them."""
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
        found += await postgres.run_checks(url)
    uses = {component.name: component.cluster for component in components if component.cluster}
    if not cluster_kind(settings).remote:
        found.append(ok("cluster", f"jobs are {settings.cluster.kind}: no Kubernetes is needed"))
    elif uses:
        found += await _check_cluster(settings, uses, url)
    found.append(await _check_log_store(settings))
    return found


async def _check_cluster(
    settings: Settings, uses: Mapping[str, Collection[ClusterUse]], url: str | None
) -> list[CheckResult]:
    from kube_job_runner.adapters import kubernetes

    try:
        cluster = await kubernetes.connect(
            settings.cluster, kubernetes_environment(), namespaces=settings.specs.namespaces
        )
    except ConfigurationError as error:
        return [fail("cluster", str(error), "set KJR_KUBECONFIG, or KJR_CLUSTER=local for jobs as processes here")]
    try:
        found = await cluster.run_checks(uses)
        if all(result.level != "fail" or result.name != "cluster" for result in found):
            found.append(await check_identity(cluster, [] if url is None else await postgres.bound_clusters(url)))
        return found
    finally:
        await cluster.close()


async def check_identity(cluster: ClusterIdentifier, bound: list[ClusterIdentity]) -> CheckResult:
    """Check that the cluster is the one that the database belongs to."""
    name = "cluster identity"
    try:
        found = await cluster.identity()
        if found is None:
            text = "it cannot be read, so a wrong cluster is not noticed"
            return warn(name, text, "grant `get` on the namespace kube-system (rbac.clusterIdentity of the chart)")
        cluster_identity.compare(found, bound)
    except WrongCluster as error:
        return fail(name, str(error), "correct the settings, or accept the move with `kjr rebind`")
    except TemporaryError as error:
        return fail(name, str(error), "check the network and the API server")
    return ok(name, f"{found}" if bound else f"{found}; the database belongs to no cluster yet")


async def _check_log_store(settings: Settings) -> CheckResult:
    logs = settings.log_store
    if logs.address == "postgres":
        return ok("log store", "PostgreSQL, as above")
    from kube_job_runner.adapters import object_store

    try:
        object_store.connect(logs.address, endpoint=logs.endpoint, region=logs.region)
    except Exception as error:  # noqa: BLE001 - a check reports every error
        return fail("log store", str(error), "check KJR_LOG_STORE, its endpoint and region, and the extra s3")
    return ok("log store", f"{masked(logs.address)} is configured; it is not written to here")
