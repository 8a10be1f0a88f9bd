"""The files that are made from the chart: renders, the Kustomize base, the pages of reference.

`python -m testbed chart` writes them; tests check that they are up to date.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from testbed import helm

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm" / "kube-job-runner"
BASE = ROOT / "deploy" / "kubernetes"
GOLDEN = ROOT / "tests" / "chart" / "golden"
MONITORING = ROOT / "deploy" / "monitoring"
NAME = "kube-job-runner"
VALUES_PAGE = ROOT / "docs" / "reference" / "helm-values.md"
RIGHTS_PAGE = ROOT / "docs" / "reference" / "rbac.md"
_RIGHTS_MARK = "<!-- made from the chart by `make chart` -->\n"
_HEAD = "# Made from the chart by `make kustomize`; change the chart, not this file.\n"
_RBAC_KINDS = ("ServiceAccount", "Role", "RoleBinding")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times as fast where the C library is there
_CLUSTER_KINDS = ("ClusterRole", "ClusterRoleBinding")


def cases() -> list[str]:
    """The names of the values files of `ci/`."""
    return sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


def render(*arguments: str, release: str = NAME, namespace: str = NAME) -> str:
    """What `helm template` makes of the chart. Raises helm.HelmError when it refuses the values."""
    return helm.text("template", release, str(CHART), "--namespace", namespace, *arguments)


def render_case(case: str) -> str:
    return render("--values", str(CHART / "ci" / f"{case}-values.yaml"))


def objects(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML text, without the empty ones."""
    return [document for document in yaml.load_all(text, _LOADER) if document]


def outputs() -> dict[Path, str]:
    """Every file that is made from the chart, with its up-to-date text."""
    return {
        **{GOLDEN / f"{case}.yaml": render_case(case) for case in cases()},
        **base(),
        VALUES_PAGE: values_page(),
        RIGHTS_PAGE: rights_page(),
    }


def write() -> list[Path]:
    """Writes what has changed and copies what the chart ships of deploy/monitoring; returns the files."""
    changed = []
    for name in ("alerts.yaml", "dashboard.json"):
        source, copy = MONITORING / name, CHART / "files" / name
        if source.exists() and source.read_bytes() != copy.read_bytes():
            shutil.copyfile(source, copy)
            changed.append(copy)
    for path, content in outputs().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
            changed.append(path)
    return changed


def base() -> dict[Path, str]:
    """The Kustomize base: what the chart makes of deploy/kubernetes/values.yaml, without the marks of Helm."""
    rendered = objects(render("--values", str(BASE / "values.yaml"), "--set", "rbac.nodeConditions=true"))
    kept = [_unmarked(item) for item in rendered if "helm.sh/hook" not in item["metadata"].get("annotations", {})]
    files: dict[Path, list[dict[str, Any]]] = {
        BASE / name: [] for name in ("rbac.yaml", "identity.yaml", "nodes.yaml", "workloads.yaml")
    }
    for item in kept:
        kind = item["kind"]
        name = "rbac.yaml" if kind in _RBAC_KINDS else "nodes.yaml" if kind in _CLUSTER_KINDS else "workloads.yaml"
        if item["metadata"].get("namespace") == "kube-system":
            name = "identity.yaml"
        files[BASE / name].append(item)
    return {path: _HEAD + yaml.safe_dump_all(items, sort_keys=False, width=120) for path, items in files.items()}


def _unmarked(item: dict[str, Any]) -> dict[str, Any]:
    for holder in (item, item.get("spec", {}).get("template", {})):
        labels = holder.get("metadata", {}).get("labels", {})
        labels.pop("helm.sh/chart", None)
        if labels.get("app.kubernetes.io/managed-by") == "Helm":
            labels["app.kubernetes.io/managed-by"] = "kustomize"
    return item


def rights(items: list[dict[str, Any]], component: str) -> dict[tuple[str, str], set[str]]:
    """What a component may do in a namespace of jobs: verbs by group and resource."""
    found: dict[tuple[str, str], set[str]] = {}
    for item in items:
        labels = item["metadata"].get("labels", {})
        if item["kind"] == "Role" and labels.get("app.kubernetes.io/component") == component:
            for rule in item["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def rights_page() -> str:
    """The page of the rights, with its table as the chart's Roles have it."""
    items = objects(render("--set", "database.existingSecret.name=x,queue.type=sqs,queue.sqs.url=sqs://x"))
    components = [
        item["metadata"]["labels"]["app.kubernetes.io/component"] for item in items if item["kind"] == "Deployment"
    ]
    rows = ["| component | resource | verbs |", "|---|---|---|"]
    for component in sorted(components):
        given = rights(items, component)
        for (group, resource), verbs in sorted(given.items()):
            rows.append(f"| {component} | {f'{group}/' if group else ''}{resource} | {', '.join(sorted(verbs))} |")
        if not given:
            rows.append(f"| {component} | none; no token is mounted | |")
    before, mark, rest = RIGHTS_PAGE.read_text().partition(_RIGHTS_MARK)
    _, _, after = rest.partition("\n\n")
    return before + mark + "\n".join(rows) + "\n\n" + after


def values_page() -> str:
    """The reference of the values, from the comments of values.yaml."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    lines = [
        "# Values of the Helm chart",
        "",
        "Made from the comments of `deploy/helm/kube-job-runner/values.yaml` by `make chart`. Unknown keys are refused.",
        "A component's value (`components.NAME`) wins over `defaults`: settings, labels and annotations are merged, lists named",
        "`extra…` are joined, the rest is replaced. Every key of `defaults` is allowed in every component.",
        "",
        "| value | default | meaning |",
        "|---|---|---|",
    ]
    for path, meaning in _documented(text):
        default: Any = values
        for key in path:
            default = default[key]
        shown = json.dumps(default, ensure_ascii=False)
        lines.append(f"| `{'.'.join(path)}` | `{shown}` | {meaning} |")
    return "\n".join(lines) + "\n"


def _documented(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys that have a comment `# --`, with it."""
    path: list[tuple[int, str]] = []
    meaning: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if bare.startswith("#"):
            if bare.startswith("# -- "):
                meaning = [bare[5:]]
            elif meaning:
                meaning.append(bare[2:])
            continue
        key, colon, _ = bare.partition(":")
        if not colon or bare.startswith("- "):
            meaning = []
            continue
        path = [*((depth, name) for depth, name in path if depth < indent), (indent, key)]
        if meaning:
            yield tuple(name for _, name in path), " ".join(meaning)
        meaning = []


def secrets_of(case: Mapping[str, Any]) -> set[str]:
    """The names of the Secrets that a pod template reads."""
    return {found["name"] for found in _references(case, "secretKeyRef")}


def _references(node: Any, key: str) -> Iterator[dict[str, Any]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == key:
                yield value
            else:
                yield from _references(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value, key)
