"""Stand-ins for programs that a machine may lack: they record their calls and give prepared answers.

They show what our scripts ask of a container engine or of minikube, not what the real program makes of it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# The calls go to one file, in order; an answer is a file named like the first words of the call that it is for.
_SHIM = """#!/bin/sh
echo "$(basename "$0") $*" >>"$SHIMS/calls"
if [ -n "$SHIM_ENV" ]; then
  eval "value=\\${$SHIM_ENV-}"
  [ -z "$value" ] || echo "  with $SHIM_ENV=$value" >>"$SHIMS/calls"
fi
for answer in "$SHIMS/answers"/*; do
  [ -e "$answer" ] || continue
  case "$(basename "$0") $*" in
    "$(basename "$answer")"*) . "$answer"; exit 0 ;;
  esac
done
"""


class Shims:
    """A folder of stand-ins, in front of a PATH that has nothing but the usual tools."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "answers").mkdir()
        for program in programs:
            shim = folder / "bin" / program
            shim.write_text(_SHIM)
            shim.chmod(0o755)
        self.tools = folder / "tools"
        self.tools.mkdir()
        for program in ("sh", "git", "sed", "dirname", "basename", "cut", "cat", "date", "env", "make", "printf"):
            self._link(program)

    def _link(self, program: str) -> None:
        for place in ("/usr/bin", "/bin", "/usr/local/bin"):
            if (Path(place) / program).exists():
                (self.tools / program).symlink_to(Path(place) / program)
                return

    def answer(self, call: str, script: str) -> None:
        """Set what a call that begins with these words does, as a piece of shell."""
        (self.folder / "answers" / call).write_text(script + "\n")

    def run(self, *argv: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script that finds only the stand-ins and the usual tools."""
        kept: Mapping[str, str] = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        environment = {**kept, "PATH": f"{self.folder}/bin:{self.tools}", "SHIMS": str(self.folder), "SHIM_ENV": ""}
        command = [str(part) for part in argv]
        return subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=60)

    @property
    def calls(self) -> list[str]:
        """How the stand-ins were called, in order."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []
