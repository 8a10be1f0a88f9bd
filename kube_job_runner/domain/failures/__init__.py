"""What a failure means: a table from the signals of Kubernetes to a category, what to do, and a sentence for a person.

Rules are tried in the order of the table, within the place (`where`) that the diagnosis looks at; the first whose Kubernetes
reason and message fit decides. Messages are matched on how the kubelet, the runtimes (containerd, CRI-O, cri-dockerd, with
runc, crun, gVisor) and the registries word their errors in general, never on one literal text, for the texts change with
each version. What no rule knows is never fatal: it waits, and is counted.

`images`, `causes` with `starting`, `ended`, `cluster` and `admission`
hold the rows by place; `events` says of which place a Kubernetes
Event speaks; `extra` reads the rows of an installation's own.
"""

from kube_job_runner.domain.failures.custom import RulesError, parse_extra
from kube_job_runner.domain.failures.rule import (
    GRACES_SECONDS,
    VERDICTS,
    WHERES,
    Action,
    Finding,
    Grace,
    Rule,
    Where,
    finding,
    grace_seconds,
    severity,
    signal_name,
)
from kube_job_runner.domain.failures.table import RULES, TABLE, Table, classify

__all__ = [
    "GRACES_SECONDS", "RULES", "TABLE", "VERDICTS", "WHERES", "Action", "Finding", "Grace", "Rule", "RulesError", "Table",
    "Where",     "classify", "finding", "grace_seconds", "parse_extra", "severity",
    "signal_name",
]  # fmt: skip
