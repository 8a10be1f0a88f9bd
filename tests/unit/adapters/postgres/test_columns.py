"""Sets of columns: the SQL lists, parameters and readers that are made from one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube_job_runner.adapters.postgres.columns import Column, Columns, expand


class Pet(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    legs: int | None = None
    kind: str = ""


PETS: Columns[Pet] = Columns(
    Column("name", "text", key=True),
    Column("feet", "integer", field="legs"),
    Column("kind", "text", encode=str.upper, decode=str.lower),
)
CAT, DOG, HEN = Pet(name="a", legs=4, kind="cat"), Pet(name="b", legs=4, kind="dog"), Pet(name="c", kind="hen")


def expanded(statement: str) -> str:
    return expand(statement, {"pets": PETS})


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ("{pets.names}", "name, feet, kind"),
        ("{pets.of:p}", "p.name, p.feet, p.kind"),
        ("{pets.arrays}", "$1::text[], $2::integer[], $3::text[]"),
        (
            "{pets.filled}",
            "coalesce(name, $1::text) AS name, coalesce(feet, $2::integer) AS feet, coalesce(kind, $3::text) AS kind",
        ),
        ("{pets.set:p}", "feet = p.feet, kind = p.kind"),
        ("{pets.prefixed:p}", "p.name AS p_name, p.feet AS p_feet, p.kind AS p_kind"),
        ("'{}' {pets}", "'{}' {pets}"),
    ],
)
def test_a_marker_stands_for_a_list(marker: str, text: str) -> None:
    assert expanded(marker) == text


def test_parameters_take_the_numbers_after_those_of_the_statement() -> None:
    found = expanded("{pets.filled} FROM unnest({pets.arrays}, $2::int[]) WHERE x = $10")
    assert found.index("$11::text)") < found.index("$13::text)") < found.index("$14::text[]") < found.index("$2::int[]")
    assert "$17" not in found


@pytest.mark.parametrize(("marker", "error"), [("{cats.names}", KeyError), ("{pets.nails}", ValueError)])
def test_an_unknown_marker_fails_at_import(marker: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        expanded(marker)


def test_parameters_are_one_list_per_column_even_for_no_rows() -> None:
    assert PETS.encode([CAT, HEN]) == [["a", "c"], [4, None], ["CAT", "HEN"]]
    assert PETS.encode([]) == [[], [], []]
    assert PETS.only("kind").encode([CAT]) == [["CAT"]]


@pytest.mark.parametrize(
    ("pets", "common", "arrays"),
    [
        ([CAT, DOG], [None, 4, None], [["a", "b"], [], ["CAT", "DOG"]]),
        ([CAT], ["a", 4, "CAT"], [[], [], []]),
        ([HEN, HEN], ["c", None, "HEN"], [[], [None, None], []]),
        ([CAT, HEN], [None, None, None], [["a", "c"], [4, None], ["CAT", "HEN"]]),
        ([], [None, None, None], [[], [], []]),
    ],
    ids=["one value in a column", "one row", "one value is NULL", "different values", "no rows"],
)
def test_a_column_of_one_value_is_folded(pets: list[Pet], common: list[Any], arrays: list[list[Any]]) -> None:
    assert PETS.encode_folded(pets) == (common, arrays)


def test_a_row_is_read_by_the_names_of_its_columns() -> None:
    assert PETS.reader(Pet)({"kind": "CAT", "feet": 4, "name": "a", "more": 1}) == CAT
    assert PETS.reader(Pet, prefix="p_")({"p_kind": "HEN", "p_feet": None, "p_name": "c"}) == HEN
    some = PETS.only("name", "kind")
    assert (
        some.reader(Pet, legs=lambda row: row["left"] + row["right"])(
            {"name": "a", "kind": "CAT", "left": 3, "right": 1}
        )
        == CAT
    )
