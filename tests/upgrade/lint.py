"""Refuses SQL in new migrations that breaks programs of the last release, or blocks them while it runs.

A migration *expands*: its first line is `-- compatible`, and it only adds. To remove, rename or tighten something takes a later
migration that *contracts*: it names the tag since which no program uses the thing, `-- contract since v1.2.0: jobs.old`. A long
lock of a table is refused in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from kube_job_runner.adapters.postgres.schema import Migration

CONTRACT = re.compile(r"^-- contract since (\S+): *(\S.*)$", re.MULTILINE)

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_FUNCTION_BODY = re.compile(
    r"(CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE)\b[^;$]*)(\$\w*\$).*?\2", re.DOTALL | re.IGNORECASE
)
_ON = re.compile(r"\bON (?:ONLY )?(\w+)")
_CREATED = re.compile(r"\bCREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(\w+)")
_COLUMN = re.compile(
    r"\bADD (?:COLUMN )?(?:IF NOT EXISTS )?(?!CONSTRAINT\b|CHECK\b|UNIQUE\b|PRIMARY\b|FOREIGN\b|EXCLUDE\b)\w+ [^,;]*"
)
_VOLATILE = re.compile(r"\bDEFAULT (?:\(?\s*)(?:CLOCK_TIMESTAMP|TIMEOFDAY|GEN_RANDOM_UUID|UUIDV7|RANDOM|NEXTVAL)\b")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a migration, and what to do instead."""

    migration: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.migration}: {self.what}; {self.remedy}"


class _Rule(msgspec.Struct, frozen=True, kw_only=True):
    pattern: str
    what: str
    remedy: str = (
        "stop using it first, and do this in a migration after the next release (`-- contract since TAG: what`)"
    )


_BREAKS = (
    _Rule(
        pattern=r"\bDROP (TABLE|VIEW|MATERIALIZED|SCHEMA|TYPE|DOMAIN|FUNCTION|PROCEDURE|SEQUENCE)\b",
        what="drops what programs may use",
    ),
    _Rule(
        pattern=r"\bALTER TABLE\b.*\bDROP (?!CONSTRAINT\b|NOT NULL\b|EXPRESSION\b|IDENTITY\b|DEFAULT\b)",
        what="drops a column",
    ),
    _Rule(
        pattern=r"\bDROP (DEFAULT|IDENTITY|EXPRESSION)\b",
        what="removes a default that inserts of older programs rely on",
    ),
    _Rule(
        pattern=r"\bRENAME\b(?! CONSTRAINT\b)",
        what="renames",
        remedy="add the new name, fill it, and drop the old one after a release",
    ),
    _Rule(
        pattern=r"\bALTER TYPE\b|\bALTER (COLUMN )?\w+ (SET DATA )?TYPE\b",
        what="changes a type",
        remedy="add a column of the new type",
    ),
    _Rule(pattern=r"\bSET NOT NULL\b", what="forbids NULL, which older programs may write"),
    _Rule(pattern=r"\bTRUNCATE\b", what="removes all rows"),
    _Rule(
        pattern=r"\bALTER TABLE\b.*\bADD (CONSTRAINT \w+ )?(CHECK|UNIQUE|PRIMARY KEY|FOREIGN KEY|EXCLUDE)\b",
        what="adds a constraint that older programs do not know",
    ),
    _Rule(pattern=r"\bCREATE UNIQUE INDEX\b", what="makes unique what older programs may write twice"),
)
_LOCKS = (
    _Rule(
        pattern=r"\bCREATE (UNIQUE )?INDEX (?!CONCURRENTLY\b)",
        what="builds an index under a lock that stops all writers",
        remedy="use CREATE INDEX CONCURRENTLY in a `NNNN_name.concurrent.sql`",
    ),
    _Rule(pattern=r"\bREINDEX (?!.*\bCONCURRENTLY\b)", what="locks out everybody", remedy="use REINDEX CONCURRENTLY"),
    _Rule(pattern=r"\b(VACUUM FULL|CLUSTER|LOCK TABLE)\b", what="locks out everybody", remedy="leave it out"),
)


def lint(migrations: Sequence[Migration], *, unused_since: Callable[[str], str | None]) -> list[Fault]:
    """Return the faults of new migrations. `unused_since` says what is wrong with the tag of a contract, or None."""
    return [fault for migration in migrations for fault in _faults(migration, unused_since)]


def _faults(migration: Migration, unused_since: Callable[[str], str | None]) -> list[Fault]:
    name = f"{migration.number:04}_{migration.name}"

    def fault(what: str, remedy: str) -> Fault:
        return Fault(migration=name, what=what, remedy=remedy)

    found = []
    if not migration.compatible:
        found.append(
            fault("does not say `-- compatible` in its first line", "programs of the last release would stop serving")
        )
    contract = CONTRACT.search(migration.sql)
    wrong = unused_since(contract[1]) if contract else None
    if wrong:
        found.append(fault(f"contract since {contract[1] if contract else ''}: {wrong}", "name the tag of a release"))
    made: set[str] = set()
    for statement in statements(migration.sql):
        made |= set(_CREATED.findall(statement))
        if _of_new_table(statement, made):
            continue
        broken = () if contract else _BREAKS
        rules = [rule for rule in (*broken, *_LOCKS) if re.search(rule.pattern, statement)]
        found += [fault(f"{rule.what}: {_short(statement)}", rule.remedy) for rule in rules]
        found += _columns(statement, fault, contract=contract is not None)
    return found


def _columns(statement: str, fault: Callable[[str, str], Fault], *, contract: bool) -> list[Fault]:
    if not re.search(r"\bALTER TABLE\b", statement):
        return []
    found = []
    for column in _COLUMN.findall(statement):
        if "NOT NULL" in column and not re.search(r"\bDEFAULT\b|\bGENERATED\b", column) and not contract:
            found.append(fault(f"adds a column that older programs cannot fill: {_short(column)}", "give it a DEFAULT"))
        if _VOLATILE.search(column):
            found.append(
                fault(
                    f"rewrites the table under a lock: {_short(column)}",
                    "add it without the default, and fill it in batches",
                )
            )
    return found


def statements(sql: str) -> list[str]:
    """Return the statements in capitals, without comments, texts and the bodies of functions; those of DO blocks are kept."""
    text = _FUNCTION_BODY.sub(r"\1''", _COMMENT.sub(" ", sql))
    text = _QUOTED.sub(lambda match: match[0] if "ALTER" in match[0] or "DROP" in match[0] else "''", text)
    return [" ".join(part.split()).upper() for part in re.split(r";", text) if part.strip()]


def _of_new_table(statement: str, made: set[str]) -> bool:
    """Return whether a statement touches only a table of its own migration, which no program uses yet."""
    table = re.search(r"\bALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+)", statement)
    if table is None and re.search(r"\bCREATE (UNIQUE )?INDEX\b", statement):
        table = _ON.search(statement)
    return table is not None and table[1] in made


def _short(statement: str) -> str:
    return statement if len(statement) <= 90 else statement[:87] + "..."
