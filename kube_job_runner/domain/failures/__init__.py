"""The failure table: from the signals of Kubernetes to a category, a verdict and a sentence for a person.

The diagnosis looks at one place (`where`) after the other. Within a place, the rules are tried in the order of the table; the
first one whose Kubernetes reason, message and exit code fit decides. A pattern matches how the kubelet, the runtimes
(containerd, CRI-O, cri-dockerd, with runc, crun, gVisor) and the registries word an error in general, because the literal
texts change with each version. A signal that no rule knows is never fatal: the job waits, and the signal is counted.

`rules` holds the rows, `table` searches them, `event_meanings` says which status a Kubernetes Event repeats, and `custom` reads
the rules of an installation. `ends` and `refusals` hold what the product itself decides. `categories` holds the manual pages,
and `codes` converts categories and reason codes.
"""

from kube_job_runner.domain.failures.custom import RulesError, parse_custom
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
    "Where", "classify", "finding", "grace_seconds", "parse_custom", "severity", "signal_name",
]  # fmt: skip
