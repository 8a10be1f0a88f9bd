"""The alert rules and the dashboard: rules fire when they should, and every metric, label and runbook exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import build, prometheus
from tests.support import metrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RUNBOOKS = ROOT / "docs" / "runbooks"
TESTS = ROOT / "tests" / "alerts"
FROM_PROMETHEUS = {
    "le",
    "pod",
    "instance",
    "job",
    "severity",
}  # labels that no metric of ours has, and every series may have
HEADINGS = ["## What it means", "## Impact", "## How to check", "## How to fix"]


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    document = json.loads((MONITORING / "dashboard.json").read_text())
    found = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    return [expr.replace("$__rate_interval", "5m").replace("$queue", ".*") for expr in found]


@pytest.fixture(scope="module")
def promcheck() -> Path:
    """The checker with Prometheus's engine; built once, and then from the cache."""
    if shutil.which("go") is None and not os.environ.get("KJR_TESTBED_REQUIRED") and not os.environ.get("CI"):
        pytest.skip(str(build.GoMissing.__doc__))
    return prometheus.ensure_built()


def run(promcheck: Path, *args: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([promcheck, *args], input=text, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)  # the first build downloads modules
def test_every_alert_fires_when_it_should_and_not_otherwise(promcheck: Path) -> None:
    done = run(promcheck, "rules", str(MONITORING / "alerts.yaml"))
    assert done.returncode == 0, done.stderr
    done = run(promcheck, "test", *map(str, sorted(TESTS.glob("*.yaml"))))
    assert done.returncode == 0, done.stderr


def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    names = {rule["alert"] for rule in rules()}
    assert {path.stem for path in TESTS.glob("*.yaml")} == names
    for name in names:
        cases = yaml.safe_load((TESTS / f"{name}.yaml").read_text())["tests"]
        fires = [bool(check["exp_alerts"]) for case in cases for check in case["alert_rule_test"]]
        assert set(fires) == {True, False}, name
        assert {check["alertname"] for case in cases for check in case["alert_rule_test"]} == {name}


@pytest.mark.timeout(600)
def test_the_checker_finds_an_alert_that_does_not_fire_as_it_should(promcheck: Path, tmp_path: Path) -> None:
    text = (TESTS / "KjrMessagesOld.yaml").read_text().replace("../../deploy", str(ROOT / "deploy"))
    wrong = tmp_path / "wrong.yaml"
    for old, new in (("130x20", "110x20"), ("2m 10s", "2m 11s"), ("119x20", "121x20"), ("critical", "warning")):
        assert old in text
        wrong.write_text(text.replace(old, new))
        done = run(promcheck, "test", str(wrong))
        assert (done.returncode, "KjrMessagesOld at 10m" in done.stderr) == (1, True), (old, done.stderr)
    wrong.write_text(text.replace("alertname: KjrMessagesOld", "alertname: KjrNone"))
    assert "there is no such alert" in run(promcheck, "test", str(wrong)).stderr
    broken = tmp_path / "rules.yaml"
    broken.write_text("groups: [{name: x, rules: [{alert: A, expr: 'sum(', annotations: {summary: '{{ nope }}'}}]}]")
    done = run(promcheck, "rules", str(broken))
    assert (done.returncode, "could not parse expression" in done.stderr) == (1, True), done.stderr


@pytest.mark.timeout(600)
def test_rules_and_dashboard_ask_only_for_metrics_and_labels_that_exist(promcheck: Path) -> None:
    known = {series: metric for metric in metrics.registered() for series in metric.series}
    expressions = [rule["expr"] for rule in rules()] + dashboard_expressions()
    assert len(expressions) > 60
    done = run(promcheck, "parse", text=json.dumps(expressions))
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout):
        assert "error" not in found, found
        labels = set(FROM_PROMETHEUS)
        for selector in found["selectors"]:
            metric = known.get(selector["metric"])
            assert metric is not None, f"{found['expr']}: there is no {selector['metric']}"
            foreign = set(selector["labels"]) - set(metric.labels) - FROM_PROMETHEUS
            assert not foreign, f"{found['expr']}: {selector['metric']} has no label {foreign}"
            labels |= set(metric.labels)
        assert set(found["labels"]) <= labels, f"{found['expr']}: {set(found['labels']) - labels}"


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for rule in rules():
        name = rule["alert"]
        assert re.fullmatch(r"Kjr[A-Z][A-Za-z]+", name)
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}")


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    names = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {*names, "README"}
    index = (RUNBOOKS / "README.md").read_text()
    for name, severity in names.items():
        page = (RUNBOOKS / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n\nSeverity: {severity}.")
        assert [line for line in page.splitlines() if line.startswith("## ")] == HEADINGS, name
        assert "```sh" in page, f"{name}: no command to check with"
        assert f"| [{name}]({name}.md) | {severity} |" in index


def test_runbooks_name_only_settings_metrics_and_commands_that_exist() -> None:
    from kube_job_runner.cli.main import ALIASES, COMMANDS
    from kube_job_runner.settings import SETTINGS

    settings = {setting.variable for setting in SETTINGS.values()}
    known = {series for metric in metrics.registered() for series in (metric.name, *metric.series)}
    for page in [*RUNBOOKS.glob("*.md"), ROOT / "docs" / "how-to" / "monitor.md"]:
        text = page.read_text()
        assert set(re.findall(r"\bKJR_[A-Z_]+\b", text)) <= settings, page.name
        assert set(re.findall(r"\bkjr_[a-z_]+[a-z]\b", text)) <= known, page.name
        commands = set(re.findall(r"(?:^|-- |`)kjr ([a-z]+)", text, re.MULTILINE))
        assert commands <= {*COMMANDS, *ALIASES}, f"{page.name}: {commands}"


def test_the_dashboard_has_the_rows_that_an_operator_looks_for() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    wanted = ["Queue", "Start latency by phase", "Outcomes by cause", "Watches", "Database", "Saturation", "Logs"]
    assert [row for row in rows if row in wanted] == wanted
    assert len({panel["id"] for panel in panels}) == len(panels)
