"""`kjr classify`: applies the failure rules to messages from a cluster, line by line, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kube_job_runner.cli.terminal import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kube_job_runner.domain import failures

LINE_MAX_BYTES = 1024 * 1024


@click.command("classify")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--rules", type=click.Path(path_type=Path, dir_okay=False),
              help="YAML or JSON file with your own rules, tried first. [env: KJR_FAILURE_RULES]")  # fmt: skip
def command(file: BinaryIO, rules: Path | None) -> int:
    """Classify messages: read one JSON record per line from FILE or stdin, write one JSON line for each.

    A record has `where` (container.waiting, container.terminated, pod.status, pod.condition, job.condition, event, api),
    `reason`, `message` and `exit_code`. An `id` is passed through. The exit code is 1 if a line is not such a record.
    """
    import msgspec

    from kube_job_runner import settings
    from kube_job_runner.bootstrap import rules as rule_files

    configured = settings.load()
    table = rule_files.load(rules, named="--rules") if rules else rule_files.load(configured.process.failure_rules)
    graces = msgspec.structs.asdict(configured.graces)
    wrong = 0
    for number, line in _lines(file):
        try:
            answer = _answer(_record(line), table, graces)
        except ValueError as error:
            wrong += 1
            click.echo(f"kjr: line {number}: {text.line(error)}", err=True)
        else:
            click.echo(text.json_safe(json.dumps(answer, ensure_ascii=False)))
    return 1 if wrong else 0


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LINE_MAX_BYTES + 1):
        number += 1
        if len(line) > LINE_MAX_BYTES:
            while (more := file.readline(LINE_MAX_BYTES)) and not more.endswith(b"\n"):
                pass
        if line.strip():
            yield number, line


def _record(line: bytes) -> dict[str, Any]:
    from kube_job_runner.domain import failures

    if len(line) > LINE_MAX_BYTES:
        raise ValueError(f"the line is longer than {LINE_MAX_BYTES} bytes; shorten the message")
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"a record must be an object, not {type(record).__name__}")
    if record.get("where") not in failures.WHERES:
        raise ValueError(f"where: {record.get('where')!r} is not a place; use one of {', '.join(failures.WHERES)}")
    for field in ("reason", "message"):
        if not isinstance(record.setdefault(field, ""), str | None):
            raise ValueError(f"{field}: must be a string")
    code = record.get("exit_code")
    if isinstance(code, bool) or not isinstance(code, int | None):
        raise ValueError("exit_code: must be an integer, or absent")
    return record


def _answer(record: dict[str, Any], table: failures.Table, graces: Mapping[str, float]) -> dict[str, Any]:
    from kube_job_runner.domain import failures

    answer: dict[str, Any] = {"id": record["id"]} if "id" in record else {}
    found = table.classify(
        record["where"], record["reason"] or "", record["message"] or "", exit_code=record.get("exit_code")
    )
    if found is None:
        explanation = "No rule matches. This is never fatal: the job waits until its start timeout."
        known = {"category": "unknown", "verdict": "wait", "grace_seconds": 0.0, "reason": "Unknown", "rule": None}
        return answer | known | {"explanation": explanation}
    return answer | {
        "category": found.category,
        "verdict": found.verdict,
        "grace_seconds": failures.grace_seconds(found.rule, graces),
        "reason": found.reason,
        "rule": found.rule.name,
        "explanation": found.explanation,
    }
