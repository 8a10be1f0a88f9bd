"""Stored JSON of a newer program: what is unknown is left out, at every depth, in every type that is stored."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from kube_job_runner.adapters.postgres import rows
from kube_job_runner.adapters.postgres.tolerant_json import TolerantDecoder
from kube_job_runner.domain.facts import AttemptFacts, Condition, EventFacts, JobFacts, NodeFacts
from kube_job_runner.domain.job import Marks, Policy, Verdict
from kube_job_runner.domain.spec.model import Retry, RetryRule, Timeouts
from kube_job_runner.domain.states import State
from tests.support.domain import T0, pod_facts, running

READY = Condition("Ready", "True", at=T0)
STORED: list[Any] = [
    Policy(
        timeouts=Timeouts(run_seconds=5),
        retry=Retry(attempts=3, rules=(RetryRule(action="retry", exit_codes=(3, 4)),)),
        memory="1Gi",
    ),
    Verdict(outcome=State.FAILED, reason="ApplicationExit", exit_code=3, cause="application"),
    Marks(scheduled_at=T0),
    AttemptFacts(
        job=JobFacts(uid="u", conditions=(READY,)),
        pods=(pod_facts(running(), conditions=(READY,)),),
        events=(EventFacts(uid="e", last_at=T0),),
        nodes=(NodeFacts(name="n", seen_at=T0, conditions=(READY,)),),
    ),
    {"team": "a"},
]


def newer(value: Any) -> Any:
    """Return the JSON value with a field of a newer release in every object."""
    if isinstance(value, dict):
        return {**{key: newer(item) for key, item in value.items()}, "of_a_newer_release": {"x": [1]}}
    return [newer(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("value", STORED[:-1], ids=lambda value: type(value).__name__)
def test_unknown_fields_are_left_out_at_every_depth(value: Any) -> None:
    text = json.dumps(newer(json.loads(msgspec.json.encode(value))))
    assert TolerantDecoder(type(value)).decode(text) == value


def test_what_is_wrong_in_a_known_field_is_still_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        TolerantDecoder(Policy).decode('{"retry": {"attempts": "many", "of_a_newer_release": 1}}')


def test_every_stored_json_column_is_read_like_that() -> None:
    columns = [column for table in (rows.JOBS, rows.ATTEMPTS) for column in table.columns if column.sql_type == "jsonb"]
    assert {column.name for column in columns} == {"labels", "policy", "verdict", "marks", "facts"}
    for column in columns:
        assert column.decode is not None
        (value,) = [value for value in STORED if _fits(column.name, value)]
        plain = json.loads(msgspec.json.encode(value))
        text = json.dumps(plain if column.name == "labels" else newer(plain))
        assert column.decode(text) == value


def _fits(name: str, value: Any) -> bool:
    types = {"labels": dict, "policy": Policy, "verdict": Verdict, "marks": Marks, "facts": AttemptFacts}
    return isinstance(value, types[name])


def test_the_walk_knows_every_kind_of_type_that_these_have() -> None:
    """A kind of type that it passed over could hold objects."""
    plain = (inspect.StrType, inspect.IntType, inspect.FloatType, inspect.BoolType, inspect.NoneType, inspect.EnumType)
    walked = (
        inspect.StructType,
        inspect.UnionType,
        inspect.VarTupleType,
        inspect.ListType,
        inspect.DictType,
        inspect.Metadata,
    )

    def kinds(info: Any, seen: set[Any]) -> set[type]:
        if isinstance(info, inspect.StructType):
            if info.cls in seen:
                return set()
            seen.add(info.cls)
            inner = [field.type for field in info.fields]
        elif isinstance(info, inspect.UnionType):
            inner = list(info.types)
        else:
            inner = [
                getattr(info, name) for name in ("item_type", "type", "key_type", "value_type") if hasattr(info, name)
            ]
        return {type(info)}.union(*(kinds(each, seen) for each in inner))

    found: set[type] = set()
    for type_ in (Policy, Verdict, Marks, AttemptFacts):
        found |= kinds(inspect.type_info(type_), set())
    assert {
        kind for kind in found if not issubclass(kind, (*plain, *walked, inspect.DateTimeType, inspect.LiteralType))
    } == set()
