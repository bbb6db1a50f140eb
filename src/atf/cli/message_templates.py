"""``atf notifications templates``: how messages read, tried on samples. No database is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atf.cli.json_input import read_json
from atf.cli.output import JsonOption, print_json, print_table
from atf.errors import InvalidInput
from atf.notifications.channel import Recipient, TextForm
from atf.notifications.letter_samples import given_sample, packaged_sample
from atf.notifications.letter_templates import (
    TemplateBook,
    TemplateFailure,
    TemplateFile,
    form_of,
    is_type_name,
)
from atf.notifications.letter_writer import LetterWriter, Written
from atf.notifications.preferences import parse_language, parse_timezone
from atf.notifications.template_check import check_templates
from atf.notifications.texts import installed_languages, texts_in
from atf.settings import load_settings

app = typer.Typer()

EXIT_PROBLEMS = 1


@app.command("list")
def list_templates(as_json: JsonOption = False) -> None:
    """List the types of messages and their templates: yours, and those that ATF brings.

    Example: atf notifications templates list
    """
    files = TemplateBook(_folder()).files
    if as_json:
        print_json([_document(file) for file in files])
        return
    rows = [(file.notification_type, _type_name(file), file.way, file.path or "ATF") for file in files]
    print_table("Templates", ("type", "name", "form or channel", "from"), rows)
    typer.echo(f"yours: {_folder()}/TYPE/CHANNEL.j2 or FORM.j2")


@app.command()
def preview(
    notification_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as alert, report, digest.")],
    channel: Annotated[str, typer.Option("--channel", help="Whose templates and form.")] = "inbox",
    form: Annotated[TextForm | None, typer.Option("--form", help="Default: the channel's.")] = None,
    language: Annotated[str, typer.Option("--language", help="The reader's.")] = "en",
    timezone: Annotated[str, typer.Option("--timezone", "--tz", help="The reader's, an IANA name.")] = "UTC",
    sample: Annotated[
        Path | None, typer.Option("--sample", help="JSON with title, body, payload; default: ATF's sample.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print how a message reads: its title, and below it the text in the form that the channel takes.

    Example: atf notifications templates preview alert --channel telegram --language de
    """
    _require_name(notification_type, "TYPE")
    _require_name(channel, "--channel")
    recipient = Recipient(
        0, language=parse_language(language, installed_languages()), timezone=parse_timezone(timezone)
    )
    deliveries = (
        packaged_sample(notification_type)
        if sample is None
        else given_sample(notification_type, read_json(f"@{sample}", "--sample"))
    )
    wanted = form or form_of(channel)
    written = LetterWriter(_folder(), on_failure=_tell).write(deliveries, recipient, channel, wanted)
    _print(written, wanted, as_json=as_json)


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Try each of your templates on a sample, in every language; leave with 1 if one has a problem.

    Example: atf notifications templates check
    """
    folder = _folder()
    problems = check_templates(folder)
    if as_json:
        print_json(
            {"folder": str(folder), "problems": [_problem(one.path, one.line, one.reason) for one in problems]}
        )
    elif not problems:
        typer.echo(f"no problem in {folder}")
    for problem in () if as_json else problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)


def _folder() -> Path:
    return load_settings().home / "templates"


def _tell(file: TemplateFile, _: TextForm, failure: TemplateFailure) -> None:
    typer.echo(f"{file.shown}: {failure}; the next template is used", err=True)


def _print(written: Written, form: TextForm, *, as_json: bool) -> None:
    if as_json:
        print_json({"form": form, "title": written.title, "text": written.text, "formatted": written.formatted})
        return
    typer.echo(written.title)
    typer.echo(f"\n{written.text if written.formatted is None else written.formatted}")


def _type_name(file: TemplateFile) -> str:
    return texts_in("en").type_name(file.notification_type)


def _document(file: TemplateFile) -> dict[str, Any]:
    return {
        "type": file.notification_type,
        "name": _type_name(file),
        "for": file.way,
        "file": None if file.path is None else str(file.path),
    }


def _problem(path: Path, line: int | None, reason: str) -> dict[str, Any]:
    return {"file": str(path), "line": line, "reason": reason}


def _require_name(text: str, field: str) -> None:
    if not is_type_name(text):
        raise InvalidInput(f"'{text}' is no name: small letters, digits, _ and -", field=field)
