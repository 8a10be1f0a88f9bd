"""The reference page of the database roles is written from the table of grants."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kube_job_runner import settings
from kube_job_runner.adapters.postgres import roles
from kube_job_runner.adapters.postgres.grants import ALL, ROLES, Rights

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "database-roles.md"
HEAD = """# Database roles

The rights of each component in PostgreSQL, and why it has them. `kjr migrate --roles` grants exactly these rights.
For the setup, see [Database roles](../how-to/database-roles.md). The names begin with `KJR_DATABASE_ROLE_PREFIX` (`kjr_`).
This page is written from the table of rights, and tests compare that table with a database.

The owner of the tables, who runs `kjr migrate` and `kjr token`, has no role here. It may do everything.
"""


def page() -> str:
    """Return the page as it must be; write it with `python -m tests.unit.adapters.postgres.test_database_roles_page`."""
    parts = [HEAD]
    for component, role in ROLES.items():
        parts.append(f"\n## {component}\n\n`{roles.name_of(component, 'kjr_')}`: {role.duty}.\n\n")
        parts.append("| table | may | why |\n|---|---|---|\n")
        parts += [f"| `{table}` | {_verbs(rights)} | {rights.why} |\n" for table, rights in sorted(role.tables.items())]
        parts += [f"\nIt may call `{function}`, which runs with its owner's rights.\n" for function in role.functions]
    return "".join(parts)


def _verbs(rights: Rights) -> str:
    return "; ".join(
        verb if columns == ALL else f"{verb} of {', '.join(f'`{column}`' for column in columns)}"
        for verb, columns in rights.columns().items()
    )


def test_the_reference_page_is_what_is_granted() -> None:
    assert PAGE.read_text() == page()


def test_every_right_has_a_reason_and_names_fit_postgresql() -> None:
    for component, role in ROLES.items():
        assert role.duty
        assert len(roles.name_of(component, "x" * 31)) <= 63
        assert all(rights.why and rights.columns() for rights in role.tables.values())


def test_what_is_printed_makes_all_roles_in_one_transaction() -> None:
    text = roles.script("team_")
    statements = [line for line in text.splitlines() if not line.startswith("--")]
    assert (statements[0], statements[-1]) == ("BEGIN;", "COMMIT;")
    assert all(line.endswith(";") for line in statements)
    assert {*re.findall(r"CREATE ROLE (\w+) NOLOGIN", text)} == {roles.name_of(name, "team_") for name in ROLES}
    assert "kjr_" not in text
    assert "PASSWORD" not in text


@pytest.mark.parametrize("prefix", ["Kjr_", "1_", "a-b", "x'; DROP ROLE y; --", "x" * 40])
def test_a_prefix_that_is_no_name_is_refused(prefix: str) -> None:
    with pytest.raises(settings.SettingsError, match="KJR_DATABASE_ROLE_PREFIX"):
        settings.load(environ={"KJR_DATABASE_ROLE_PREFIX": prefix})


if __name__ == "__main__":
    PAGE.write_text(page())
