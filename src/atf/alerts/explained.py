"""One bar of one stored alert, explained: the traced bar next to what is on record. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atf.alerts.alert import Alert
from atf.alerts.alert_message import trigger_key
from atf.alerts.alerts_service import AlertRecord, TriggerRecord
from atf.alerts.explanation import as_json, as_text, shown_time, state_json, tree, tree_lines
from atf.alerts.seen import judged_bar
from atf.alerts.state import AlertState
from atf.alerts.traced_bar import TracedBar
from atf.rules.words import number_words


@dataclass(frozen=True, slots=True)
class Explained:
    """A bar of an alert: as traced now, and as its evaluation left it.

    ``state`` is the alert's state from which it goes on; ``recorded`` are its triggers on this bar, of earlier
    rules too; ``newer`` is when a bar opens that has closed after the newest evaluated one; ``last_seen`` is what
    is kept of that one (see ``seen``).
    """

    stored: AlertRecord
    alert: Alert
    state: AlertState
    bar: TracedBar
    recorded: tuple[TriggerRecord, ...] = field(default_factory=tuple)
    newer: datetime | None = None
    last_seen: bytes | None = None

    @property
    def is_preview(self) -> bool:
        """Whether the alert did not watch yet when the bar closed."""
        return self.bar.close_time <= self.state.history_until

    @property
    def is_newest_evaluated(self) -> bool:
        """Whether the stored state is the one after this bar."""
        return not self.is_preview and self.state.last_bar == self.bar.open_time

    def as_json(self) -> dict[str, Any]:
        """Return all of it for programs.

        ``stored_state`` and ``stored_rule`` are there for the newest evaluated bar, as its evaluation left them.
        """
        return {
            "id": self.stored.id,
            "name": self.stored.name,
            **as_json(self.alert, self.bar, is_preview=self.is_preview),
            "stored_state": state_json(self.state) if self.is_newest_evaluated else None,
            "stored_rule": self._stored_tree,
            "recorded_triggers": [_record_json(one) for one in self.recorded],
            "remarks": list(self.remarks()),
        }

    def as_text(self) -> str:
        """Return it as lines for a person."""
        title = f"alert {self.stored.id}, {self.stored.name}"
        text = as_text(self.alert, self.bar, is_preview=self.is_preview)
        remarks = list(self.remarks())
        return "\n".join([title, text, *([""] if remarks else []), *remarks])

    def remarks(self) -> Iterator[str]:
        """Yield a sentence for each thing that the traced bar alone does not tell."""
        if self.is_preview:
            yield self._why_preview()
        for one in self.recorded:
            yield _record_words(one, is_of_this_rule=self._is_of_this_rule(one))
            if one.explanation is not None and one.explanation["rule"] != self._tree:
                yield "\n".join(["It saw then:", *tree_lines(one.explanation["rule"])])
        stored, is_told = self._stored_tree, any(one.explanation is not None for one in self.recorded)
        if stored is not None and stored != self._tree and not is_told:
            yield "\n".join(["As the alert looked at this bar, it saw:", *tree_lines(stored)])
        yield from self._contradictions()
        yield from self._what_is_not_evaluated()

    @property
    def _tree(self) -> Mapping[str, Any]:
        return tree(self.alert, self.bar.judged)

    @property
    def _stored_tree(self) -> Mapping[str, Any] | None:
        """The tree as it was judged, if this is the newest evaluated bar and it was kept."""
        kept = self.last_seen if self.is_newest_evaluated else None
        seen = None if kept is None else judged_bar(self.alert, kept, self.state)
        return None if seen is None else tree(self.alert, seen)

    def _why_preview(self) -> str:
        if self.bar.close_time <= self.stored.created_at:
            return "The alert did not exist yet: this is what it would have done."
        if self.stored.state_json is None:
            return "The alert's state was lost, and all bars until now are history: it would have done this."
        since = shown_time(self.state.history_until)
        return (
            f"The alert watches since {since}, when it was resumed or its rule was edited: "
            "this is what it would have done."
        )

    def _contradictions(self) -> Iterator[str]:
        why = "the bars may have been revised since, or the alert was paused or edited in between"
        if self.alert.is_live:
            why = f"bars that are still forming were looked at, too, and are not on record; or {why}"
        if not self.is_preview and self._is_evaluated:
            own = [one for one in self.recorded if self._is_of_this_rule(one)]
            has_record, is_live = bool(own), any(one.live_at is not None for one in own)
            if has_record and not is_live and not self.bar.is_triggered:
                yield f"The bars as they are now would not trigger: {why}."
            if self.bar.is_triggered and not has_record:
                yield f"No trigger is on record for this bar: {why}."
        differing = list(self._differences()) if self.is_newest_evaluated else []
        if differing:
            yield f"The stored state differs, {', '.join(differing)}: {why}."

    def _differences(self) -> Iterator[str]:
        traced, stored, enough = self.bar.after, self.state, self.alert.rearm.bars
        for name, now, then in (
            ("status", traced.status, stored.status),
            ("gate", traced.gate, stored.gate),
            ("count", min(traced.count, enough), min(stored.count, enough)),
            ("data", traced.data_status, stored.data_status),
            ("cooldown until", _instant(traced.cooldown_until), _instant(stored.cooldown_until)),
            ("last trigger", _instant(traced.last_trigger_bar), _instant(stored.last_trigger_bar)),
        ):
            if now != then:
                yield f"{name} {then} instead of {now}"

    def _what_is_not_evaluated(self) -> Iterator[str]:
        if not self.stored.enabled:
            yield "The alert is paused: bars that close meanwhile never trigger."
        elif not self.is_preview and not self._is_evaluated and self.state.status.is_final:
            yield f"The alert is {self.state.status} and looks at no bars any more."
        elif not self.is_preview and not self._is_evaluated:
            yield "The alert has not looked at this bar yet."
        elif self.newer is not None and not self.state.status.is_final:
            opens = shown_time(self.newer)
            yield f"A newer bar, of {opens}, has closed and was not looked at yet; see: --at {opens}"

    @property
    def _is_evaluated(self) -> bool:
        return self.state.last_bar is not None and self.bar.open_time <= self.state.last_bar

    def _is_of_this_rule(self, trigger: TriggerRecord) -> bool:
        return trigger.dedup_key == trigger_key(self.stored.id, self.alert.rule_hash, trigger.bar_time)


def _record_words(one: TriggerRecord, *, is_of_this_rule: bool) -> str:
    read = ", ".join(f"{name} = {number_words(value)}" for name, value in one.readings.items())
    late = ", late" if one.is_late else ""
    if one.live_at is not None:
        late = f", on the bar as it was at {one.live_at:%H:%M:%S}Z, before it closed"
    rule = "" if is_of_this_rule else " of an earlier rule"
    return f"On record: trigger {one.trigger_number}{rule}, decided {shown_time(one.decided_at)}{late}; {read}."


def _record_json(one: TriggerRecord) -> dict[str, Any]:
    return {
        "number": one.trigger_number,
        "readings": dict(one.readings),
        "is_late": one.is_late,
        "live_at": one.live_at,
        "decided_at": one.decided_at,
        "explanation": one.explanation,
    }


def _instant(instant: datetime | None) -> str:
    return "none" if instant is None else shown_time(instant)
