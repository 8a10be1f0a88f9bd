"""The explanation of a job whose attempts failed, with evidence of every kind."""

from __future__ import annotations

from typing import Any

from tests.unit.cli.stub import ENDED, STARTED

EVIDENCE: dict[str, Any] = {
    "sentence": "Failed on node n1: the program\x1b[31m was killed.",
    "state": "failed",
    "reason": "OutOfMemory",
    "attempts": [
        {
            "number": 1,
            "verdict": {
                "outcome": "failed",
                "reason": "NodePressureEvicted",
                "explanation": "Evicted.",
                "cause": "infrastructure",
                "charged_to": "infrastructure",
                "retried": True,
                "followed": "free retry 1 of 5 follows",
            },
        },
        {
            "number": 2,
            "verdict": {
                "outcome": "failed",
                "reason": "OutOfMemory",
                "explanation": "Container main used more memory than 1Gi.",
                "exit_code": 137,
                "signal": 9,
                "cause": "application",
                "rule": "oom-killed",
                "charged_to": "attempts",
                "retried": False,
                "followed": "it was attempt 1 of 1",
            },
            "node": "n1",
            "memory": "1024Mi",
            "started_at": STARTED,
            "finished_at": ENDED,
            "cluster_job": {
                "namespace": "default",
                "name": "etl-2",
                "gone_at": ENDED,
                "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}],
            },
            "pods": [
                {
                    "name": "etl-2-x",
                    "phase": "Failed",
                    "gone": True,
                    "reason": "Evicted",
                    "message": "low\non memory",
                    "conditions": [
                        {"type": "PodScheduled", "status": "True"},
                        {"type": "Ready", "status": "False", "reason": "PodFailed"},
                    ],
                    "containers": [
                        {"name": "fetch", "kind": "init", "state": "terminated", "exit_code": 0},
                        {
                            "name": "main",
                            "kind": "main",
                            "state": "terminated",
                            "reason": "OOMKilled",
                            "exit_code": 137,
                            "signal": 9,
                            "restarts": 2,
                            "started_at": STARTED,
                            "finished_at": ENDED,
                        },
                    ],
                }
            ],
            "events": [
                {"reason": "BackOff", "message": "slow", "count": 7, "first_at": STARTED, "last_at": ENDED},
                {"reason": "Pulled", "message": "done", "count": 1, "first_at": STARTED, "last_at": None},
            ],
            "nodes": [{"name": "n1", "conditions": [{"type": "MemoryPressure", "status": "True", "reason": "Low"}]}],
            "last_lines": [{"container": "main", "lines": ["one", "two\x1b[2J"]}],
        },
    ],
    "anomalies": [{"attempt": 2, "kind": "CompletedLater", "detail": "it completed", "at": ENDED}],
    "missing": ["the node cannot be read now"],
}
