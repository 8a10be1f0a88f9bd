"""`kjr explain`: the manual page of a reason code, from the same tables as docs/failures. No server is asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import options

if TYPE_CHECKING:
    from kube_job_runner.domain.categories.manual import Manual


@click.command("explain", short_help="Explain a reason code: what it means, whose fault it is, what to do.")
@click.argument("code", required=False)
@options.output("table", "json", "jsonl", "yaml")
def command(code: str | None) -> int:
    """Explain a reason code, such as ImageNotFound or image_not_found; without CODE, list all of them."""
    if code is None:
        return list_codes()
    if explain_code(code):
        return 0
    raise _unknown(code)


def list_codes() -> int:
    """Print all reason codes with their titles."""
    from kube_job_runner.cli import output, session
    from kube_job_runner.domain import categories

    current = session.current()
    if current.output != "table":
        rows = [{"code": known.code, "category": known.name, "title": known.title} for known in categories.CATEGORIES]
        output.write_objects(rows, current.output)
        return 0
    width = max(len(known.code) for known in categories.CATEGORIES)
    for known in categories.CATEGORIES:
        click.echo(f"{known.code:{width}}  {known.title}")
    return 0


def explain_code(code: str) -> bool:
    """Print the manual page of a reason code or category; False when there is none of that name."""
    from kube_job_runner.cli import output, session
    from kube_job_runner.domain import categories
    from kube_job_runner.domain.categories import manual

    category = categories.find(code)
    if category is None:
        return False
    found = manual.page(category)
    current = session.current()
    if current.output != "table":
        import msgspec

        answer = {"code": category.code, **msgspec.to_builtins(found)}
        output.write_objects([answer], current.output, single=True)
        return True
    click.echo("\n".join(_lines(found)))
    return True


def _lines(found: Manual) -> list[str]:
    category = found.category
    lines = [f"{category.code}: {category.title}", "", *_wrapped(category.happened), ""]
    lines += [f"Whose it is: {found.whose}.", "", "What to do:"]
    lines += [line for remedy in category.remedy for line in _wrapped(remedy, item=True)]
    lines += ["", "What is done about it:"]
    lines += [line for handling in found.handling for line in _wrapped(handling, item=True)]
    if category.settings:
        lines += ["", f"Settings: {', '.join(category.settings)}"]
    if found.signals:
        lines += ["", "Rules that lead to it:"]
        width = max(len(signal.rule) for signal in found.signals)
        for signal in found.signals:
            lines.append(f"  {signal.rule:{width}}  {signal.seen_at}: {signal.reasons} -> {signal.verdict}")
    return lines


def _wrapped(text: str, *, item: bool = False) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text, width=100, initial_indent="  - " if item else "", subsequent_indent="    " if item else ""
    )


def _unknown(code: str) -> Exception:
    import difflib

    from kube_job_runner.cli import exitcodes, text
    from kube_job_runner.cli.failures import CommandFailed
    from kube_job_runner.domain import categories

    letters = {known.code.lower(): known.code for known in categories.CATEGORIES}
    near = difflib.get_close_matches(code.lower().replace("_", "").replace("-", ""), letters, n=3)
    hint = f" Did you mean {', '.join(letters[name] for name in near)}?" if near else ""
    message = f"there is no reason code {text.line(code)!r}; `kjr explain` lists them all.{hint}"
    return CommandFailed(message, exit_code=exitcodes.NOT_FOUND)
