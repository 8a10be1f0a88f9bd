"""The Dockerfile as tests need it: its stages, its instructions, and the build context."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Instruction(NamedTuple):
    """One instruction, with continued lines joined."""

    word: str
    rest: str

    @property
    def json(self) -> list[str]:
        """The arguments of the exec form; ValueError for the shell form."""
        return [str(part) for part in json.loads(self.rest)]


class Stage(NamedTuple):
    """What stands from one FROM to the next."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def of(self, word: str) -> list[str]:
        """The arguments of all instructions of this word."""
        return [instruction.rest for instruction in self.instructions if instruction.word == word]

    def environment(self) -> dict[str, str]:
        """The variables that ENV sets."""
        return dict(part.partition("=")[::2] for rest in self.of("ENV") for part in shlex.split(rest))


class Dockerfile(NamedTuple):
    """A Dockerfile: its stages, and the ARGs before the first of them."""

    arguments: dict[str, str]
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)


def read(path: Path) -> Dockerfile:
    """Read a Dockerfile; every instruction must stand in a stage or be an ARG before the first."""
    arguments: dict[str, str] = {}
    stages: list[tuple[str, str, list[Instruction]]] = []
    for instruction in _instructions(path.read_text()):
        if instruction.word == "FROM":
            base, _, name = instruction.rest.partition(" AS ")
            stages.append((base, name, []))
        elif stages:
            stages[-1][2].append(instruction)
        else:
            assert instruction.word == "ARG", f"{instruction.word} before the first FROM"
            arguments.update([instruction.rest.partition("=")[::2]])
    return Dockerfile(arguments, tuple(Stage(base, name, tuple(parts)) for base, name, parts in stages))


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def ignored(path: str, rules: list[str]) -> bool:
    """Return whether .dockerignore excludes a path: the last rule that matches it, or a folder above it, decides."""
    hidden = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        if any(_matches(part, pattern) for part in _with_parents(path)):
            hidden = not rule.startswith("!")
    return hidden


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def rules() -> list[str]:
    """The rules of .dockerignore."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def copy_context(rest: str, folder: Path) -> None:
    """Carry out `COPY` from the checkout into a folder: only what .dockerignore lets through, and at least one file."""
    *sources, target = shlex.split(rest)
    hidden = rules()
    for source in sources:
        origin = ROOT / source
        whole = origin.is_dir()
        files = [file for file in origin.rglob("*") if file.is_file()] if whole else [origin]
        taken = [file for file in files if not ignored(file.relative_to(ROOT).as_posix(), hidden)]
        assert taken, f"COPY {source}: .dockerignore leaves nothing of it"
        for file in taken:
            inside = file.relative_to(origin) if whole else Path(file.name)
            place = folder / target / inside if whole or target.endswith("/") else folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
