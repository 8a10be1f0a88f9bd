"""The types of the job spec: what they refuse."""

from __future__ import annotations

import msgspec
import pytest

from kube_job_runner.domain.spec.model import JobSpec


@pytest.mark.parametrize(
    "body",
    [
        '{"image":"a","name":"x\\n"}',
        '{"image":"a","name":"X"}',
        '{"image":"a","priority":101}',
        '{"image":""}',
        "{}",
        '{"image":"a","env":{"1A":"x"}}',
        '{"image":"a","labels":{"a/b/c":"x"}}',
        '{"image":"a","labels":{"a":"-"}}',
        '{"image":"a","resources":{"cpu":"1 core"}}',
        '{"image":"a","resources":{"memory":"-1Gi"}}',
        '{"image":"a","privileged":true}',
        '{"image":"a","timeouts":{"run_seconds":0}}',
        '{"image":"a","retry":{"attempts":21}}',
        '{"image":"a","volumes":[{"name":"v","mount_path":"relative"}]}',
        '{"image":"a","volumes":[{"name":"v","mount_path":"/d","host_path":"/"}]}',
    ],
)
def test_what_the_types_refuse(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=JobSpec)
