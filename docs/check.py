"""Check the documentation.

- Every relative link and every anchor leads somewhere.
- A link whose text is the name of a test leads to the file that has this test.
- Every promise of docs/guarantees.md names at least one test.
- No page names a path of the machine it was written on.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TEST_LINK = re.compile(r"\[`(test_\w+)`\]\(([^)\s]+)\)")
PROMISE = re.compile(r"^\| (I\d+) \|.*$", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home/\w+|work)/")


def shown(page: Path) -> str:
    """Return the path of a page as messages show it."""
    return str(page.relative_to(ROOT) if page.is_relative_to(ROOT) else page)


def anchors(text: str) -> set[str]:
    """Return the anchors that a code host makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def faults(page: Path) -> list[str]:
    """Return the broken links and machine paths of one page."""
    text = page.read_text()
    found = []
    for match in LINK.finditer(FENCE.sub("", text)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            found.append(f"{shown(page)}: {target} leads nowhere")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            found.append(f"{shown(page)}: {target} has no such heading")
    if MACHINE_PATH.search(text):
        found.append(f"{shown(page)}: names a machine's own path")
    return found


def faults_of_tests(page: Path) -> list[str]:
    """Return the named tests that do not exist, and the promises that name no test."""
    text = page.read_text()
    found = []
    for name, target in TEST_LINK.findall(text):
        file = (page.parent / target).resolve()
        if not file.is_file() or f"def {name}(" not in file.read_text():
            found.append(f"{shown(page)}: {target} has no test {name}")
    unnamed = [promise[1] for promise in PROMISE.finditer(text) if not TEST_LINK.search(promise[0])]
    return found + [f"{shown(page)}: promise {number} names no test" for number in unnamed]


def main() -> int:
    """Print the faults of all pages. Return 1 when there are any, else 0."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/fixtures/**/*.md")]
    wrong = [fault for page in sorted(pages) for fault in [*faults(page), *faults_of_tests(page)]]
    for fault in wrong:
        print(fault, file=sys.stderr)
    print(f"{len(pages)} pages, {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
