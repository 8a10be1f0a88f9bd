"""The real Helm, built once from Go modules like the cluster's programs, and the chart of this project.

Only Helm itself can say what a chart renders. `testbed.chart` writes everything that is made from the chart: the Kustomize
base, the golden renders, the reference of its values.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from testbed import build, cache

GO_DIR = Path(__file__).resolve().parent / "helm"
HELM_VERSION = "v4.3.1"
_PACKAGE = "helm.sh/helm/v4/cmd/helm"
_FLAGS = ("-trimpath", "-tags=netgo,osusergo", "-gcflags=all=-dwarf=false")
_LDFLAGS = f"-s -w -X helm.sh/helm/v4/internal/version.version={HELM_VERSION}"


class HelmError(RuntimeError):
    """Helm ended with an error; the message is its output."""


def cache_key() -> str:
    """Returns the name of the build of this Helm; whatever changes the program changes the key."""
    digest = hashlib.sha256()
    for source in (GO_DIR / "go.mod", GO_DIR / "go.sum"):
        digest.update(source.read_bytes())
    digest.update(repr((_FLAGS, _LDFLAGS, _PACKAGE, sys.platform, platform.machine())).encode())
    return digest.hexdigest()[:20]


def path() -> Path:
    return cache.cache_dir() / "helm" / cache_key() / "helm"


def ensure_built(report: build.Report = build.report_to_stderr) -> Path:
    """Returns the program; builds it when the cache has none. Two callers never build twice.

    Raises build.GoMissing or build.BuildError.
    """
    target = path()
    if target.exists():
        return target
    go = shutil.which("go")
    if go is None:
        raise build.GoMissing
    lock = target.parent.parent / f"{target.parent.name}.lock"
    with cache.file_lock(lock, on_wait=lambda: report("another process is building Helm; waiting for it")):
        if not target.exists():
            _build(go, target, report)
    return target


def _build(go: str, target: Path, report: build.Report) -> None:
    report("building Helm from source: minutes the first time, then never again")
    work = Path(tempfile.mkdtemp(prefix=f".{target.parent.name}-", dir=target.parent.parent))
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    try:
        command = [go, "build", *_FLAGS, f"-ldflags={_LDFLAGS}", "-o", str(work / "helm"), _PACKAGE]
        done = subprocess.run(command, cwd=GO_DIR, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise build.BuildError(f"go build of helm ended with {done.returncode}:\n{done.stderr[-4000:]}")
        work.rename(target.parent)  # whole or not at all
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(f"built: {target}")


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout_seconds: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Runs Helm with its own folders instead of the user's; returns its output, whatever its exit code."""
    program = ensure_built()
    with tempfile.TemporaryDirectory(prefix="kjr-helm-") as home:
        own = dict.fromkeys(("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HOME"), home)
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
        return subprocess.run(
            [str(program), *arguments],
            env={**variables, **own, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )


def text(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What Helm prints. Raises HelmError when it fails."""
    done = run(*arguments, environment=environment)
    if done.returncode != 0:
        raise HelmError(f"helm {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
