"""Tables fit a terminal of any width: no word is cut in two, and no column vanishes without a word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.cli.terminal import layout
from kube_job_runner.cli.terminal.tables import Column

COLUMNS = [
    Column("ID"),
    Column("NAME", least=6, rank=1),
    Column("QUEUE", usual="default", rank=3),
    Column("EXIT", right=True, usual="", rank=2),
]
ROWS = [["1234", "import-of-yesterday", "default", "3"], ["5678", "x", "default", ""]]
CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=30)


def lines(
    width: int, *, rows: list[list[str]] = ROWS, columns: list[Column] = COLUMNS, whole: bool = False
) -> list[str]:
    laid = layout.lay_out(columns, rows, width, whole=whole)
    return [laid.header, *(line for row in laid.rows for line in row)]


def test_a_table_with_room_shows_everything() -> None:
    assert lines(40) == [
        "ID    NAME                 QUEUE    EXIT",
        "1234  import-of-yesterday  default     3",
        "5678  x                    default",
    ]


def test_a_column_that_says_nothing_goes_first() -> None:
    assert lines(39) == ["ID    NAME                 EXIT", "1234  import-of-yesterday     3", "5678  x"]
    assert layout.lay_out(COLUMNS, ROWS, 39).hidden == []


def test_then_names_are_shortened_in_their_middle() -> None:
    assert lines(24) == ["ID    NAME          EXIT", "1234  import…erday     3", "5678  x"]


def test_then_columns_are_left_out_and_named() -> None:
    other = [["1234", "import", "etl", "3"]]
    assert lines(20, rows=other) == ["ID    NAME    EXIT", "1234  import     3"]
    assert layout.lay_out(COLUMNS, other, 20).hidden == ["QUEUE"]
    assert layout.lay_out(COLUMNS, other, 4).hidden == ["QUEUE", "EXIT", "NAME"]


def test_what_does_not_fit_at_all_is_written_line_by_line() -> None:
    columns = [Column("ID"), Column("EXPLANATION")]
    rows = [["1234", "the image does not exist"]]
    assert lines(24, rows=rows, columns=columns) == [
        "",
        "ID           1234",
        "EXPLANATION  the image",
        "             does not",
        "             exist",
        "",
    ]


def test_a_whole_table_leaves_out_nothing() -> None:
    shown = "\n".join(lines(30, whole=True))
    assert all(cell in shown for row in ROWS for cell in row)
    assert "QUEUE" in shown


def test_words_are_wrapped_and_not_cut() -> None:
    columns = [Column("AT"), Column("WHY", least=8, wraps=True)]
    text = "no node has room for this job, and nobody can say when one will have it"
    assert lines(48, rows=[["1s", text]], columns=columns) == [
        "AT  WHY",
        "1s  no node has room for this job, and nobody",
        "    can say when one will have it",
    ]


def test_a_text_with_little_room_stands_below_its_row() -> None:
    columns = [Column("AT"), Column("STATE"), Column("WHY", least=8, wraps=True)]
    rows = [["1s", "queued", ""], ["2s", "failed", "no node has room for this job"]]
    assert lines(26, rows=rows, columns=columns) == [
        "AT  STATE",
        "1s  queued",
        "2s  failed",
        "    no node has room for",
        "    this job",
    ]


def test_wide_characters_take_two_columns() -> None:
    assert layout.cell_width("日本") == 4
    assert layout.cell_width("e\u0301") == 1
    assert layout.shortened("日本語テキスト", 8) == "日本…ト"
    assert lines(40, rows=[["日本", "x", "q", "1"]])[1] == "日本  x     q         1"


@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=4), st.integers(12, 90))
def test_no_line_is_wider_than_the_terminal(rows: list[list[str]], width: int) -> None:
    for line in lines(width, rows=rows):
        cells_have_room = all(layout.cell_width(row[0]) <= width for row in rows)
        assert layout.cell_width(line) <= width or not cells_have_room
