"""The chart with Helm itself: what it renders, what it refuses, and that all files made from it are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed import chart, helm

pytestmark = [pytest.mark.chart, pytest.mark.usefixtures("helm_program"), pytest.mark.timeout(900)]
DATABASE = "database.existingSecret.name=kjr-database"


@pytest.mark.parametrize("case", chart.cases())
def test_lint_finds_nothing(case: str) -> None:
    done = helm.run("lint", "--strict", str(chart.CHART), "--values", str(chart.CHART / "ci" / f"{case}-values.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_there_are_five_values_files() -> None:
    assert len(chart.cases()) == 5


def test_everything_made_from_the_chart_is_up_to_date() -> None:
    stale = [
        str(path.relative_to(chart.ROOT))
        for path, text in chart.outputs().items()
        if not path.exists() or path.read_text() != text
    ]
    assert not stale, "run `make chart`"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("replicaCount=3", "replicaCount"),
        ("database.password=x", "password"),
        ("database.existingSecret.form=json", "form"),
        ("components.webserver.replicas=2", "webserver"),
        ("components.sweeper.autoscaling.enabled=true", "autoscaling"),
        ("components.sweeper.replicas=-1", "replicas"),
        ("defaults.resources.memory=1Gi", "memory"),
        ("image.digest=sha256:123", "digest"),
        ("image.tag=7", "tag"),
        ("jobNamespaces={}", "jobNamespaces"),
        ("jobNamespaces={Bad_Name}", "jobNamespaces"),
        ("jobNamespaces={a,a}", "jobNamespaces"),
        ("queue.type=kafka", "queue"),
        ("migrations.mode=always", "mode"),
        ("metrics.serviceMonitor.enabled=yes", "serviceMonitor"),
        ("settings.database_url=x", "database_url"),
        ("settings.MaxInFlight=5", "MaxInFlight"),
        ("drainSeconds=0", "drainSeconds"),
        ("instance=Not-A-Label", "instance"),
        ("service.port=99999", "port"),
        ("queue.type=sqs", "queue.sqs.url must be set"),
        ("jobNamespaces={kube-job-runner}", "allowJobsInReleaseNamespace"),
        ("database.existingSecret.name=", "kubectl create secret generic"),
    ],
)
def test_wrong_values_are_refused_by_name(setting: str, said: str) -> None:
    done = helm.run("template", "kjr", str(chart.CHART), "-n", chart.NAME, "--set", DATABASE, "--set", setting)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_plain_url_cannot_go_with_a_hook_that_runs_before_its_secret_is_made() -> None:
    arguments = ("--set", "database.url=postgresql://a:b@c/d,migrations.mode=hook")
    with pytest.raises(helm.HelmError, match="runs before the Secret"):
        chart.render(*arguments)


def test_the_notes_lead_to_a_first_job() -> None:
    notes = helm.text("install", "kjr", str(chart.CHART), "-n", "prod", "--set", DATABASE, "--dry-run=client")
    _, _, notes = notes.partition("NOTES:")
    for wanted in ("port-forward", "/readyz", "kjr token create", "kjr run", "helm test kjr", "rollout status"):
        assert wanted in notes


def test_monitoring_appears_by_itself_where_the_operator_is() -> None:
    def kinds(*arguments: str) -> set[str]:
        return {item["kind"] for item in chart.objects(chart.render("--set", DATABASE, *arguments))}

    assert not {"ServiceMonitor", "PrometheusRule"} & kinds()
    assert {"ServiceMonitor", "PrometheusRule"} <= kinds("--api-versions", "monitoring.coreos.com/v1")
    off = ("--set", "metrics.serviceMonitor.enabled=false", "--api-versions", "monitoring.coreos.com/v1")
    assert "ServiceMonitor" not in kinds(*off)


def test_a_change_of_settings_rolls_the_pods() -> None:
    def checksums(*arguments: str) -> set[str]:
        return set(re.findall(r"checksum/config: (\w+)", chart.render("--set", DATABASE, *arguments)))

    assert len(checksums()) == 1
    assert checksums() == checksums("--set", "components.sweeper.replicas=5")
    assert checksums() != checksums("--set", "settings.batch_size=7")


def test_no_release_and_namespace_share_names_of_cluster_wide_objects() -> None:
    def names(release: str, namespace: str) -> set[str]:
        text = chart.render("--set", f"{DATABASE},rbac.nodeConditions=true", release=release, namespace=namespace)
        return {item["metadata"]["name"] for item in chart.objects(text) if item["kind"] in ("ClusterRole", "Role")}

    assert not names("one", "a") & names("one", "b")
    assert not names("one", "a") & names("two", "a")


def test_it_packs(tmp_path: Path) -> None:
    helm.text("package", str(chart.CHART), "--destination", str(tmp_path))
    (packed,) = tmp_path.iterdir()
    assert packed.name == "kube-job-runner-0.1.0.tgz"
