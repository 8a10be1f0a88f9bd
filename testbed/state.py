"""The record of a running cluster, with which another process can find it, use it and end it."""

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from testbed import cache
from testbed.processes import ProcessId

_FILE = "state.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass
class State:
    """One cluster. The file is rewritten whole at every change."""

    name: str
    bin_dir: Path
    profile: str
    audit: bool
    pod_logs: bool
    ports: dict[str, int]
    tokens: dict[str, str]
    starter: ProcessId
    leashed: bool  # the cluster ends with its starter
    workloads: bool = False
    processes: dict[str, ProcessId] = field(default_factory=dict)
    run_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a cluster: use a-z, 0-9 and -, at most 40")
        self.run_dir = cache.runs_dir() / self.name

    def claim(self) -> None:
        """Claims the name by creating its folder; what a dead cluster left there is deleted.

        Raises FileExistsError when a cluster of that name runs.
        """
        with cache.file_lock(cache.runs_dir() / ".lock"):
            if self.run_dir.exists():
                if _is_in_use(self.name):
                    raise FileExistsError(f"a cluster named {self.name} runs already")
                shutil.rmtree(self.run_dir)
            self.run_dir.mkdir(mode=0o700, parents=True)
            self.save()

    def save(self) -> None:
        """Writes the file atomically, readable only by us: the tokens are in it."""
        text = json.dumps(asdict(self), indent=1, default=str)
        handle, temporary = tempfile.mkstemp(dir=self.run_dir, prefix=f".{_FILE}-")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(self.run_dir / _FILE)

    def is_in_use(self) -> bool:
        return self.is_running() or (not self.processes and self.starter.is_alive())

    def is_running(self) -> bool:
        return any(process.is_alive() for process in self.processes.values())


def load(name: str) -> State:
    """Raises FileNotFoundError when there is no cluster of that name."""
    data: dict[str, Any] = json.loads((cache.runs_dir() / name / _FILE).read_text())
    return State(
        name=data["name"],
        bin_dir=Path(data["bin_dir"]),
        profile=data["profile"],
        audit=data["audit"],
        pod_logs=data["pod_logs"],
        ports=data["ports"],
        tokens=data["tokens"],
        starter=ProcessId.from_json(data["starter"]),
        leashed=data["leashed"],
        workloads=data.get("workloads", False),
        processes={name: ProcessId.from_json(process) for name, process in data["processes"].items()},
    )


def load_all() -> Iterator[State]:
    """Every cluster on record, running or not."""
    for path in sorted(cache.runs_dir().glob(f"*/{_FILE}")):
        try:
            yield load(path.parent.name)
        except (FileNotFoundError, ValueError, KeyError):  # removed meanwhile, or written by another version
            continue


def remove_dead(*, older_than_seconds: float = 0) -> list[str]:
    """Deletes what killed clusters left behind, and returns their names."""
    removed = []
    for record in load_all():
        age_seconds = time.time() - record.run_dir.stat().st_mtime
        if not record.is_in_use() and age_seconds >= older_than_seconds:
            shutil.rmtree(record.run_dir, ignore_errors=True)
            removed.append(record.name)
    return removed


def _is_in_use(name: str) -> bool:
    try:
        return load(name).is_in_use()
    except (FileNotFoundError, ValueError, KeyError):
        return False
