"""What senders that are killed promise of messages: none is lost, none overtakes, few come twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """A message that was accepted; ``line``: those with which it must keep the order, as user and priority."""

    key: str
    line: object


def judge(
    written: Sequence[Written],
    lives: Sequence[Sequence[str]],
    *,
    under_way: int,
    repeatable: Sequence[Collection[str]] | None = None,
) -> None:
    """Do nothing if the promises are kept.

    Shape:  ``written`` in the order of acceptance; ``lives``: the keys that arrived in each sender's life, in
            order. ``under_way``: how many letters a sender has under way at most. ``repeatable``: those that a
            killed life may have had under way, if that is known: no others may come again.
    Errors: AssertionError that says which promise is broken.
    """
    arrived = [key for life in lives for key in life]
    known = {one.key: one.line for one in written}
    lost = [one.key for one in written if one.key not in set(arrived)]
    assert not lost, f"{len(lost)} never arrived, such as {lost[:5]}"
    unknown = [key for key in arrived if key not in known]
    assert not unknown, f"nobody wrote {unknown[:5]}"
    _require_order(written, list(dict.fromkeys(arrived)), known)
    for number, life in enumerate(lives):
        twice = {key for key in life if life.count(key) > 1}
        assert not twice, f"life {number} sent {sorted(twice)[:5]} more than once by itself"
        later = {key for other in lives[number + 1 :] for key in other}
        again = [key for key in life if key in later]
        assert len(again) <= under_way, (
            f"{len(again)} of life {number} came again; at most {under_way} were under way"
        )
        if repeatable is not None:
            wrong = [key for key in again if key not in repeatable[number]]
            assert not wrong, f"{wrong[:5]} of life {number} came again and were not under way"


def _require_order(written: Sequence[Written], firsts: Sequence[str], known: dict[str, object]) -> None:
    """Copies aside, each line arrives in the order in which it was accepted."""
    wanted, found = defaultdict(list), defaultdict(list)
    for one in written:
        wanted[one.line].append(one.key)
    for key in firsts:
        found[known[key]].append(key)
    for line, keys in wanted.items():
        pairs = zip(found[line], keys, strict=True)
        wrong = next(((was, should) for was, should in pairs if was != should), None)
        assert wrong is None, f"in line {line} came {wrong} where the other should have"
