"""The synchronous client is what `make client` writes from the asynchronous one."""

from __future__ import annotations

import pytest

from tools import sync_client


@pytest.mark.parametrize("name", sorted(path.name for path in sync_client.SOURCE.glob("*.py")))
def test_the_synchronous_client_is_fresh(name: str) -> None:
    written = (sync_client.TARGET / name).read_text()
    assert written == sync_client.render(sync_client.SOURCE / name), "run `make client`"


def test_every_synchronous_module_has_a_source() -> None:
    assert {path.name for path in sync_client.TARGET.glob("*.py")} == {
        path.name for path in sync_client.SOURCE.glob("*.py")
    }
