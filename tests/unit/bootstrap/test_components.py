"""The rows of the components, compared with what is said of components elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_job_runner.adapters.kubernetes import cluster_checks
from kube_job_runner.adapters.postgres.grants import ROLES
from kube_job_runner.bootstrap import commands
from kube_job_runner.bootstrap.components import BY_NAME, ROWS, Component, all_components, named
from kube_job_runner.cli.commands import serve
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings import Settings, load
from tests.support.kubernetes import rbac

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "kube-job-runner"
LABEL = "app.kubernetes.io/component"
PAGES = ("docs/reference/helm-values.md", "docs/reference/database-roles.md")


def names(*, cluster: bool | None = None) -> list[str]:
    """Return the names of all components, or of those that use the cluster or do not."""
    return sorted(row.name for row in ROWS if cluster is None or bool(row.cluster) is cluster)


def test_a_component_has_one_way_to_run() -> None:
    assert [row.name for row in ROWS if (row.run is None) is (row.lead is None)] == []
    assert len(BY_NAME) == len(ROWS)


def test_a_watch_is_probed_while_its_component_leads() -> None:
    assert [row.name for row in ROWS if row.watches and row.lead is None] == []


def test_each_component_has_a_role_in_postgresql() -> None:
    assert sorted(ROLES) == names()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_rights_in_postgresql_fit_the_row(row: Component) -> None:
    tables = ROLES[row.name].tables
    assert ("component_leases" in tables) is (row.lead is not None)
    if row.cluster:
        assert "installation" in tables


def test_each_component_that_uses_the_cluster_has_a_role_there() -> None:
    roles = [document for document in rbac() if document["kind"] == "Role"]
    assert sorted(role["metadata"]["labels"][LABEL] for role in roles) == names(cluster=True)


@pytest.mark.parametrize("row", [row for row in ROWS if row.cluster], ids=lambda row: row.name)
def test_the_rights_that_doctor_asks_for_are_granted(row: Component) -> None:
    [role] = [r for r in rbac() if r["kind"] == "Role" and r["metadata"]["labels"][LABEL] == row.name]
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    needed = {
        (verb, group, f"{resource}/{subresource}" if subresource else resource)
        for use in row.cluster
        for verb, group, resource, subresource in cluster_checks.NEEDS[use]
    }
    assert needed <= granted


def test_the_chart_has_each_component() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert sorted(set(values["components"]) - {"all"}) == names()
    rendered = yaml.safe_load_all((ROOT / "tests" / "chart" / "golden" / "sqs.yaml").read_text())
    pods = [item["spec"]["template"] for item in rendered if item and item["kind"] == "Deployment"]
    assert sorted(_component(pod) for pod in pods) == names()
    with_token = [_component(pod) for pod in pods if pod["spec"]["automountServiceAccountToken"]]
    assert sorted(with_token) == names(cluster=True)


def _component(pod: dict[str, Any]) -> str:
    [container] = pod["spec"]["containers"]
    verb, component = container["args"]
    assert verb == "serve"
    return str(component)


def test_the_documentation_and_the_help_name_each_component() -> None:
    told = {page: (ROOT / page).read_text() for page in PAGES}
    told["kjr serve --help"] = str(serve.command.help)
    missing = {page: [name for name in names() if name not in text] for page, text in told.items()}
    assert {page: found for page, found in missing.items() if found} == {}


def test_a_relay_is_there_only_with_a_queue_outside_the_database() -> None:
    assert [row.name for row in ROWS if row not in all_components(Settings())] == ["outbox-relay"]
    assert all_components(load({"queue": "sqs://kjr"}, {})) == ROWS


def test_components_are_found_by_name_once_each() -> None:
    assert [row.name for row in named(["sweeper", "web-server", "sweeper"], Settings())] == ["sweeper", "web-server"]
    assert named([], Settings()) == all_components(Settings())
    with pytest.raises(ConfigurationError, match="unknown component nobody; there are: web-server, "):
        named(["sweeper", "nobody"], Settings())


@pytest.mark.parametrize(
    ("given", "components", "said"),
    [
        ({}, ["outbox-relay"], "nothing to relay, the queue is in PostgreSQL"),
        ({"cluster": "local"}, ["web-server"], "the local cluster lives in one process"),
        ({}, ["web-server"], "KJR_DATABASE_URL: must be set when components run apart"),
    ],
)
def test_components_that_cannot_run_apart_are_refused(given: dict[str, Any], components: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        commands.serve(load(given, {}), components)
