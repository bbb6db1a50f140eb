import pytest

from atf import errors
from atf.errors import AtfError, InvalidInput, TemporaryFailure, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("70", '"70"'),
        (True, "true"),
        (None, "null"),
        ([1, {"a": 2.5}], '[1, {"a": 2.5}]'),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("x" * 200, '"' + "x" * 99 + "..."),
    ],
)
def test_values_are_shown_as_their_json_and_cut(value: object, text: str) -> None:
    assert shown(value) == text


def test_values_that_python_cannot_print_are_no_second_error() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert {shown(value) for value in (10**5000, deep)} == {"a value that is too large to show"}


def test_text_of_a_refusal_begins_with_its_field() -> None:
    assert str(InvalidInput("is missing", field="rule.value")) == "rule.value: is missing"
    assert str(InvalidInput("is missing")) == "is missing"


def test_every_error_says_what_the_caller_must_do() -> None:
    tree = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert len(tree) > 10
    assert all(issubclass(one, AtfError) and one.__doc__ for one in tree)


def test_temporary_failure_may_carry_the_wait_that_was_asked_for() -> None:
    assert TemporaryFailure("429", retry_after_seconds=2.5).retry_after_seconds == 2.5
    assert TemporaryFailure("busy").retry_after_seconds is None
