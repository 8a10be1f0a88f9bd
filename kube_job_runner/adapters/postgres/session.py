"""What every session of ours has, whatever the defaults of the server, the database or the role say.

A promise must not depend on somebody's default: an acknowledged submit is on disk (`synchronous_commit`), and a limit is counted
from a snapshot that was taken after the lock (`read committed`). These are set after the start of a session, because a pooler
refuses parameters that it does not know.
"""

from typing import Any, TypeAlias

import asyncpg

Session: TypeAlias = "asyncpg.Connection[Any]"

_STRENGTHEN = """
SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')
                                             THEN 'on' ELSE current_setting('synchronous_commit') END, false),
       set_config('default_transaction_isolation', 'read committed', false)"""


async def prepare(session: Session) -> None:
    """Make the commits of a new session durable, and its snapshots fresh. A stronger setting (`remote_apply`) stays."""
    await session.execute(_STRENGTHEN)


async def prepare_pooled(session: Session, *, lock_seconds: float) -> None:
    """Prepare a session of a pool, whose statements wait for a lock for so long at most."""
    await prepare(session)
    await session.execute(f"SET lock_timeout = {int(lock_seconds * 1000)}")
