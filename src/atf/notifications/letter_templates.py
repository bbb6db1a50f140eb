"""The files that say how messages read: which there are, which one a message is written by, and its limits.

``<type>/<form or channel>.j2`` in a folder of the user's, then in the package, then those of ``default``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from jinja2 import DictLoader, Template, TemplateSyntaxError

from atf.errors import AtfError, InvalidInput
from atf.notifications.channel import TextForm
from atf.notifications.letter_environment import LetterEnvironment, build_environment
from atf.security.inner_path import inner_path

DEFAULT: Final = "default"
DIGEST: Final = "digest"
ENDING: Final = ".j2"
LARGEST_TEMPLATE: Final = 64 * 1024
"""Bytes of a file."""
LONGEST_OUTPUT: Final = 256 * 1024
"""Characters that a template may write."""

CHANNEL_FORMS: Final = {"telegram": TextForm.MARKDOWN_V2, "email": TextForm.HTML}
"""What ATF's own channels take; a template that is named after another channel is tried as plain text."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class TemplateFailure(AtfError):
    """A template cannot write a message: its syntax, what it asks for, or the length of what it writes."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.reason, self.line = reason, line
        super().__init__(reason if line is None else f"line {line}: {reason}")


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """A template: ``name`` is ``<type>/<form or channel>``; without ``path`` it is the package's."""

    name: str
    source: str
    path: Path | None = None

    @property
    def notification_type(self) -> str:
        """The type of message that it is for."""
        return self.name.partition("/")[0]

    @property
    def way(self) -> str:
        """The form or channel that it is for."""
        return self.name.partition("/")[2]

    @property
    def shown(self) -> str:
        """What people are told of where it is."""
        return str(self.path) if self.path else f"{self.name}{ENDING} of ATF"


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong with a user's file, and in which line, if in one."""

    path: Path
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.path}{'' if self.line is None else f':{self.line}'}: {self.reason}"


class TemplateBook:
    """All templates, read once and compiled when first needed; ``problems`` are files that cannot be read."""

    def __init__(self, overrides: Path | None = None) -> None:
        self.problems: list[TemplateProblem] = []
        self._packaged = packaged_templates()
        self._overrides = {} if overrides is None else self._read_all(overrides)
        loader = DictLoader({f"{name}{ENDING}": file.source for name, file in self._packaged.items()})
        self._environments = {form: build_environment(form, loader) for form in TextForm}
        self._compiled: dict[tuple[str, TextForm, bool], Template] = {}

    @property
    def files(self) -> list[TemplateFile]:
        """All files: the user's, and those of the package, in order of their names."""
        return sorted((*self._overrides.values(), *self._packaged.values()), key=lambda file: file.name)

    def chosen(self, notification_type: str, channel: str, form: TextForm) -> Iterator[TemplateFile]:
        """Yield the templates of a message in the order in which they are tried; the last one is the package's.

        A file of a channel is written in the channel's form; ``channel`` is empty for the plain text beside it.
        """
        for kind in dict.fromkeys((notification_type, DEFAULT)):
            for files in (self._overrides, self._packaged):
                for way in (channel, form):
                    # A type or channel of any spelling is only looked up among names that have been read.
                    found = files.get(f"{kind}/{way}")
                    if found is not None:
                        yield found

    def render(self, file: TemplateFile, form: TextForm, context: Mapping[str, Any]) -> str:
        """Return what a template writes, without empty lines around it.

        Errors: TemplateFailure.
        """
        try:
            return _written(self._template(file, form), context)
        except TemplateFailure:
            raise
        except TemplateSyntaxError as exc:
            raise TemplateFailure(exc.message or "cannot be read", exc.lineno) from exc
        except Exception as exc:  # whatever a template does wrong must not lose the message
            reason = str(exc) or "fails"
            told = reason if "jinja2" in type(exc).__module__ else f"{type(exc).__name__}: {reason}"
            raise TemplateFailure(told, _line(exc.__traceback__, file.shown)) from exc

    def compile(self, file: TemplateFile, form: TextForm) -> None:
        """Read a template. Errors: TemplateFailure for its syntax."""
        try:
            self._template(file, form)
        except TemplateSyntaxError as exc:
            raise TemplateFailure(exc.message or "cannot be read", exc.lineno) from exc

    def _template(self, file: TemplateFile, form: TextForm) -> Template:
        key = (file.name, form, file.path is None)
        if key not in self._compiled:
            self._compiled[key] = _compiled(self._environments[form], file)
        return self._compiled[key]

    def _read_all(self, folder: Path) -> dict[str, TemplateFile]:
        found: dict[str, TemplateFile] = {}
        for relative in self._names(folder):
            try:
                name = _name(relative)
                found[name] = TemplateFile(name, _read(inner_path(folder, relative)), folder / relative)
            except InvalidInput as exc:
                self.problems.append(TemplateProblem(folder / relative, exc.reason))
        return found

    def _names(self, folder: Path) -> list[str]:
        try:
            found = [
                path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
            ]
            return sorted(str(path) for path in found if not any(part.startswith(".") for part in path.parts))
        except OSError as exc:
            self.problems.append(TemplateProblem(folder, f"cannot be read: {exc.strerror or exc}"))
            return []


@cache
def packaged_templates() -> dict[str, TemplateFile]:
    """Return the package's templates by name."""
    folder = resources.files("atf.notifications").joinpath("templates")
    found = (
        TemplateFile(f"{kind.name}/{file.name.removesuffix(ENDING)}", file.read_text("utf-8"))
        for kind in folder.iterdir()
        if kind.is_dir()
        for file in kind.iterdir()
        if file.name.endswith(ENDING)
    )
    return {file.name: file for file in found}


def is_type_name(text: str) -> bool:
    """Return whether a text can be the name of a type, form or channel."""
    return _NAME.fullmatch(text) is not None


def form_of(way: str) -> TextForm:
    """Return the form of a template that is named after a form or a channel."""
    return TextForm(way) if way in tuple(TextForm) else CHANNEL_FORMS.get(way, TextForm.PLAIN)


def _compiled(environment: LetterEnvironment, file: TemplateFile) -> Template:
    code = environment.compile(file.source, file.name, file.shown)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


def _written(template: Template, context: Mapping[str, Any]) -> str:
    parts: list[str] = []
    left = LONGEST_OUTPUT
    for part in template.generate(context):
        left -= len(part)
        if left < 0:
            raise TemplateFailure(f"writes more than {LONGEST_OUTPUT:,} characters")
        parts.append(part)
    text = "".join(parts).strip("\n")
    if not text.strip():
        raise TemplateFailure("writes nothing")
    return text


def _line(traceback: TracebackType | None, filename: str) -> int | None:
    """Return the line of a template in which an error was raised; Jinja names templates in tracebacks."""
    found = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == filename:
            found = traceback.tb_lineno
        traceback = traceback.tb_next
    return found


def _name(relative: str) -> str:
    """Return ``<type>/<form or channel>`` of a path in the user's folder. Errors: InvalidInput."""
    name = relative.removesuffix(ENDING)
    if name == relative or name.count("/") != 1 or not all(map(is_type_name, name.split("/"))):
        raise InvalidInput(
            f"is not read: templates are TYPE/CHANNEL{ENDING} or TYPE/FORM{ENDING}, in small letters"
        )
    return name


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEMPLATE + 1)
    except OSError as exc:
        raise InvalidInput(f"cannot be read: {exc.strerror or exc}") from exc
    if len(content) > LARGEST_TEMPLATE:
        raise InvalidInput(f"is larger than {LARGEST_TEMPLATE // 1024} KiB, the most that is read")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidInput("is no text in UTF-8") from exc
