"""Database roles: one per component, created and granted from `grants.ROLES`, and checked when a component starts.

The roles cannot log in; an operator makes users members of them. A grant is idempotent, and it also revokes what is no longer
in the table. It is one transaction, so running components never lack a right in between.
"""

import asyncio
from collections.abc import Iterable

import asyncpg

from kube_job_runner.adapters.postgres import failure, schema
from kube_job_runner.adapters.postgres import statements as named
from kube_job_runner.adapters.postgres.direct_connections import Direct, connected
from kube_job_runner.adapters.postgres.grants import ALL, FUNCTIONS, ROLES, TABLES, Role
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.domain import errors
from kube_job_runner.domain.backoff import Backoff

SQL = named.load("roles")
_TRIES = 5
# Roles belong to the whole server. Another database of it may create or change the same role at the same time.
_RACES = frozenset({"XX000", "42710", "23505", "40001", "40P01"})
_SHOWN = 5
_BY_AN_ADMINISTRATOR = (
    "let it own the tables and have CREATEROLE, or have an administrator run what `kjr migrate --roles --print` prints"
)
Need = tuple[str, str, str]
"""A needed right: the verb, the column (empty: the whole table or function), and the table or function."""


def name_of(component: str, prefix: str) -> str:
    """Return the name of a component's role."""
    return prefix + component.replace("-", "_")


def statements(prefix: str) -> list[str]:
    """Return the SQL that creates and grants all roles, in the first schema of the search path."""
    found = []
    for component, role in ROLES.items():
        found += _statements(name_of(component, prefix), role)
    return found


def _statements(name: str, role: Role) -> list[str]:
    found = [
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN CREATE ROLE {name} NOLOGIN; "
        "END IF; END $$",
        f"DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {name}', current_schema()); END $$",
        f"REVOKE ALL ON {', '.join(TABLES)} FROM {name}",
        f"REVOKE ALL ON FUNCTION {', '.join(FUNCTIONS)} FROM {name}",
    ]
    for table, rights in role.tables.items():
        verbs = [
            verb if columns == ALL else f"{verb} ({', '.join(columns)})" for verb, columns in rights.columns().items()
        ]
        found.append(f"GRANT {', '.join(verbs)} ON {table} TO {name}")
    found += [f"GRANT EXECUTE ON FUNCTION {function} TO {name}" for function in role.functions]
    return found


def script(prefix: str) -> str:
    """Return the same statements as one script for psql, for an administrator who may create roles."""
    lines = [
        "-- The roles of kube-job-runner's components. Run it as the owner of the tables or as a superuser, in the database of",
        "-- KJR_DATABASE_URL, after `kjr migrate`, and again after each upgrade. Then, for the user of a component:",
        f"--   GRANT {name_of('web-server', prefix)} TO its_user;",
        "BEGIN;",
        *(f"{statement};" for statement in statements(prefix)),
        "COMMIT;",
    ]
    return "\n".join(lines) + "\n"


async def grant(url: str, *, prefix: str) -> list[str]:
    """Create the missing roles, and grant each role exactly its rights; return their names. The schema must exist.

    Raises:
        ConfigurationError: the user of the URL may not create a role, or does not own the tables.
        DatabaseUnavailable: the database does not answer.
    """
    async with connected(url, name="kjr migrate --roles") as connection:  # its end releases the lock
        await schema.lock(connection)
        await _granted(connection, prefix)
    return [name_of(component, prefix) for component in ROLES]


async def _granted(connection: Direct, prefix: str) -> None:
    user = connection.get_settings().session_authorization
    foreign = await connection.fetch(SQL["foreign_tables"], list(TABLES))
    if foreign:  # PostgreSQL may answer a GRANT without the right to grant with a warning only
        names = ", ".join(row["name"] for row in foreign)
        raise errors.ConfigurationError(f"the database role {user} does not own {names}: {_BY_AN_ADMINISTRATOR}")
    retries = Backoff(first_seconds=0.05, max_seconds=0.2)
    for tried in range(_TRIES):
        try:
            async with connection.transaction():
                for statement in statements(prefix):
                    await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError as error:
            raise errors.ConfigurationError(
                f"the database role {user} may not create or grant the roles {prefix}*: {error}; {_BY_AN_ADMINISTRATOR}"
            ) from error
        except asyncpg.PostgresError as error:
            if failure.sqlstate(error) not in _RACES or tried == _TRIES - 1:
                raise
            await asyncio.sleep(retries.next())
        else:
            return


def needs(components: Iterable[str]) -> list[Need]:
    """Return all rights that these components need."""
    found: dict[Need, None] = {}
    for component in components:
        role = ROLES[component]
        for table, rights in role.tables.items():
            for verb, columns in rights.columns().items():
                found |= dict.fromkeys((verb, "" if column == "*" else column, table) for column in columns)
        found |= dict.fromkeys(("EXECUTE", "", function) for function in role.functions)
    return list(found)


async def lacking(pool: Pool, components: Iterable[str], *, prefix: str) -> str | None:
    """Return what our role lacks for these components, with the remedy; None: it lacks nothing.

    A table that does not exist yet is ignored: the check of the schema reports it.
    """
    components = list(components)
    row = await pool.fetchrow(SQL["current_role"])
    assert row is not None
    role, remedy = row["role"], _remedy(row["role"], components, prefix)
    if row["schema"] is None:
        return f"the database role {role} lacks USAGE on the schema of the tables (or its search_path names none): {remedy}"
    wanted = needs(components)
    missing = await pool.fetch(SQL["lacking"], *(list(column) for column in zip(*wanted, strict=True)))
    if not missing:
        return None
    shown = [_right(found["verb"], found["col"], found["object"]) for found in missing[:_SHOWN]]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"the database role {role} lacks {', '.join(shown)}{more}: {remedy}"


def _right(verb: str, column: str, where: str) -> str:
    return f"{verb} ({column}) on {where}" if column else f"{verb} on {where}"


def _remedy(role: str, components: Iterable[str], prefix: str) -> str:
    groups = ", ".join(name_of(component, prefix) for component in components)
    return f"run `kjr migrate --roles` as the owner of the tables, then GRANT {groups} TO {role}"
