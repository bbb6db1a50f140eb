"""Masks in documents, and masks that come back."""

from typing import Any

import pytest

from atf.errors import InvalidInput
from atf.security.sealed_fields import Marked, Place, changed, masked, unmasked

SECRET = Marked(is_sensitive=True)
MARKED = Marked(
    fields={
        "token": SECRET,
        "smtp": Marked(fields={"password": SECRET}),
        "hooks": Marked(others=Marked(fields={"key": SECRET})),
        "headers": Marked(fields={"Accept": Marked()}, others=SECRET),
    }
)
KNOWN: dict[str, Any] = {
    "token": "t0",
    "smtp": {"password": "p0", "host": "mail"},
    "hooks": [{"url": "a", "key": "k0"}, {"url": "b", "key": "k1"}],
    "headers": {"Accept": "json", "X-Key": "h0"},
    "free": {"token": "not a secret"},
}
SHOWN: dict[str, Any] = {
    "token": "***",
    "smtp": {"password": "***", "host": "mail"},
    "hooks": [{"url": "a", "key": "***"}, {"url": "b", "key": "***"}],
    "headers": {"Accept": "json", "X-Key": "***"},
    "free": {"token": "not a secret"},
}


def restored(wanted: Any) -> Any:
    return unmasked(wanted, KNOWN, MARKED, root="task_params")


def test_exactly_the_marked_values_are_changed_and_know_their_place() -> None:
    found: dict[Place, Any] = {}
    changed(KNOWN, MARKED, lambda place, value: found.setdefault(place, value))
    assert found == {
        ("token",): "t0",
        ("smtp", "password"): "p0",
        ("hooks", 0, "key"): "k0",
        ("hooks", 1, "key"): "k1",
        ("headers", "X-Key"): "h0",
    }


def test_marked_values_are_masked_and_sealed_ones_wherever_they_are() -> None:
    assert masked(KNOWN, MARKED) == SHOWN
    assert masked({"a": [{"b": {"$sealed": "1.1.abc"}}], "c": None}) == {"a": [{"b": "***"}], "c": None}
    assert masked({"token": None}, MARKED) == {"token": None}
    assert masked(None, MARKED) is None


def test_what_was_shown_can_be_sent_back() -> None:
    assert restored(SHOWN) == KNOWN


def test_new_values_and_masks_may_be_mixed() -> None:
    assert restored({**SHOWN, "token": "t1"}) == {**KNOWN, "token": "t1"}
    assert restored({"smtp": {"password": "***", "host": "other"}}) == {
        "smtp": {"password": "p0", "host": "other"}
    }


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"hooks": [{"url": "b", "key": "***"}]}, "task_params.hooks[0].key"),
        ({"hooks": [{"url": "b", "key": "***"}, {"url": "a", "key": "***"}]}, "task_params.hooks[0].key"),
        ({"hooks": [{"url": "evil", "key": "***"}, {"url": "b", "key": "***"}]}, "task_params.hooks[0].key"),
        ({"headers": {"X-Other": "***"}}, "task_params.headers.X-Other"),
    ],
)
def test_a_mask_never_stands_for_the_secret_of_something_else(wanted: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        restored(wanted)
    assert refused.value.field == field


def test_a_mask_where_nothing_is_known_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^task_params.token: \*\*\* stands for a stored value"):
        unmasked({"token": "***"}, {}, MARKED, root="task_params")
    assert unmasked({"free": "***"}, {}, MARKED, root="task_params") == {"free": "***"}


def test_documents_of_another_shape_are_left_to_the_schema() -> None:
    odd: Any
    for odd in ({"hooks": "x"}, {"hooks": {"key": "a"}}, {"smtp": [1]}, {"smtp": None}, [], 5, None):
        changed(odd, MARKED, lambda _, value: value)
        masked(odd, MARKED)
        restored(odd)
