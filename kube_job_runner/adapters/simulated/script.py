"""Scripts of simulated jobs, read from the annotations of a spec. The nodes of the test bed use the same names.

kjr.test/mode            absent or ok: run, then finish | imagepull | waiting | stuck (ContainerCreating for ever) |
                         unschedulable | configerror | starterror | evicted | nopod (a Job whose pod is refused)
kjr.test/start           delay before Running, "2s"
kjr.test/run             run time before the end, "5s" (absent: ends at once; "forever": until ended or deleted)
kjr.test/exit-code       "3" (absent: 0)
kjr.test/reason          reason of a non-zero exit, "OOMKilled" (absent: Error)
kjr.test/message         termination message
kjr.test/waiting-reason  mode waiting: "CreateContainerConfigError" and the like
kjr.test/waiting-message mode waiting: its message
kjr.test/image-error     mode imagepull: the registry's answer
kjr.test/grace           time between SIGTERM and the exit, "2s"
kjr.test/term-code       exit code on SIGTERM (absent: 143)
kjr.test/event           a Warning Event about the pod once it has a node, "FailedMount: secret not found"
kjr.test/log             the output of the container at its start
"""

import re
from typing import Literal, get_args

import msgspec

from kube_job_runner.domain.spec.model import JobSpec

PREFIX = "kjr.test/"
Mode = Literal["ok", "imagepull", "waiting", "stuck", "unschedulable", "configerror", "starterror", "evicted", "nopod"]

_MODES: tuple[str, ...] = get_args(Mode)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What a job will do. Times are in seconds. With a `run_seconds` of None it runs until it is ended or deleted."""

    mode: Mode = "ok"
    start_seconds: float = 0.0
    run_seconds: float | None = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    waiting_reason: str = "ContainerCreating"
    waiting_message: str = ""
    image_error: str = "not found"
    grace_seconds: float = 0.0
    term_code: int = 143
    event: str = ""
    log: bytes = b""


def seconds(text: str) -> float:
    """Return the seconds of a duration in Go's notation (`1m30s`, `250ms`).

    Raises:
        ValueError: the text is not such a duration.
    """
    if not re.fullmatch(f"({_DURATION.pattern})+", text):
        raise ValueError(f"{text!r} is not a duration like 2s, 1m30s or 250ms")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(text))


def read(spec: JobSpec) -> Script:
    """Return the script of a spec's annotations.

    Raises:
        ValueError: an annotation cannot be read.
    """
    given = {key.removeprefix(PREFIX): value for key, value in spec.annotations.items() if key.startswith(PREFIX)}
    mode = given.get("mode", "ok")
    if mode not in _MODES:
        raise ValueError(f"{PREFIX}mode is {mode!r}; it must be one of {', '.join(_MODES)}")
    run = given.get("run", "0s")
    return Script(
        mode=mode,  # type: ignore[arg-type]  # one of _MODES, which are the literal's
        start_seconds=seconds(given.get("start", "0s")),
        run_seconds=None if run == "forever" else seconds(run),
        exit_code=int(given.get("exit-code", "0")),
        reason=given.get("reason", ""),
        message=given.get("message", ""),
        waiting_reason=given.get("waiting-reason", "ContainerCreating"),
        waiting_message=given.get("waiting-message", ""),
        image_error=given.get("image-error", "not found"),
        grace_seconds=seconds(given.get("grace", "0s")),
        term_code=int(given.get("term-code", "143")),
        event=given.get("event", ""),
        log=given.get("log", "").encode(),
    )
