"""Write docs/failures from the tables of the code: `python docs/failure_pages.py`. A test holds the pages to be up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from kube_job_runner.domain.failures import categories
from kube_job_runner.domain.failures.categories import Category, manual

FOLDER = Path(__file__).resolve().parent / "failures"
_HEAD = "<!-- Written by docs/failure_pages.py from the tables of kube_job_runner/domain/failures. -->"


def pages() -> dict[str, str]:
    """Return every page, by the name of its file."""
    written = {f"{category.name}.md": _page(category) for category in categories.CATEGORIES}
    written["README.md"] = _index(categories.CATEGORIES)
    return written


def _page(category: Category) -> str:
    found = manual.page(category)
    lines = [
        _HEAD,
        f"# {category.title}",
        "",
        f"Reason code `{category.code}`, category `{category.name}`.",
        "",
        category.happened,
        "",
        f"**Whose it is:** {found.whose}.",
        "",
        "## What to do",
        "",
        *(f"- {line}" for line in category.remedy),
        "",
        "## What is done about it",
        "",
        *(f"- {line}" for line in found.handling),
        "",
    ]
    if category.settings:
        names = ", ".join(f"[`{name}`](../reference/settings.md)" for name in category.settings)
        lines += [f"Settings: {names}.", ""]
    if found.signals:
        lines += [
            "## Rules that lead to it",
            "",
            "| rule | seen at | Kubernetes says | verdict | source |",
            "|---|---|---|---|---|",
        ]
        for signal in found.signals:
            cells = (f"`{signal.rule}`", signal.seen_at, signal.reasons, signal.verdict, signal.source)
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |")
        lines.append("")
    lines.append("How the rules work: [failure rules](../reference/failure-rules.md).")
    return "\n".join(lines) + "\n"


def _index(known: Iterable[Category]) -> str:
    lines = [
        _HEAD,
        "# Reasons",
        "",
        "Every reason code that a job's record can show, and what it means. `kjr explain CODE` prints the same pages.",
        "",
        "| reason | meaning | usual verdict |",
        "|---|---|---|",
    ]
    lines += [
        f"| [`{category.code}`]({category.name}.md) | {category.title} | {category.verdict or ''} |"
        for category in known
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages and remove those that have no category any more."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text)
    print(f"{len(written)} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
