"""What differs between two configurations, and what a merge patch makes of one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.trading.config_changes import ChangeKind, Difference, differences, merged

BEFORE: dict[str, Any] = {"symbol": "A", "risk": {"may_short": True, "max_open_orders": 5}, "resample": ["1h"]}


def test_differences_are_told_by_path_with_both_values() -> None:
    after = {
        "symbol": "A",
        "risk": {"may_short": False, "max_order_value": 3},
        "resample": ["1h", "1d"],
        "data": {},
    }
    assert differences(BEFORE, after) == [
        Difference("risk.may_short", ChangeKind.CHANGED, True, False),
        Difference("risk.max_open_orders", ChangeKind.REMOVED, 5, None),
        Difference("risk.max_order_value", ChangeKind.ADDED, None, 3),
        Difference("resample", ChangeKind.CHANGED, ["1h"], ["1h", "1d"]),
        Difference("data", ChangeKind.ADDED, None, {}),
    ]


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ([1], [True]), ("1", 1), (None, 0), ({}, [])])
def test_what_only_python_takes_for_equal_differs(one: object, other: object) -> None:
    assert [each.path for each in differences({"x": one}, {"x": other})] == ["x"]


def test_an_order_of_names_is_no_difference() -> None:
    assert differences({"a": [{"x": 1, "y": 2}], "b": 1}, {"b": 1, "a": [{"y": 2, "x": 1}]}) == []


def test_a_patch_replaces_merges_and_takes_out() -> None:
    patch = {
        "symbol": "B",
        "risk": {"may_short": None, "max_open_orders": 7},
        "data": {"provider": "x", "y": None},
    }
    assert merged(BEFORE, patch) == {
        "symbol": "B",
        "risk": {"max_open_orders": 7},
        "resample": ["1h"],
        "data": {"provider": "x"},
    }
    assert BEFORE["risk"] == {"may_short": True, "max_open_orders": 5}, "what was there is left as it was"


DOCUMENTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.booleans() | st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=6,
)


@given(DOCUMENTS, DOCUMENTS)
def test_equal_documents_alone_have_no_differences(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert differences(one, one) == []
    found, turned = differences(one, other), differences(other, one)
    assert {each.path for each in found} == {each.path for each in turned}


@given(DOCUMENTS)
def test_an_empty_patch_changes_nothing(document: dict[str, Any]) -> None:
    assert differences(document, merged(document, {})) == []
