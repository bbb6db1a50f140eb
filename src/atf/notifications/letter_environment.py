"""In what templates of messages run: Jinja's sandbox, narrowed, with one environment for each form of text.

Whatever a template prints is made harmless for the form, without the template's doing: in MarkdownV2 and HTML it
reads as itself, and what nobody can see is left out of all three. Only template files are templates; titles,
bodies and payloads are values, and are never read as anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from jinja2 import BaseLoader, StrictUndefined, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from atf.notifications.channel import TextForm
from atf.notifications.foreign_text import visible_text
from atf.notifications.local_format import LocalFormat, local_format
from atf.notifications.markdown import escape_code, escape_link, escape_markdown

_FILTERS: Final = frozenset(
    {
        *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "join"),
        *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse"),
        *(
            "safe",
            "select",
            "selectattr",
            "sort",
            "string",
            "sum",
            "title",
            "trim",
            "truncate",
            "unique",
            "upper",
        ),
    }
)
"""Jinja's filters without those that make much of little: ``center``, ``format``, ``round`` fill the memory."""

_ATTRIBUTES: Final[tuple[tuple[type | tuple[type, ...], frozenset[str]], ...]] = (
    (
        str,
        frozenset({"endswith", "lower", "removeprefix", "removesuffix", "split", "startswith", "strip", "upper"}),
    ),
    (Mapping, frozenset({"get", "items", "keys", "values"})),
    (
        (date, timedelta),
        frozenset({"year", "month", "day", "hour", "minute", "second", "days", "seconds", "weekday"}),
    ),
    ((int, float, Decimal, bytes, list, tuple), frozenset()),
)
"""What may be asked of values; of objects that are given to templates, whatever has no underscore before it."""

_LARGEST_PRODUCT: Final = 256
"""Bits of a product; a chain of larger ones would fill the memory."""


@dataclass(frozen=True, slots=True)
class User:
    """Who reads a message, as templates see it."""

    language: str
    timezone: str


class Formatted(str):
    """Text that is MarkdownV2 already, which is not escaped again. What is made of it by Python is plain text."""

    __slots__ = ()


class LetterEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox without what makes much of little: powers, repeated texts, widths of formats.

    It guards against mistakes and against what stands in a message. Who may write the files could still have a
    template fill the memory in many small steps.
    """

    intercepted_binops = frozenset({"*", "**", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may have an attribute."""
        for kinds, allowed in _ATTRIBUTES:
            if isinstance(obj, kinds):
                return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002
        """Return nothing, so that ``str.format`` is an attribute like others, and refused."""
        return

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply and divide numbers. Errors: SecurityError for powers, and for texts and lists."""
        numbers = isinstance(left, int | float | Decimal) and isinstance(right, int | float | Decimal)
        if operator == "**" or not numbers:
            raise SecurityError(f"{operator} is not done here")
        are_whole = isinstance(left, int) and isinstance(right, int)
        if are_whole and left.bit_length() + right.bit_length() > _LARGEST_PRODUCT:
            raise SecurityError("a product is too large")
        return super().call_binop(context, operator, left, right)


def build_environment(form: TextForm, loader: BaseLoader) -> LetterEnvironment:
    """Return the environment of a form, in which ``{{ }}`` escapes for it."""
    environment = LetterEnvironment(
        autoescape=form is TextForm.HTML,
        cache_size=-1,
        auto_reload=False,
        finalize=_FINALIZERS[form],
        loader=loader,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals = {"range": environment.globals["range"]}
    environment.filters = {name: call for name, call in environment.filters.items() if name in _FILTERS}
    environment.filters |= _LOCAL_FILTERS | _MARKS[form]
    return environment


def formed(form: TextForm, text: str) -> str:
    """Return a foreign text in a form, as no template had touched it."""
    match form:
        case TextForm.HTML:
            return _html_lines(text)
        case TextForm.MARKDOWN_V2:
            return escape_markdown(visible_text(text))
        case TextForm.PLAIN:
            return visible_text(text)


def marked(form: TextForm, text: str) -> str:
    """Return what a template has written as a value that another one of the same form prints as it is."""
    kinds: dict[TextForm, type[str]] = {TextForm.HTML: Markup, TextForm.MARKDOWN_V2: Formatted}
    return kinds.get(form, str)(text)


def _plain(value: Any) -> str:
    return "" if value is None else visible_text(str(value))


def _markdown(value: Any) -> Formatted:
    return value if type(value) is Formatted else Formatted(escape_markdown(_plain(value)))


def _html(value: Any) -> str:
    return value if isinstance(value, Markup) else _plain(value)


_FINALIZERS: Final[Mapping[TextForm, Callable[[Any], str]]] = {
    TextForm.PLAIN: _plain,
    TextForm.MARKDOWN_V2: _markdown,
    TextForm.HTML: _html,
}


def _filter(name: str) -> Callable[..., str]:
    """Return a filter that writes by the language and time zone of the reader."""

    @pass_context
    def write(context: Context, value: Any, *arguments: Any, **named: Any) -> str:
        user = context["user"]
        local: LocalFormat = local_format(user.language, user.timezone)
        return str(getattr(local, name)(value, *arguments, **named))

    return write


@pass_context
def _local_time(context: Context, at: Any, format: str = "short") -> str:  # noqa: A002 - the name templates use
    user = context["user"]
    return local_format(user.language, user.timezone).local_time(at, format)


_LOCAL_FILTERS: Final[dict[str, Callable[..., str]]] = {
    **{name: _filter(name) for name in ("duration", "money", "number", "percent")},
    "local_time": _local_time,
}


def _markdown_mark(before: str, after: str, value: Any) -> Formatted:
    text = _markdown(value)
    return Formatted(f"{before}{text}{after}") if text else text  # an entity without text is refused


def _markdown_code(value: Any) -> Formatted:
    text = _plain(value)
    return Formatted(f"`{escape_code(text)}`" if text else "")


def _markdown_link(value: Any, url: str) -> Formatted:
    return _markdown_mark("[", f"]({escape_link(url)})", value) if _is_link(url) else _markdown(value)


def _html_mark(tag: str, value: Any) -> Markup:
    return Markup("<{0}>{1}</{0}>").format(tag, _html(value))


def _html_link(value: Any, url: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(url, _html(value)) if _is_link(url) else escape(_html(value))


def _html_lines(value: Any) -> Markup:
    return value if isinstance(value, Markup) else Markup("<br>\n").join(_plain(value).split("\n"))


def _plain_link(value: Any, url: str) -> str:
    return f"{_plain(value)} ({url})" if _is_link(url) else _plain(value)


def _is_link(url: str) -> bool:
    """Return whether a text is an address of the web; others, such as ``javascript:``, are no links here."""
    return url.startswith(("https://", "http://")) and url.isprintable() and " " not in url


_MARKS: Final[Mapping[TextForm, dict[str, Callable[..., str]]]] = {
    TextForm.PLAIN: {
        **dict.fromkeys(("bold", "italic", "code", "lines", "safe"), _plain),
        "link": _plain_link,
    },
    TextForm.MARKDOWN_V2: {
        "bold": partial(_markdown_mark, "*", "*"),
        "italic": partial(_markdown_mark, "_", "_"),
        "code": _markdown_code,
        "lines": _markdown,
        "link": _markdown_link,
        "safe": Formatted,
    },
    TextForm.HTML: {
        "bold": partial(_html_mark, "strong"),
        "italic": partial(_html_mark, "em"),
        "code": partial(_html_mark, "code"),
        "lines": _html_lines,
        "link": _html_link,
    },
}
"""Filters by which a template marks its words: the same names in each form, nothing to be seen in plain text."""
