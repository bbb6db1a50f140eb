"""Marks in schemas: where they count, and that none is overlooked."""

import json
from pathlib import Path
from typing import Any

import pytest

from atf.errors import InvalidInput, InvariantViolation
from atf.jobs.job_types_builtin import builtin_types
from atf.jobs.schema_validator import SchemaValidator
from atf.jobs.sensitive_schema import marked_fields
from atf.security.sealed_fields import masked

SECRET = {"type": "string", "x-sensitive": True}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_marks_below_properties_items_and_other_names_count() -> None:
    schema = an_object(
        token=SECRET,
        smtp=an_object(password=SECRET, host={"type": "string"}),
        hooks={"type": "array", "items": an_object(key=SECRET)},
        headers={**an_object(accept={"type": "string"}), "additionalProperties": SECRET},
        plain={"type": "string", "x-sensitive": False},
    )
    document = {
        "token": "a",
        "smtp": {"password": "b", "host": "h"},
        "hooks": [{"key": "c"}],
        "headers": {"accept": "x", "other": "d"},
        "plain": "p",
    }
    assert masked(document, marked_fields(schema)) == {
        "token": "***",
        "smtp": {"password": "***", "host": "h"},
        "hooks": [{"key": "***"}],
        "headers": {"accept": "x", "other": "***"},
        "plain": "p",
    }


@pytest.mark.parametrize(
    "schema",
    [
        an_object(token={"type": "integer", "x-sensitive": True}),
        an_object(token={"x-sensitive": True}),
        {"anyOf": [an_object(token=SECRET)]},
        {"$defs": {"secret": SECRET}, **an_object(token={"$ref": "#/$defs/secret"})},
        {"type": "array", "prefixItems": [SECRET]},
        {"type": "object", "patternProperties": {"^x": SECRET}},
        {"type": ["array", "object"], "items": SECRET, "additionalProperties": SECRET},
        {"if": an_object(token=SECRET)},
        an_object(default={"anyOf": [SECRET]}),
        {"type": "object", "x-sensitive": True},
    ],
)
def test_a_mark_that_cannot_be_followed_is_refused(schema: Any) -> None:
    with pytest.raises(InvariantViolation, match="x-sensitive may stand on texts below properties"):
        marked_fields(schema)


def test_examples_are_no_schemas_and_names_are_no_keywords() -> None:
    schema = {**an_object(examples=SECRET, default=SECRET), "examples": [{"x-sensitive": True}]}
    assert set(marked_fields(schema).fields) == {"examples", "default"}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"pin": "a!"}, 'pin: is not as it must be: pattern "^[0-9]+$"'),
        ({"pin": "1"}, "pin: is not as it must be: minLength 2"),
        ({"pin": "a!", "pair": {"pin": "xy"}}, "pair.pin: is not as it must be"),
        ({"pair": "xy"}, "pair: must be an object"),
        ({"pair": {"pin": 55}}, 'pair.pin: is not as it must be: type "string"'),
        ({"few": {"pin": "xy", "b": 1}}, "few: is not as it must be: maxProperties"),
    ],
)
def test_a_refusal_shows_no_value_however_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: Any, sentence: str
) -> None:
    pin = {**SECRET, "minLength": 2, "pattern": "^[0-9]+$"}
    few = {**an_object(pin=pin), "maxProperties": 1}
    schema = an_object(pin=pin, pair=an_object(pin=pin), few=few)
    package = f"atf_test_{tmp_path.name.lower().replace('-', '_')}"
    (tmp_path / package / "schemas").mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "schemas" / "pin.schema.json").write_text(json.dumps(schema))
    monkeypatch.syspath_prepend(str(tmp_path))
    schemas = SchemaValidator(package)
    assert schemas.sensitive("pin")()
    with pytest.raises(InvalidInput) as refused:
        schemas.validate(document, "pin")
    assert str(refused.value).startswith(sentence)
    assert not [word for word in ("a!", "'1'", "xy", "55") if word in str(refused.value)]


def test_no_built_in_type_has_sensitive_fields_and_alerts_ask_nobody() -> None:
    assert [one.name for one in builtin_types() if one.has_sensitive_fields] == []
