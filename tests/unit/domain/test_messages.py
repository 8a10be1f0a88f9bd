"""Messages as they travel: what is sent arrives, older bodies are understood, and what is not understood is refused."""

from __future__ import annotations

import msgspec
import pytest

from kube_job_runner.domain import messages
from kube_job_runner.domain.facts import EventFacts, JobFacts, NodeFacts, PodFacts, Seen
from kube_job_runner.domain.messages import CancelRequested, Check, Delete, Message, Observed, Submitted
from tests.support.domain import JOB_ID, T0

SEEN: dict[str, Seen] = {
    "job": JobFacts(uid="u", gone=True),
    "pod": PodFacts(uid="p", phase="Running"),
    "event": EventFacts(uid="e", message="Error: not found"),
    "node": NodeFacts(name="n", seen_at=T0),
}
DELETE = Delete(job_id=JOB_ID, attempt=1, namespace="ns", cluster_name="c", cluster_uid="u", pods=(("p", "q"),))


@pytest.mark.parametrize(
    "message", [Submitted(job_id=JOB_ID), CancelRequested(job_id=JOB_ID), Check(job_id=JOB_ID), DELETE]
)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    body = messages.encode(message)
    assert messages.decode(body) == message
    assert msgspec.json.decode(body)["type"] == messages.type_name(message)


@pytest.mark.parametrize("field", SEEN)
def test_an_observation_is_on_the_wire_what_it_has_been_since_version_1(field: str) -> None:
    """Processors of the last release read it, and what their watchers sent is read: the field says what was seen."""
    message = Observed(job_id=JOB_ID, attempt=2, seen=SEEN[field])
    body = {"type": "observed", "job_id": str(JOB_ID), "attempt": 2, field: msgspec.to_builtins(SEEN[field])}
    assert msgspec.json.decode(messages.encode(message)) == msgspec.json.decode(msgspec.json.encode(body))
    assert messages.decode(msgspec.json.encode(body)) == message
    assert messages.type_name(message) == "observed"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"v": 99, "type": "check"}, "unknown message version 99"),
        ({"type": "what"}, "Invalid value 'what'"),
        ({"type": "observed", "attempt": 1}, "the facts of one object, this one of 0"),
        ({"type": "observed", "attempt": 1, "job": {"uid": "u"}, "pod": {"uid": "p"}}, "this one of 2"),
    ],
)
def test_what_is_not_understood_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        messages.decode(msgspec.json.encode({"job_id": str(JOB_ID), **fields}))
