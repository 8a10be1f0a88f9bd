"""The recorded watch streams, and the facts that are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kube_job_runner.adapters.kubernetes import decode
from kube_job_runner.adapters.kubernetes.decode import Line
from kube_job_runner.domain.facts import JobFacts, PodFacts

FOLDER = Path(__file__).parents[1] / "fixtures" / "watch"
GOLDEN = FOLDER / "facts.golden.jsonl"

CASES = tuple(sorted(path.name.removesuffix(".jobs.jsonl") for path in FOLDER.glob("*.jobs.jsonl")))


def raw_lines(case: str, kind: str) -> list[bytes]:
    """Return the lines of a stream; `kind` is `jobs` or `pods`."""
    return [line for line in (FOLDER / f"{case}.{kind}.jsonl").read_bytes().splitlines() if line]


def lines(case: str, kind: str) -> list[Line[Any]]:
    """Return the decoded lines of a stream."""
    decoder: Any = decode.JOBS if kind == "jobs" else decode.PODS
    return [decoder.line(line) for line in raw_lines(case, kind)]


def job_facts(case: str) -> list[JobFacts]:
    """Return the facts of all Jobs of a case, in the order seen."""
    return [line.item.facts for line in lines(case, "jobs") if line.item is not None]


def pod_facts(case: str) -> list[PodFacts]:
    """Return the facts of all Pods of a case, in the order seen."""
    return [line.item.facts for line in lines(case, "pods") if line.item is not None]


def golden() -> Iterator[bytes]:
    """Yield what `facts.golden.jsonl` should hold."""
    for case in CASES:
        for kind in ("jobs", "pods"):
            for line in lines(case, kind):
                facts = line.item.facts if line.item is not None else None
                entry = {
                    "stream": f"{case}.{kind}",
                    "type": line.type,
                    "version": line.resource_version,
                    "facts": facts,
                }
                yield msgspec.json.encode(entry)


if __name__ == "__main__":
    GOLDEN.write_bytes(b"\n".join(golden()) + b"\n")
