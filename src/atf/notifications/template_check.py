"""Whether a user's templates can be read, and write the samples of their types in every language."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from atf.notifications.channel import Recipient, TextForm
from atf.notifications.letter_samples import packaged_sample, sample_types
from atf.notifications.letter_templates import TemplateFailure, TemplateFile, TemplateProblem, form_of
from atf.notifications.letter_writer import LetterWriter, OnFailure
from atf.notifications.texts import installed_languages

_ZONE: Final = "Europe/Berlin"


def check_templates(overrides: Path) -> list[TemplateProblem]:
    """Return what is wrong with the files in a user's folder, in the order of their names.

    Of a type without a sample only the syntax is checked: what its messages have in them is not known here.
    """
    found: list[TemplateProblem] = []

    def tell(file: TemplateFile, _: TextForm, failure: TemplateFailure) -> None:
        if file.path is not None:
            found.append(TemplateProblem(file.path, failure.reason, failure.line))

    writer = LetterWriter(overrides, on_failure=tell)
    for file in writer.templates.files:
        if file.path is not None:
            _try(writer, file, tell)
    problems = {(one.path, one.line): one for one in (*writer.templates.problems, *found)}
    return sorted(problems.values(), key=lambda one: (str(one.path), one.line or 0))


def _try(writer: LetterWriter, file: TemplateFile, tell: OnFailure) -> None:
    form = form_of(file.way)
    try:
        writer.templates.compile(file, form)
    except TemplateFailure as failure:
        return tell(file, form, failure)
    if file.notification_type in sample_types():
        sample = packaged_sample(file.notification_type)
        for language in installed_languages():
            writer.write(sample, Recipient(0, language=language, timezone=_ZONE), _channel(file), form)
    return None


def _channel(file: TemplateFile) -> str:
    """Return the channel that a file is for; empty: every channel of the form."""
    return "" if file.way in tuple(TextForm) else file.way
