"""Event loops in threads of their own."""

from __future__ import annotations

import asyncio


async def end_others() -> None:
    """Cancel all other tasks of this loop, and let it handle what they closed."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.1)  # what is closed by now takes a turn of the loop to be gone
