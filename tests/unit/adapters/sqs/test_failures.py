"""What SQS seldom does: partial failures, throttling, refusals. A scripted client stands where botocore's is."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from botocore import exceptions

from kube_job_runner.adapters.sqs import batches, message_queue
from kube_job_runner.adapters.sqs.client import Client, QueueMissing, UnfitRequest, translate
from kube_job_runner.adapters.sqs.message_queue import SqsQueue
from kube_job_runner.domain.errors import ConfigurationError, PermanentError, TemporaryError
from kube_job_runner.domain.messages import Check, Outgoing
from kube_job_runner.ports import Delivery

pytestmark = pytest.mark.asyncio


class Scripted:
    """Answers by operation, in turn; the last answer is given again. An exception is raised."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        async def call(**parameters: Any) -> Any:
            self.asked.append((operation, parameters))
            script = self.answers.get(operation, [{}])
            answer = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(answer, Exception):
                raise answer
            return answer(parameters) if callable(answer) else answer

        return call

    def entries(self, operation: str) -> list[list[str]]:
        """The ids of each request of an operation."""
        return [[entry["Id"] for entry in p["Entries"]] for name, p in self.asked if name == operation]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_queue, "_RETRY_SECONDS", 0.0)


def made(**answers: list[Any]) -> tuple[SqsQueue, Scripted]:
    raw = Scripted(**answers)
    return SqsQueue(Client(raw, where="SQS queue q"), "u", dead_letter_url="d"), raw


def refused(code: str, message: str = "no", status: int = 400) -> exceptions.ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(answer, "Operation")


def failed(number: int, code: str, *, sender: bool) -> dict[str, Any]:
    return {"Id": str(number), "Code": code, "Message": "m", "SenderFault": sender}


def received(count: int) -> dict[str, Any]:
    return {
        "Messages": [
            {"Body": "{}", "ReceiptHandle": uuid.uuid4().hex, "Attributes": {"ApproximateReceiveCount": "4"}}
            for _ in range(count)
        ]
    }


async def test_of_a_batch_only_what_was_not_taken_is_told() -> None:
    answer = {"Failed": [failed(1, "InternalError", sender=False), failed(2, "InvalidMessageContents", sender=True)]}
    q, _ = made(send_message_batch=[answer])
    outcomes = await q.send_bodies([b"a", b"b", b"c", b"d"])
    assert [type(outcome) for outcome in outcomes] == [type(None), TemporaryError, PermanentError, type(None)]
    assert "InternalError" in str(outcomes[1])


async def test_what_may_be_tried_again_is_told_before_what_may_not() -> None:
    answer = {"Failed": [failed(0, "InvalidMessageContents", sender=True), failed(1, "InternalError", sender=False)]}
    q, _ = made(send_message_batch=[answer])
    with pytest.raises(TemporaryError, match="InternalError"):
        await q.send([Outgoing(message=Check(job_id=uuid.uuid4())) for _ in range(2)])


async def test_a_request_that_is_refused_whole_is_sent_one_by_one() -> None:
    def one_is_bad(parameters: dict[str, Any]) -> dict[str, Any]:
        if any(entry["MessageBody"] == "bad" for entry in parameters["Entries"]):
            raise refused("InvalidMessageContents")
        return {}

    q, raw = made(send_message_batch=[one_is_bad])
    outcomes = await q.send_bodies([b"a", b"bad", b"c"])
    assert [type(outcome) for outcome in outcomes] == [type(None), UnfitRequest, type(None)]
    assert raw.entries("send_message_batch") == [["0", "1", "2"], ["0"], ["1"], ["2"]]


async def test_an_outage_puts_off_every_message() -> None:
    q, raw = made(send_message_batch=[exceptions.EndpointConnectionError(endpoint_url="http://x")])
    outcomes = await q.send_bodies([b"{}"] * 25)
    assert {type(outcome) for outcome in outcomes} == {TemporaryError}
    assert len(raw.asked) == 3


@pytest.mark.parametrize("body", [b"", b"\xff", b"x" * (batches.BODY_MAX_BYTES + 1)])
async def test_what_sqs_cannot_hold_is_never_sent(body: bytes) -> None:
    q, raw = made()
    [outcome] = await q.send_bodies([body])
    assert isinstance(outcome, PermanentError)
    assert raw.asked == []


async def test_a_long_delay_is_cut_and_a_short_one_rounded_up() -> None:
    q, raw = made()
    await q.send([Outgoing(message=Check(job_id=uuid.uuid4()), delay_seconds=delay) for delay in (0, 0.25, 7200)])
    [(_, parameters)] = raw.asked
    assert [entry.get("DelaySeconds") for entry in parameters["Entries"]] == [None, 1, 900]


async def test_a_full_answer_is_followed_by_several_requests_at_once() -> None:
    q, raw = made(receive_message=[received(10), received(10), received(10), received(4), received(0)])
    found = await q.receive(limit=45, wait_seconds=3, visibility_seconds=20.2)
    assert len(found) == 34
    assert found[0].deliveries == 4
    asked = [(p["MaxNumberOfMessages"], p["WaitTimeSeconds"], p["VisibilityTimeout"]) for _, p in raw.asked]
    assert asked == [(10, 3, 21), (10, 0, 21), (10, 0, 21), (10, 0, 21), (5, 0, 21)]


def message(receives: int, **attributes: str) -> dict[str, Any]:
    carried = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    counted = {"ApproximateReceiveCount": str(receives)}
    return {"Body": "{}", "ReceiptHandle": "r", "Attributes": counted, "MessageAttributes": carried}


@pytest.mark.parametrize(
    ("receives", "attributes", "deliveries", "unfinished"),
    [
        (1, {}, 1, False),
        (3, {}, 3, True),
        (1, {"kjr_counted": "4"}, 5, False),
        (1, {"kjr_counted": "4", "kjr_unfinished": "1"}, 5, True),
        (2, {"kjr_counted": "nonsense"}, 2, True),
        (1, {"kjr_error": "why", "kjr_deliveries": "10"}, 1, False),  # a dead letter that a person sent back
    ],
)
async def test_a_copy_carries_its_count(
    receives: int, attributes: dict[str, str], deliveries: int, *, unfinished: bool
) -> None:
    q, _ = made(receive_message=[{"Messages": [message(receives, **attributes)]}])
    [found] = await q.receive(limit=1, wait_seconds=0, visibility_seconds=20)
    assert (found.deliveries, found.unfinished) == (deliveries, unfinished)


async def test_what_is_given_back_is_copied_before_it_is_deleted() -> None:
    stale = {"Failed": [failed(1, "ReceiptHandleIsInvalid", sender=True)]}
    refused_one = {"Failed": [failed(1, "InternalError", sender=False)]}
    q, raw = made(change_message_visibility_batch=[stale, {}], send_message_batch=[refused_one])
    given = [Delivery(body=b"%d" % n, receipt=str(n), deliveries=n + 1, unfinished=n == 2) for n in range(4)]
    await q.give_back(given, delay_seconds=1.5, counted=False)
    sent = raw.asked[1][1]["Entries"]
    assert [(entry["MessageBody"], entry["DelaySeconds"]) for entry in sent] == [("0", 2), ("2", 2), ("3", 2)]
    carried = [
        {name: value["StringValue"] for name, value in entry.get("MessageAttributes", {}).items()} for entry in sent
    ]
    assert carried == [{}, {"kjr_counted": "2", "kjr_unfinished": "1"}, {"kjr_counted": "3"}]
    deleted = [entry["ReceiptHandle"] for entry in raw.asked[2][1]["Entries"]]
    assert deleted == ["0", "3"], "what was not copied stays, and comes back by itself"
    assert raw.asked[3][0] == "change_message_visibility_batch"


async def test_what_cannot_be_deleted_is_not_copied_again_and_again() -> None:
    """Otherwise a right that is missing would double the messages with each turn."""
    q, raw = made(delete_message_batch=[{"Failed": [failed(0, "InternalError", sender=False)]}])
    given = [Delivery(body=b"{}", receipt="r")]
    with pytest.raises(TemporaryError, match="delete message batch"):
        await q.give_back(given, delay_seconds=0, counted=False)
    raw.asked.clear()
    await q.give_back(given, delay_seconds=7, counted=False)
    [(operation, parameters)] = raw.asked
    assert operation == "change_message_visibility_batch"
    assert parameters["Entries"][0]["VisibilityTimeout"] == 7


async def test_what_came_is_not_lost_when_a_further_request_fails() -> None:
    q, _ = made(receive_message=[received(10), refused("OverLimit")])
    assert len(await q.receive(limit=20, wait_seconds=1, visibility_seconds=20)) == 10


async def test_a_bug_in_a_further_request_is_not_hidden() -> None:
    q, _ = made(receive_message=[received(10), {"Messages": [{}]}])
    with pytest.raises(KeyError):
        await q.receive(limit=20, wait_seconds=1, visibility_seconds=20)


async def test_too_many_in_flight_is_backpressure() -> None:
    """F19."""
    q, _ = made(receive_message=[refused("OverLimit", "120000 inflight")])
    with pytest.raises(TemporaryError, match="OverLimit") as caught:
        await q.receive(limit=10, wait_seconds=1, visibility_seconds=20)
    assert caught.value.delay_seconds >= 5


async def test_a_slow_receive_renews_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_queue, "_SLOW_RECEIVE_SECONDS", -1.0)
    q, raw = made(receive_message=[received(2)])
    await q.receive(limit=10, wait_seconds=0, visibility_seconds=30)
    assert raw.entries("change_message_visibility_batch") == [["0", "1"]]


async def test_a_receiver_that_is_stopped_waits_for_its_request_and_gives_back_what_came() -> None:
    arrived = asyncio.Event()

    class Slow(Scripted):
        async def receive_message(self, **parameters: Any) -> Any:
            await arrived.wait()
            return received(2)

    raw = Slow()
    q = SqsQueue(Client(raw, where="q"), "u", dead_letter_url=None)
    receiving = asyncio.create_task(q.receive(limit=10, wait_seconds=5, visibility_seconds=60))
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.sleep(0)
    assert not receiving.done()
    arrived.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    [(operation, parameters)] = raw.asked
    assert operation == "change_message_visibility_batch"
    assert [entry["VisibilityTimeout"] for entry in parameters["Entries"]] == [0, 0]


async def test_only_what_the_server_failed_at_is_tried_again() -> None:
    first = {"Failed": [failed(0, "ReceiptHandleIsInvalid", sender=True), failed(2, "InternalError", sender=False)]}
    q, raw = made(delete_message_batch=[first, {}])
    await q.ack(["stale", "good", "unlucky"])
    handles = [[entry["ReceiptHandle"] for entry in p["Entries"]] for _, p in raw.asked]
    assert handles == [["stale", "good", "unlucky"], ["unlucky"]]


async def test_what_the_server_keeps_failing_at_is_told() -> None:
    q, raw = made(delete_message_batch=[{"Failed": [failed(0, "InternalError", sender=False)]}])
    with pytest.raises(TemporaryError, match="1 not done: InternalError"):
        await q.ack(["a", "b"])
    assert len(raw.asked) == 3


async def test_a_request_of_stale_receipts_alone_is_no_error() -> None:
    q, _ = made(change_message_visibility_batch=[refused("InvalidParameterValue", "total of 12 hours")])
    await q.extend(["old"], visibility_seconds=60)


async def test_a_dead_letter_that_cannot_be_stored_stays_on_the_queue() -> None:
    q, raw = made(send_message_batch=[{"Failed": [failed(0, "Denied", sender=True)]}])
    with pytest.raises(TemporaryError, match="not moved to the dead-letter queue"):
        await q.dead_letter([Delivery(body=b"{}", receipt="r")], error="e")
    assert raw.entries("delete_message_batch") == []
    without = SqsQueue(Client(raw, where="q"), "u", dead_letter_url=None)
    with pytest.raises(TemporaryError, match="kjr queue init"):
        await without.dead_letter([Delivery(body=b"{}", receipt="r")], error="e")


async def test_a_call_without_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Scripted):
        async def get_queue_attributes(self, **parameters: Any) -> Any:
            await asyncio.Event().wait()

    client = Client(Silent(), where="q")
    with pytest.raises(TemporaryError, match="q: get queue attributes: TimeoutError"):
        await client.call("get_queue_attributes", timeout_seconds=0.01)


@pytest.mark.parametrize(
    ("error", "type_", "delay_seconds"),
    [
        (refused("ThrottlingException"), TemporaryError, 2.0),
        (refused("RequestThrottled"), TemporaryError, 2.0),
        (refused("AWS.SimpleQueueService.NonExistentQueue"), QueueMissing, 5.0),
        (refused("AccessDeniedException"), TemporaryError, 5.0),
        (refused("ExpiredToken"), TemporaryError, 5.0),
        (refused("InternalFailure", status=500), TemporaryError, 1.0),
        (FileNotFoundError("the token file"), TemporaryError, 1.0),
        (exceptions.CredentialRetrievalError(provider="p", error_msg="m"), TemporaryError, 1.0),
        (exceptions.NoCredentialsError(), ConfigurationError, None),
    ],
)
async def test_what_errors_mean(error: Exception, type_: type[Exception], delay_seconds: float | None) -> None:
    found = translate(error, "doing")
    assert type(found) is type_
    assert str(found).startswith("doing: ")
    assert getattr(found, "delay_seconds", None) == delay_seconds
