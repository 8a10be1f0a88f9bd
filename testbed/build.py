"""Builds the cluster's programs from Go modules, once per content of the sources.

No binaries are downloaded: a machine needs only a Go module proxy, and go.sum pins every byte. The first build takes
minutes, so the result is kept in a cache. Its key is a hash of the sources.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed import cache

GO_DIR = Path(__file__).resolve().parent / "go"
KUBERNETES_VERSION = "v1.36.3"
KWOK_VERSION = "v0.8.0"
APPLETS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")

_VERSION_PACKAGE = "k8s.io/component-base/version"
_, _MINOR, _ = KUBERNETES_VERSION.split(".")
# Without DWARF the cold build takes an eighth less time, and these programs are not debugged.
_FLAGS = ("-trimpath", "-tags=netgo,osusergo", "-gcflags=all=-dwarf=false")
# A server without the stamp calls itself v0.0.0-master.
_KUBERNETES_LDFLAGS = (
    f"-s -w -X {_VERSION_PACKAGE}.gitVersion={KUBERNETES_VERSION} -X {_VERSION_PACKAGE}.gitMajor=1"
    f" -X {_VERSION_PACKAGE}.gitMinor={_MINOR} -X {_VERSION_PACKAGE}.gitTreeState=clean"
)
_KWOK_LDFLAGS = f"-s -w -X sigs.k8s.io/kwok/pkg/consts.Version={KWOK_VERSION}"
_PROGRAMS = (  # output, package, linker flags
    ("helper", "./cmd/helper", "-s -w"),
    ("k8s", "./cmd/k8s", _KUBERNETES_LDFLAGS),
    ("kwok", "sigs.k8s.io/kwok/cmd/kwok", _KWOK_LDFLAGS),
    ("floor", "./cmd/floor", "-s -w"),
)
_PROGRESS_INTERVAL_SECONDS = 15
_ERROR_LINES = 40

Report = Callable[[str], None]


class GoMissing(RuntimeError):
    """Go is not installed, the test bed cannot be built."""

    def __str__(self) -> str:
        return str(self.__doc__)


class BuildError(RuntimeError):
    """The Go build ended with an error; the message holds the end of its output."""


def report_to_stderr(line: str) -> None:
    print(f"testbed: {line}", file=sys.stderr, flush=True)


def cache_key(go_dir: Path = GO_DIR) -> str:
    """Returns the name of the build of these sources; whatever changes a program changes the key."""
    digest = hashlib.sha256()
    sources = [go_dir / "go.mod", go_dir / "go.sum", *sorted(go_dir.rglob("*.go"))]
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{source.relative_to(go_dir).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    digest.update(repr((_FLAGS, _PROGRAMS, sys.platform, platform.machine())).encode())
    return digest.hexdigest()[:20]


def is_built() -> bool:
    return (cache.builds_dir() / cache_key()).is_dir()


def ensure_built(report: Report = report_to_stderr) -> Path:
    """Returns the folder that holds the programs; builds them when the cache has none.

    Raises GoMissing or BuildError. Two callers never build twice: the second waits for the first.
    """
    key = cache_key()
    target = cache.builds_dir() / key
    if target.is_dir():
        return target / "bin"
    go = shutil.which("go")
    if go is None:
        raise GoMissing
    wait_text = "another process is building the test bed; waiting for it"
    with cache.file_lock(cache.builds_dir() / f"{key}.lock", on_wait=lambda: report(wait_text)):
        if not target.is_dir():
            _build(go, target, report)
    return target / "bin"


def remove_other_builds() -> list[Path]:
    """Deletes every build except the one of the present sources; a build in progress keeps its lock and its folder."""
    keep = cache_key()
    others = [path for path in cache.builds_dir().glob("[0-9a-f]*") if path.is_dir() and path.name != keep]
    for path in others:
        shutil.rmtree(path, ignore_errors=True)
    return others


def _build(go: str, target: Path, report: Report) -> None:
    for leftover in target.parent.glob(f".{target.name}-*"):  # of a build that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    start = time.monotonic()
    report("building Kubernetes, etcd and KWOK from source: minutes the first time, then never again")
    try:
        bin_dir = work / "bin"
        bin_dir.mkdir()
        for output, package, ldflags in _PROGRAMS:
            command = [go, "build", "-v", *_FLAGS, f"-ldflags={ldflags}", "-o", str(bin_dir / output), package]
            _run_go(output, command, report)
        for applet in APPLETS:
            (bin_dir / applet).symlink_to("k8s")
        work.rename(target)  # atomic: a reader never sees half a build
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(f"built in {time.monotonic() - start:.0f} s: {target}")


def _run_go(name: str, command: Sequence[str], report: Report) -> None:
    """Runs one `go build -v`, which names each package it compiles on a line of its own."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    tail: deque[str] = deque(maxlen=_ERROR_LINES)
    start = next_report = time.monotonic()
    packages = 0
    with subprocess.Popen(
        command, cwd=GO_DIR, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            packages += 1
            if time.monotonic() >= next_report:
                report(f"{name}: {packages} packages, {time.monotonic() - start:.0f} s")
                next_report = time.monotonic() + _PROGRESS_INTERVAL_SECONDS
    if process.returncode != 0:
        raise BuildError(f"go build of {name} ended with {process.returncode}:\n" + "\n".join(tail))
