"""Formats the explanation of a job: one sentence, then the evidence of each attempt. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kube_job_runner.cli.terminal import describe, tables, text
from kube_job_runner.cli.terminal.output import Line

if TYPE_CHECKING:
    from kube_job_runner.client import Explanation

_NAME_WIDTH = 12
_ATTEMPTS_SHOWN = 3
_LINES_SHOWN = 8


def short(found: Explanation) -> Iterator[Line]:
    """Yield what fits one screen: the sentence, how each of the last attempts ended, the last lines, what to do."""
    yield Line(text.line(found.sentence), bold=True)
    if found.attempts:
        yield Line("")
    earlier = len(found.attempts) - _ATTEMPTS_SHOWN
    if earlier > 0:
        yield Line(f"{earlier} earlier attempts: kjr get --attempts {text.line(found.job_id)}")
    for attempt in found.attempts[-_ATTEMPTS_SHOWN:]:
        yield _end_of(attempt)
    for attempt in found.attempts[-1:]:
        for part in attempt.get("last_lines") or ():
            yield Line(f"last lines of {text.line(part.get('container'))}")
            yield from (Line(f"  | {text.line(line)}") for line in (part.get("lines") or ())[-_LINES_SHOWN:])
    if found.remedy:
        yield Line("")
        yield Line("what to do", bold=True)
        yield from (Line(f"  - {text.line(step)}", hang=4) for step in found.remedy)
    yield from _closing(found, f"all evidence: kjr explain --evidence {text.line(found.job_id)}")


def _end_of(attempt: dict[str, Any]) -> Line:
    verdict = attempt.get("verdict") or {}
    outcome, code = str(verdict.get("outcome") or ""), verdict.get("exit_code")
    ran, node = describe.span(attempt.get("started_at"), attempt.get("finished_at")), attempt.get("node")
    state = f": {tables.state_words(outcome)}" if outcome else ""
    parts = [
        f"attempt {attempt.get('number')}{state}",
        text.line(verdict.get("reason") or ""),
        "" if code is None else f"exit {code}",
        f"ran {ran}" if ran else "",
        f"on {text.line(node)}" if node else "",
    ]
    color = tables.state_color(outcome) if outcome else None
    return Line(", ".join(part for part in parts if part), color=color, colored=state.removeprefix(": "))


def _closing(found: Explanation, *more: str) -> Iterator[Line]:
    for missing in found.missing:
        yield Line(f"missing: {text.line(missing)}", color="yellow")
    yield Line("")
    steps = "; ".join((_next(found), *more))
    yield Line(f"job {text.line(found.job_id)}: {tables.state_words(found.state)}; {steps}")


def lines(found: Explanation) -> Iterator[Line]:
    """Yield the sentence and all evidence."""
    yield Line(text.line(found.sentence), bold=True)
    for attempt in found.attempts:
        yield Line("")
        yield from _attempt(attempt)
    if found.anomalies:
        yield Line("")
        yield Line("contrary evidence that came later; it did not change the state", color="yellow")
        for anomaly in found.anomalies:
            yield _pair(f"attempt {anomaly.get('attempt')}", f"{_time(anomaly, 'at')} {_of(anomaly, 'kind', 'detail')}")
    yield from _closing(found)


def _next(found: Explanation) -> str:
    identity = text.line(found.job_id)
    if found.state == "failed" and found.reason:
        wrote = any(attempt.get("started_at") for attempt in found.attempts)
        log = f"its log: kjr logs --tail 50 {identity}; " if wrote else ""
        return f"{log}this reason: kjr explain {text.line(found.reason)}; run it again: kjr rerun {identity}"
    if found.state in ("succeeded", "failed", "cancelled"):
        return f"run it again: kjr rerun {identity}"
    return f"watch it: kjr events -f {identity}"


def _attempt(attempt: dict[str, Any]) -> Iterator[Line]:
    verdict = attempt.get("verdict") or {}
    outcome = str(verdict.get("outcome") or "")
    head = f"attempt {attempt.get('number')}"
    if verdict:
        head += f": {tables.state_words(outcome)}, {text.line(verdict.get('reason') or '')}"
    yield Line(head, color=tables.state_color(outcome) if outcome else None, bold=True)
    if verdict:
        yield from _verdict(verdict)
    yield from _pairs(
        ("node", attempt.get("node")),
        ("memory", attempt.get("memory")),
        ("ran", describe.span(attempt.get("started_at"), attempt.get("finished_at"))),
        ("cluster job", _cluster_job(attempt.get("cluster_job") or {})),
    )
    for condition in (attempt.get("cluster_job") or {}).get("conditions") or ():
        yield _pair("condition", _condition(condition))
    for pod in attempt.get("pods") or ():
        yield from _pod(pod)
    for event in attempt.get("events") or ():
        yield _pair("event", _event(event))
    for node in attempt.get("nodes") or ():
        for condition in node.get("conditions") or ():
            yield _pair(f"node {text.line(node.get('name'))}", _condition(condition))
    for part in attempt.get("last_lines") or ():
        yield Line(f"  last lines of {text.line(part.get('container'))}")
        yield from (Line(f"    | {text.line(line)}") for line in part.get("lines") or ())


def _verdict(verdict: dict[str, Any]) -> Iterator[Line]:
    code, signal = verdict.get("exit_code"), verdict.get("signal")
    charged = verdict.get("charged_to")
    yield from _pairs(
        ("why", verdict.get("explanation")),
        ("exit code", None if code is None else str(code) + (f" (signal {signal})" if signal else "")),
        ("at fault", _AT_FAULT.get(str(verdict.get("cause")), verdict.get("cause"))),
        ("charged to", charged if verdict.get("outcome") != "failed" else charged or "nothing: there is no retry"),
        ("then", _followed(verdict)),
        ("rule", verdict.get("rule")),
    )  # fmt: skip


def _followed(verdict: dict[str, Any]) -> str:
    if verdict.get("outcome") != "failed" or not verdict.get("followed"):
        return ""
    return ("" if verdict.get("retried") else "no retry: ") + str(verdict["followed"])


_AT_FAULT = {
    "application": "the program (application)",
    "infrastructure": "the cluster (infrastructure)",
    "permanent": "the job's spec (permanent)",
}


def _pod(pod: dict[str, Any]) -> Iterator[Line]:
    left = "left the cluster" if pod.get("gone") else ""
    yield _pair("pod", "  ".join(part for part in (_of(pod, "name"), _of(pod, "phase"), left) if part))
    if pod.get("reason") or pod.get("message"):
        yield _pair("", _of(pod, "reason", "message"))
    for condition in pod.get("conditions") or ():
        if condition.get("status") != "True" or condition.get("reason"):
            yield _pair("condition", _condition(condition))
    for container in pod.get("containers") or ():
        yield _pair("container", _container(container))


def _container(container: dict[str, Any]) -> str:
    kind = container.get("kind")
    code, signal, restarts = container.get("exit_code"), container.get("signal"), container.get("restarts")
    parts = [
        f"{container.get('name')}" + (f" ({kind})" if kind != "main" else ""),
        container.get("state") or "",
        "" if code is None else f"exit {code}",
        f"signal {signal}" if signal else "",
        f"{restarts} restarts" if restarts else "",
        describe.span(container.get("started_at"), container.get("finished_at")),
        _of(container, "reason", "message"),
    ]
    return "  ".join(part for part in parts if part)


def _cluster_job(job: dict[str, Any]) -> str:
    gone = f" (left the cluster {_time(job, 'gone_at')})" if job.get("gone_at") else ""
    return f"{job.get('namespace')}/{job.get('name')}{gone}" if job else ""


def _condition(condition: dict[str, Any]) -> str:
    detail = _of(condition, "reason", "message")
    return f"{condition.get('type')}={condition.get('status')}" + (f"  {detail}" if detail else "")


def _event(event: dict[str, Any]) -> str:
    count = event.get("count") or 1
    times = f"{count} times, last " if count > 1 else ""
    return f"{_of(event, 'reason', 'message')} ({times}{_time(event, 'last_at') or _time(event, 'first_at')})"


def _of(item: dict[str, Any], *names: str) -> str:
    return ": ".join(str(item[name]) for name in names if item.get(name))


def _time(item: dict[str, Any], name: str) -> str:
    return str(item.get(name) or "").replace("T", " ")[:19]


def _pairs(*pairs: tuple[str, Any]) -> Iterator[Line]:
    for name, value in pairs:
        if value not in (None, ""):
            yield _pair(name, str(value))


def _pair(name: str, value: str) -> Line:
    return Line(f"  {name:<{_NAME_WIDTH}} {text.line(value.strip())}")
