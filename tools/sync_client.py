"""Write the synchronous client (`client/sync`) from the asynchronous one (`client/aio`): `make client`.

The text is rewritten by a few rules, then cleaned up and formatted by ruff. docs/adr/0024 says why no library does it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "kube_job_runner" / "client" / "aio"
TARGET = SOURCE.with_name("sync")
RULES = (
    (r"\basync (?=def |for |with )", ""),
    (r"\bawait ", ""),
    (r"\b__a(?=enter__|exit__)", "__"),
    (r"\ba(?=close\(|read\(|iter_bytes\()", ""),
    (r"Async(?=[A-Z])", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\basyncio\b", "time"),
    (r"\bclient\.aio\b", "client.sync"),
    (r"\basynchronous\b", "synchronous"),
    (r"It belongs to one event loop\.", "It may be shared between threads."),
)
_CLEANUPS = "I,F401,UP028"  # order of imports, unused imports, `yield from`


def render(path: Path) -> str:
    """Return the synchronous text of a module of the asynchronous client."""
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    text = f"# Written by `make client` from {path.relative_to(ROOT)}: do not edit.\n{text}"
    name = str(TARGET / path.name)
    text = _ruff(
        text, "check", "--quiet", "--select", _CLEANUPS, "--fix", "--unsafe-fixes", "--stdin-filename", name, "-"
    )
    return _ruff(text, "format", "--stdin-filename", name, "-")


def _ruff(text: str, *args: str) -> str:
    ruff = str(Path(sys.executable).with_name("ruff"))
    done = subprocess.run([ruff, *args], input=text, capture_output=True, check=True, text=True, cwd=ROOT)
    return done.stdout


def main() -> None:
    """Write all modules, and remove those that have no source any more."""
    for path in TARGET.glob("*.py"):
        if not (SOURCE / path.name).exists():
            path.unlink()
    for path in sorted(SOURCE.glob("*.py")):
        (TARGET / path.name).write_text(render(path), encoding="utf-8")


if __name__ == "__main__":
    main()
