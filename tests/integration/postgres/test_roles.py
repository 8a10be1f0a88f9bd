"""The rights of each component in the database: exactly those of the table of grants."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from kube_job_runner.adapters.postgres import migrate, roles
from kube_job_runner.adapters.postgres.grants import ALL, FUNCTIONS, ROLES, TABLES
from kube_job_runner.domain.errors import ConfigurationError
from tests.support.postgres import Server, component_urls, execute, fetch, in_other_loop, with_user
from tests.support.product import COMPONENTS

pytestmark = pytest.mark.asyncio
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")

Cell = tuple[str, str, str, str]
"""Component, table, verb, column (empty: the whole table)."""


@pytest.fixture(scope="module")
def urls(pg_server: Server) -> Any:
    """A database with all roles granted, and a user for each."""
    url = pg_server.create_database()
    yield in_other_loop(component_urls(url)) | {"owner": url}
    pg_server.drop_database(url)


async def columns_of(url: str) -> dict[str, list[str]]:
    """Return the columns of all tables that are no partitions, as the database has them."""
    found: dict[str, list[str]] = {}
    for row in await fetch(
        url,
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " AND NOT a.attisdropped WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND NOT c.relispartition",
    ):
        found.setdefault(row["relname"], []).append(row["attname"])
    return found


HELD = """
SELECT t, v, c FROM unnest($2::text[]) t CROSS JOIN unnest($3::text[]) v
CROSS JOIN LATERAL (
    SELECT '' AS c WHERE has_table_privilege($1::name, t, v)
    UNION ALL
    SELECT a.attname FROM pg_attribute a
    WHERE a.attrelid = t::regclass AND a.attnum > 0 AND NOT a.attisdropped AND NOT has_table_privilege($1::name, t, v)
    AND CASE WHEN v IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') THEN has_column_privilege($1::name, t, a.attname, v) END
) of"""


async def held(url: str, tables: dict[str, list[str]]) -> set[Cell]:
    """Return what the roles may do, asked of the database: each table, verb and column."""
    cells: set[Cell] = set()
    for component in ROLES:
        found = await fetch(url, HELD, roles.name_of(component, "kjr_"), list(tables), list(VERBS))
        cells |= {(component, row["t"], row["v"], row["c"]) for row in found}
    return cells


def golden() -> set[Cell]:
    """Return what they should be able to do, from the table of grants."""
    cells: set[Cell] = set()
    for component, role in ROLES.items():
        for table, rights in role.tables.items():
            for verb, columns in rights.columns().items():
                cells |= {(component, table, verb, "" if columns == ALL else column) for column in columns}
    return cells


async def test_every_table_has_its_row(urls: dict[str, str]) -> None:
    """A migration that adds a table must say who may use it."""
    assert set(await columns_of(urls["owner"])) == set(TABLES)
    assert set(COMPONENTS) <= set(ROLES)
    for role in ROLES.values():
        assert set(role.tables) <= set(TABLES)
        assert set(role.functions) <= set(FUNCTIONS)


async def test_each_role_has_what_the_table_says_and_no_more(urls: dict[str, str]) -> None:
    tables = await columns_of(urls["owner"])
    found, wanted = await held(urls["owner"], tables), golden()
    assert found - wanted == set(), "a right too many"
    assert wanted - found == set(), "a right too few"


async def test_partitions_have_no_rights_of_their_own(urls: dict[str, str]) -> None:
    partitions = await fetch(
        urls["owner"], "SELECT relid::text AS name FROM pg_partition_tree('transitions') WHERE isleaf"
    )
    assert len(partitions) > 1
    for component in ROLES:
        found = await fetch(
            urls["owner"],
            "SELECT n FROM unnest($2::text[]) n, unnest($3::text[]) v"
            " WHERE has_any_column_privilege($1::name, n, v) OR has_table_privilege($1::name, n, 'DELETE')",
            roles.name_of(component, "kjr_"),
            [partition["name"] for partition in partitions],
            ["SELECT", "INSERT", "UPDATE"],
        )
        assert found == [], component


async def test_functions_are_called_by_whom_they_are_for(urls: dict[str, str]) -> None:
    listed = await fetch(
        urls["owner"],
        "SELECT p.oid::regprocedure::text AS name FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
        " AND p.prorettype <> 'trigger'::regtype",  # those cannot be called
    )
    assert {row["name"] for row in listed} == set(FUNCTIONS)
    for component, role in ROLES.items():
        for function in FUNCTIONS:
            name = roles.name_of(component, "kjr_")
            may = await fetch(urls["owner"], f"SELECT has_function_privilege('{name}', '{function}', 'EXECUTE')")
            assert may[0][0] == (function in role.functions), (component, function)


async def test_a_grant_too_many_is_seen_and_taken_back(pg_server: Server) -> None:
    url = pg_server.create_database()
    try:
        await roles.grant(url, prefix="kjr_")
        tables = await columns_of(url)
        await execute(url, "GRANT UPDATE (state) ON jobs TO kjr_web_server", "GRANT DELETE ON tokens TO kjr_sweeper")
        assert await held(url, tables) - golden() == {
            ("web-server", "jobs", "UPDATE", "state"),
            ("sweeper", "tokens", "DELETE", ""),
        }
        await roles.grant(url, prefix="kjr_")
        assert await held(url, tables) == golden()
    finally:
        pg_server.drop_database(url)


FORBIDDEN = [
    ("web-server", "UPDATE jobs SET state = 'failed'"),
    ("web-server", "UPDATE jobs SET reason = 'x'"),
    ("web-server", "UPDATE jobs SET owner = 'me'"),
    ("web-server", "INSERT INTO jobs (id, state) VALUES (gen_random_uuid(), 'succeeded')"),
    ("web-server", "INSERT INTO jobs (id, attempt) VALUES (gen_random_uuid(), 1)"),
    ("web-server", "INSERT INTO transitions (job_id, at, to_state) VALUES (gen_random_uuid(), now(), 'failed')"),
    ("web-server", "INSERT INTO transitions (job_id, at, version) VALUES (gen_random_uuid(), now(), 2)"),
    ("web-server", "DELETE FROM jobs"),
    ("web-server", "UPDATE job_specs SET spec = ''"),
    ("web-server", "UPDATE transitions SET reason = ''"),
    ("web-server", "DELETE FROM transitions"),
    ("web-server", "DELETE FROM messages"),
    ("web-server", "SELECT body FROM messages"),
    ("web-server", "SELECT body FROM dead_letters"),
    ("web-server", "INSERT INTO tokens (token_hash, name, prefix) VALUES ('x', 'x', 'x')"),
    ("web-server", "UPDATE tokens SET revoked_at = NULL"),
    (
        "web-server",
        "INSERT INTO attempts (job_id, number, namespace, cluster_name) VALUES (gen_random_uuid(), 1, '', '')",
    ),
    ("web-server", "DELETE FROM log_chunks"),
    ("web-server", "SELECT maintain_transition_partitions()"),
    ("messages-processor", "UPDATE jobs SET owner = 'me'"),
    ("messages-processor", "UPDATE jobs SET cancel_by = 'me'"),
    ("messages-processor", "DELETE FROM jobs"),
    ("messages-processor", "UPDATE job_specs SET spec = ''"),
    ("messages-processor", "DELETE FROM transitions"),
    ("messages-processor", "SELECT * FROM tokens"),
    ("messages-processor", "SELECT data FROM log_chunks"),
    ("messages-processor", "SELECT * FROM idempotency_keys"),
    ("job-status-processor", "SELECT * FROM job_specs"),
    ("job-status-processor", "SELECT * FROM jobs"),
    ("job-status-processor", "SELECT verdict FROM attempts"),
    ("job-status-processor", "SELECT body FROM messages"),
    ("pod-events-processor", "SELECT spec FROM job_specs"),
    ("pod-events-processor", "SELECT id FROM jobs"),
    ("pod-events-processor", "UPDATE attempts SET gone_at = now()"),
    ("pod-events-processor", "SELECT * FROM log_chunks"),
    ("pod-events-processor", "SELECT * FROM tokens"),
    ("log-collector", "UPDATE jobs SET state = 'failed'"),
    ("log-collector", "SELECT * FROM job_specs"),
    ("log-collector", "SELECT labels FROM jobs"),
    ("log-collector", "UPDATE attempts SET verdict = NULL"),
    ("log-collector", "SELECT body FROM messages"),
    ("sweeper", "UPDATE jobs SET state = 'failed'"),
    ("sweeper", "SELECT spec FROM job_specs"),
    ("sweeper", "SELECT data FROM log_chunks"),
    ("sweeper", "SELECT response FROM idempotency_keys"),
    ("sweeper", "SELECT body FROM dead_letters"),
    ("sweeper", "SELECT * FROM tokens"),
    ("sweeper", "DELETE FROM messages"),
    ("sweeper", "DROP TABLE transitions_default"),
    ("outbox-relay", "SELECT id FROM jobs"),
    ("outbox-relay", "SELECT * FROM job_specs"),
    ("outbox-relay", "INSERT INTO messages (body) VALUES ('')"),
    *((component, "CREATE TABLE mine (n int)") for component in ROLES),
    *((component, "UPDATE installation SET id = gen_random_uuid()") for component in ROLES),
    *((component, "DELETE FROM schema_migrations") for component in ROLES),
    *((component, "SELECT * FROM transitions_default") for component in ROLES),
]


async def test_what_each_cannot_do(urls: dict[str, str]) -> None:
    connections = {component: await asyncpg.connect(urls[component]) for component in ROLES}
    try:
        for component, statement in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):  # when it fails, the statement is shown
                await connections[component].execute(statement)
    finally:
        await asyncio.gather(*(connection.close() for connection in connections.values()))


async def test_granting_again_and_at_the_same_time_changes_nothing(pg_server: Server) -> None:
    """Roles belong to the server: two installations may make the same ones at the same moment."""
    first, second = pg_server.create_database(), pg_server.create_database()
    try:
        await asyncio.gather(*(roles.grant(url, prefix="twice_") for url in (first, second, first)))
        assert await roles.grant(second, prefix="twice_") == [roles.name_of(name, "twice_") for name in ROLES]
        login = await fetch(first, "SELECT bool_or(rolcanlogin OR rolsuper) FROM pg_roles WHERE rolname LIKE 'twice%'")
        assert login[0][0] is False
    finally:
        for url in (first, second):
            pg_server.drop_database(url)
        await execute(pg_server.url, *(f"DROP ROLE {roles.name_of(name, 'twice_')}" for name in ROLES))


async def test_who_may_not_create_roles_is_told_what_an_administrator_can_do(pg_server: Server) -> None:
    url = pg_server.create_database(template="template1")
    owner = with_user(url, "plain_owner")
    try:
        await execute(url, "CREATE ROLE plain_owner LOGIN", "GRANT ALL ON SCHEMA public TO plain_owner")
        await migrate(owner)
        with pytest.raises(ConfigurationError, match=r"(?s)role plain_owner may not .*kjr migrate --roles --print"):
            await roles.grant(owner, prefix="barred_")
        await execute(url, roles.script("barred_"))  # what it prints, run by the administrator
        assert len(await fetch(url, "SELECT FROM pg_roles WHERE rolname LIKE 'barred%'")) == len(ROLES)
        assert len(await roles.grant(owner, prefix="barred_")) == len(ROLES), "the owner may grant what exists"
        await execute(url, "ALTER TABLE tokens OWNER TO kjr")
        with pytest.raises(ConfigurationError, match=r"role plain_owner does not own tokens: .*--print"):
            await roles.grant(owner, prefix="barred_")
    finally:
        pg_server.drop_database(url)
        groups = [roles.name_of(name, "barred_") for name in ROLES]
        await execute(pg_server.url, *(f"DROP ROLE IF EXISTS {name}" for name in (*groups, "plain_owner")))
