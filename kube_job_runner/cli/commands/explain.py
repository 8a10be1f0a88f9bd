"""`kjr explain`: explains a job with the evidence, or prints the manual page of a reason code (without a server)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import exitcodes, invocation, job_reference, options
from kube_job_runner.cli.error_report import CommandFailed
from kube_job_runner.cli.terminal import explanation, output, text

if TYPE_CHECKING:
    from kube_job_runner.domain.failures.categories.manual import Manual

_LIKE_AN_ID = re.compile(r"@last|[0-9a-f]{6,8}(-[0-9a-f-]*)?", re.IGNORECASE)


@click.command("explain")
@click.argument("what", required=False, metavar="[ID|CODE]")
@click.option(
    "--evidence", is_flag=True, help="Show all evidence of a job: pods, containers, conditions, Events, nodes."
)
@options.output("table", "json", "jsonl", "yaml")
@options.connection
def command(what: str | None, *, evidence: bool) -> None:
    """Explain a job (what happened or why it waits, the last lines, what to do), or a reason code.

    CODE is a reason such as ImageNotFound, a word of Kubernetes such as OOMKilled, or an exit code. Without an argument, all
    codes are listed.
    """
    if what is None:
        list_codes()
    elif _LIKE_AN_ID.fullmatch(what) or not (explain_code(what) or explain_word(what)):
        _explain_job(what, evidence=evidence)


def _explain_job(reference: str, *, evidence: bool) -> None:
    from kube_job_runner.client import errors

    current = invocation.current()
    try:
        with current.client() as client:
            found = client.explain(job_reference.resolve(client, reference).id)
    except (CommandFailed, errors.NotConfigured) as error:
        missing = isinstance(error, errors.NotConfigured) or error.exit_code == exitcodes.NOT_FOUND
        if not missing or _LIKE_AN_ID.fullmatch(reference):
            raise
        raise _unknown(reference) from None
    if current.output == "table":
        output.write_lines((explanation.lines if evidence else explanation.short)(found), current)
    else:
        output.write_objects([found.raw], current.output, single=True)


def list_codes() -> None:
    """Print all reason codes with their titles."""
    from kube_job_runner.domain.failures import categories

    current = invocation.current()
    if current.output != "table":
        rows = [{"code": known.code, "category": known.name, "title": known.title} for known in categories.CATEGORIES]
        output.write_objects(rows, current.output)
        return
    width = max(len(known.code) for known in categories.CATEGORIES)
    for known in categories.CATEGORIES:
        click.echo(f"{known.code:{width}}  {known.title}")


def explain_code(code: str) -> bool:
    """Print the manual page of a reason code or category. Return False if there is none with this name."""
    from kube_job_runner.domain.failures import categories
    from kube_job_runner.domain.failures.categories import manual

    category = categories.find(code)
    if category is None:
        return False
    found = manual.page(category)
    current = invocation.current()
    if current.output != "table":
        output.write_objects([{"code": category.code, **output.plain(found)}], current.output, single=True)
    else:
        click.echo("\n".join(_lines(found)))
    return True


def explain_word(word: str) -> bool:
    """Print what a word of Kubernetes or an exit code means here. Return False if it is neither."""
    from kube_job_runner.domain.failures import categories, words

    meaning = words.meaning(word)
    if meaning is None:
        return False
    current = invocation.current()
    found = [categories.BY_NAME[name] for name in meaning.categories]
    if current.output != "table":
        known = [{"code": one.code, "category": one.name, "title": one.title} for one in found]
        output.write_objects([{"word": word, "meaning": meaning.sentence, "codes": known}], current.output, single=True)
        return True
    if meaning.sentence:
        click.echo("\n".join([*_wrapped(meaning.sentence), ""]))
    if len(found) == 1:
        return explain_code(found[0].code)
    width = max(len(one.code) for one in found)
    click.echo("It can lead to these reasons; `kjr explain REASON` explains one, `kjr explain ID` a job:")
    for one in found:
        click.echo(f"  {one.code:{width}}  {one.title}")
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


def _wrapped(sentence: str, *, item: bool = False) -> list[str]:
    import textwrap

    first, further = ("  - ", "    ") if item else ("", "")
    return textwrap.wrap(sentence, width=100, initial_indent=first, subsequent_indent=further)


def _unknown(code: str) -> Exception:
    import difflib

    from kube_job_runner.domain.failures import categories, codes

    letters = {codes.key(known.code): known.code for known in categories.CATEGORIES}
    near = difflib.get_close_matches(codes.key(code), letters, n=3)
    hint = f" Did you mean {', '.join(letters[name] for name in near)}?" if near else ""
    message = f"no job and no reason code is called {text.line(code)!r}; `kjr explain` lists the codes.{hint}"
    return CommandFailed(message, exit_code=exitcodes.NOT_FOUND)
