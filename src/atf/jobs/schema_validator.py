"""A document's shape against the JSON Schema of its kind, with errors that name the field.

Used when something is stored or begins to run, never for every evaluation. The library is loaded with the first
schema, so that commands that only look at things do not wait for it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

from atf.errors import InvalidInput, InvariantViolation, Problems, shown
from atf.jobs.sensitive_schema import MARK, MarkedFields, marked_fields
from atf.security.limits import DEEPEST_DOCUMENT, LONGEST_TEXT
from atf.security.sealed_fields import Marked

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_LARGEST_NUMBER: Final = sys.float_info.max
_LONGEST_PATH: Final = 100
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""NUL, and halves of surrogate pairs."""
_WATCHED: Final[set[tuple[str, str]]] = set()
"""The schemas, by package and name, of which some job type seals the sensitive fields."""


class SchemaValidator:
    """Checks documents against the schemas in the folder ``schemas`` of a package; each is read once.

    ``refusal`` is what is raised, ``root`` the path of the document itself, which begins every field's path.
    """

    def __init__(self, package: str, *, refusal: type[InvalidInput] = InvalidInput, root: str = "") -> None:
        self._package = package
        self._refusal = refusal
        self._root = root

    def validate(self, document: object, schema: str) -> Mapping[str, Any]:
        """Return the document if its shape is right.

        Errors: the refusal, with the JSON paths of all that is wrong.
        """
        try:
            return _validated(document, self._package, schema)
        except InvalidInput as exc:
            first, *others = (self._refusal(one.reason, field=self._path(one.field)) for one in exc.problems)
            raise self._refusal(first.reason, field=first.field, others=others) from exc.__cause__

    def sensitive(self, schema: str) -> MarkedFields:
        """Return what reads the fields that a schema marks as sensitive, for the definition of a job type."""
        _WATCHED.add((self._package, schema))
        return partial(_marked, self._package, schema)

    def _path(self, field: str) -> str:
        if not self._root or not field:
            return field or self._root
        return f"{self._root}{field}" if field.startswith("[") else f"{self._root}.{field}"


def is_storable(text: str) -> bool:
    """Tell whether the database can hold a text."""
    return not _UNSTORABLE.search(text)


def require_storable(node: object, path: str = "", depth: int = 0) -> None:
    """Refuse what JSON or the database cannot hold, before anything tries to compare, show or store it.

    Errors: InvalidInput with the JSON path.
    """
    if depth > DEEPEST_DOCUMENT:
        raise InvalidInput(f"nested more than {DEEPEST_DOCUMENT} deep", field=f"{path[:_LONGEST_PATH]}...")
    match node:
        case list():
            for index, part in enumerate(node):
                require_storable(part, f"{path}[{index}]", depth + 1)
        case Mapping():
            for name, part in node.items():
                _require_text(name, path)
                require_storable(part, f"{path}.{name}" if path else name, depth + 1)
        case str():
            _require_text(node, path)
        case int() | float():
            _require_finite(node, path)
        case None:
            pass
        case _:
            raise InvalidInput(f"is not JSON: {shown(node)}", field=path)


def _validated(document: object, package: str, schema: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise InvalidInput(f"must be a JSON object, got {shown(document)}")
    require_storable(document)
    hides = bool(_require_watched(package, schema))
    problems = Problems()
    for error in sorted(_validator(package, schema).iter_errors(document), key=_telling_first):
        problems.add(_refusal(error, hides=hides))
    problems.raise_any()
    return document


def _telling_first(error: ValidationError) -> tuple[bool, list[str | int]]:
    """A name that is not known explains the fields that came with it, so it is told before them."""
    return error.validator != "enum", list(error.absolute_path)


def _require_finite(number: float, path: str) -> None:
    if not -_LARGEST_NUMBER <= number <= _LARGEST_NUMBER:
        raise InvalidInput(f"must be a finite number, got {shown(number)}", field=path)


def _require_text(text: object, path: str) -> None:
    if not isinstance(text, str):
        raise InvalidInput(f"a field's name must be a text, got {shown(text)}", field=path)
    if len(text) > LONGEST_TEXT:
        raise InvalidInput(f"has more than {LONGEST_TEXT} characters", field=path)
    if not is_storable(text):
        raise InvalidInput("has characters that cannot be stored: NUL, or half of a surrogate pair", field=path)


@cache
def _schema(package: str, schema: str) -> Any:
    return json.loads(resources.files(package).joinpath(f"schemas/{schema}.schema.json").read_text("utf-8"))


@cache
def _marked(package: str, schema: str) -> Marked:
    return marked_fields(_schema(package, schema))


def _require_watched(package: str, schema: str) -> Marked:
    """Return what a schema marks as sensitive; nothing is accepted of which nobody would seal it."""
    marked = _marked(package, schema)
    if marked and (package, schema) not in _WATCHED:
        raise InvariantViolation(
            f"the schema {schema} of {package} marks fields with {MARK}, and its job type does not say so: give"
            f' its definition sensitive_params=SchemaValidator("{package}").sensitive("{schema}")'
        )
    return marked


@cache
def _validator(package: str, schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(_schema(package, schema))


def _refusal(error: ValidationError, *, hides: bool) -> InvalidInput:
    """``hides``: the document has sensitive fields, so that no sentence may have been made of its values."""
    path, wanted = _path(error), cast("Any", error.validator_value)
    if hides and isinstance(error.schema, Mapping) and error.schema.get(MARK) is True:
        return InvalidInput(f"is not as it must be: {error.validator} {shown(wanted)}", field=path)
    match error.validator:
        case "additionalProperties":
            return _unknown_fields(error, path)
        case "required":
            missing = [name for name in wanted if name not in cast("Any", error.instance)]
            return _all_of(InvalidInput("is missing", field=_below(path, name)) for name in missing)
        case "enum":
            allowed = [str(value) for value in wanted]
            return InvalidInput(
                f"{shown(error.instance)} is not one of {', '.join(allowed)}{_hint(error.instance, allowed)}",
                field=path,
            )
        case "type":
            got = "" if hides else f", got {shown(error.instance)}"
            return InvalidInput(f"must be {_kind(error)}{got}", field=path)
        case "maxItems":
            found = len(cast("Any", error.instance))
            return InvalidInput(f"has {found} entries, at most {wanted} are allowed", field=path)
        case "pattern":
            return InvalidInput(f"{shown(error.instance)} has characters that are not allowed", field=path)
        case _ if hides:
            return InvalidInput(f"is not as it must be: {error.validator}", field=path)
        case _:
            return InvalidInput(error.message, field=path)


def _kind(error: ValidationError) -> str:
    kinds = error.validator_value if isinstance(error.validator_value, list) else [str(error.validator_value)]
    return " or ".join(f"an {kind}" if kind[0] in "aio" else f"a {kind}" for kind in kinds)


def _unknown_fields(error: ValidationError, path: str) -> InvalidInput:
    allowed = list(cast("Any", error.schema)["properties"])
    unknown = [name for name in cast("Any", error.instance) if name not in allowed]
    hints = {name: _hint(name, allowed) or f"; allowed: {', '.join(allowed)}" for name in unknown}
    return _all_of(InvalidInput(f"unknown field{hints[name]}", field=_below(path, name)) for name in unknown)


def _all_of(problems: Iterable[InvalidInput]) -> InvalidInput:
    """The library tells what is unknown in one error, and what is missing in several that are alike."""
    first, *others = problems
    return InvalidInput(first.reason, field=first.field, others=others)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _hint(found: object, allowed: list[str]) -> str:
    close = get_close_matches(str(found), allowed, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _path(error: ValidationError) -> str:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
