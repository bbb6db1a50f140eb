"""What is held, in line by recipient: who goes next, what goes together, and that nobody overtakes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.notifications.sending_fakes import delivery

from atf.notifications.channel import UNLIMITED, ChannelLimits, Recipient
from atf.notifications.lanes import Lanes, Parcel, line_of
from atf.notifications.message import Delivery, Priority
from atf.notifications.rate_limit import RateLimits

SLOW = ChannelLimits(per_recipient_second=1.0, longest_text=100)
NORMAL, HIGH, URGENT = Priority.NORMAL, Priority.HIGH, Priority.URGENT


def fitting(_: Recipient, deliveries: Sequence[Delivery]) -> int:
    """Ten fit together."""
    return min(10, len(deliveries))


def lanes_of(*deliveries: Delivery, limits: ChannelLimits = UNLIMITED, now: float = 0.0) -> Lanes:
    lanes = Lanes(RateLimits(limits), fitting)
    add(lanes, *deliveries, now=now)
    return lanes


def add(lanes: Lanes, *deliveries: Delivery, now: float = 0.0, address: str | None = None) -> None:
    lanes.add(((one, Recipient(one.user_id, address or f"chat-{one.user_id}")) for one in deliveries), now)


def ids(parcel: Parcel | None) -> list[int]:
    return [] if parcel is None else [one.id for one in parcel.deliveries]


def drain(lanes: Lanes, now: float = 0.0) -> list[list[int]]:
    """What goes, each letter accepted at once, until nothing may go or has to wait."""
    found = []
    while (parcel := lanes.next(now)) is not None:
        found.append(ids(parcel))
        lanes.finished(parcel, now)
    return found


# --- who goes next ---


def test_urgent_goes_first_then_high_then_normal() -> None:
    lanes = lanes_of(delivery(1), delivery(2, priority=HIGH), delivery(3, priority=URGENT), delivery(4))
    assert drain(lanes) == [[3], [2], [1], [4]]
    assert len(lanes) == 0


def test_so_it_is_among_recipients() -> None:
    lanes = lanes_of(
        delivery(1, user=1), delivery(2, user=2, priority=HIGH), delivery(3, user=3, priority=URGENT)
    )
    assert drain(lanes) == [[3], [2], [1]]


def test_a_normal_one_that_has_waited_five_minutes_longer_goes_before_a_high_one_and_never_an_urgent_one() -> (
    None
):
    old = delivery(1, user=1)
    assert drain(lanes_of(old, delivery(2, user=2, priority=HIGH, later=299))) == [[2], [1]]
    assert drain(lanes_of(old, delivery(2, user=2, priority=HIGH, later=301))) == [[1], [2]]
    assert drain(lanes_of(old, delivery(2, priority=HIGH, later=301))) == [[1], [2]], "of one user, too"
    assert drain(lanes_of(old, delivery(2, user=2, priority=URGENT, later=90_000))) == [[2], [1]]


def test_who_has_waited_longest_goes_first_among_equals() -> None:
    lanes = lanes_of(delivery(1, user=1, later=2), delivery(2, user=2, later=1), delivery(3, user=3, later=3))
    assert drain(lanes) == [[2], [1], [3]]


def test_a_recipient_gets_one_letter_at_a_time() -> None:
    lanes = lanes_of(delivery(1), delivery(2, priority=URGENT), delivery(3, user=2))
    first, other = lanes.next(0.0), lanes.next(0.0)
    assert (ids(first), ids(other), lanes.next(0.0), lanes.next_at()) == ([2], [3], None, None)
    assert first is not None
    add(lanes, delivery(4, priority=URGENT))
    assert lanes.next(0.0) is None
    lanes.finished(first, 0.0)
    assert drain(lanes) == [[4], [1]]


def test_actions_at_another_address_are_not_in_line() -> None:
    lanes = lanes_of(delivery(1, lane="a"), delivery(2, lane="b"), delivery(3, lane="a"))
    assert [ids(lanes.next(0.0)), ids(lanes.next(0.0)), ids(lanes.next(0.0))] == [[1], [2], []]


def test_what_is_to_be_avoided_begins_only_if_no_other_may() -> None:
    lanes = lanes_of(
        delivery(1, user=1, priority=URGENT), delivery(2, user=2), delivery(3, user=3), delivery(4, user=3)
    )
    assert [ids(lanes.next(0.0, avoid={1, 2})) for _ in range(4)] == [[3], [1], [2], []]


# --- limits ---


def test_the_next_letter_to_a_recipient_waits_and_those_to_others_do_not() -> None:
    limits = ChannelLimits(per_recipient_second=1.0)
    lanes = lanes_of(delivery(1), delivery(2), delivery(3, user=2), limits=limits)
    assert drain(lanes) == [[1], [3]]
    assert (lanes.next_at(), len(lanes)) == (1.0, 1)
    assert drain(lanes, 0.999) == []
    assert drain(lanes, 1.0) == [[2]]


def test_the_whole_channel_waits_for_its_rate() -> None:
    lanes = lanes_of(*(delivery(n, user=n) for n in range(1, 4)), limits=ChannelLimits(per_second=1.0))
    assert drain(lanes) == [[1]]
    assert lanes.next_at() == 1.0
    assert (drain(lanes, 1.0), drain(lanes, 2.0)) == ([[2]], [[3]])


def test_two_users_of_one_chat_get_no_more_than_one_chat_may() -> None:
    lanes = Lanes(RateLimits(ChannelLimits(per_group_minute=20.0)), fitting)
    add(lanes, delivery(1, user=1), delivery(2, user=2), delivery(3, user=3), address="-100")
    assert drain(lanes) == [[1]]
    assert lanes.next_at() == 3.0
    assert (drain(lanes, 3.0), drain(lanes, 5.9), drain(lanes, 6.0)) == ([[2]], [], [[3]])


def test_a_recipient_who_asks_for_a_pause_gets_it() -> None:
    lanes = lanes_of(delivery(1), delivery(2), delivery(3, user=2))
    parcel = lanes.next(0.0)
    assert parcel is not None
    lanes.pause(parcel, 30.0, 0.0)
    lanes.finished(parcel, 0.0)
    assert drain(lanes) == [[3]]
    assert lanes.next_at() == 30.0
    assert drain(lanes, 30.0) == [[2]]


# --- crowding ---


def test_of_whom_enough_is_held_no_more_is_wanted_of_that_urgency() -> None:
    lanes = lanes_of(*(delivery(n) for n in range(1, 50)), *(delivery(n, user=2) for n in range(100, 149)))
    assert lanes.crowded == frozenset()
    add(lanes, delivery(50), delivery(51, priority=URGENT))
    assert lanes.crowded == {(1, NORMAL.urgency)}
    drain(lanes)
    assert lanes.crowded == frozenset()


# --- together ---


def numbered(first: int, last: int, **changes: Any) -> list[Delivery]:
    return [delivery(n, **changes) for n in range(first, last + 1)]


def test_what_would_take_longer_than_five_seconds_one_by_one_goes_together() -> None:
    assert drain(lanes_of(*numbered(1, 5), limits=SLOW)) == [[1]]
    assert drain(lanes_of(*numbered(1, 6), limits=SLOW)) == [[1, 2, 3, 4, 5, 6]]


def test_only_as_many_go_together_as_fit_and_the_rest_in_its_time() -> None:
    lanes = lanes_of(*numbered(1, 23), limits=SLOW)
    assert [drain(lanes, float(now)) for now in range(5)] == [
        [list(range(1, 11))],
        [list(range(11, 21))],
        [[21]],
        [[22]],
        [[23]],
    ]


def test_a_group_s_letters_take_longer_so_that_two_already_go_together() -> None:
    lanes = Lanes(RateLimits(ChannelLimits(per_group_minute=20.0, longest_text=100)), fitting)
    add(lanes, *numbered(1, 2), address="-100")
    assert drain(lanes) == [[1, 2]]


def test_where_nothing_is_limited_or_texts_are_not_merged_each_goes_alone() -> None:
    for limits in (UNLIMITED, ChannelLimits(longest_text=100), ChannelLimits(per_recipient_second=1.0)):
        assert ids(lanes_of(*numbered(1, 20), limits=limits).next(0.0)) == [1]


def test_what_is_urgent_goes_alone_however_much_there_is() -> None:
    lanes = lanes_of(*numbered(1, 20, priority=URGENT), limits=SLOW)
    assert [drain(lanes, float(now)) for now in range(3)] == [[[1]], [[2]], [[3]]]


def test_high_and_normal_do_not_go_together() -> None:
    lanes = lanes_of(*numbered(1, 6), *numbered(7, 12, priority=HIGH), limits=SLOW)
    assert [drain(lanes, float(now)) for now in range(2)] == [[[7, 8, 9, 10, 11, 12]], [[1, 2, 3, 4, 5, 6]]]


def test_what_has_attachments_goes_alone_and_is_not_overtaken() -> None:
    lanes = lanes_of(*numbered(1, 3), delivery(4, has_attachments=True), *numbered(5, 12), limits=SLOW)
    assert [drain(lanes, float(now)) for now in range(3)] == [[[1, 2, 3]], [[4]], [list(range(5, 13))]]


# --- what is given back ---


def test_behind_one_that_is_tried_again_its_line_is_taken_out_and_no_other() -> None:
    lanes = lanes_of(*numbered(1, 3), delivery(4, priority=HIGH, later=-1000), delivery(5, user=2))
    parcels = [lanes.next(0.0), lanes.next(0.0)]
    assert [ids(one) for one in parcels] == [[4], [5]]
    assert parcels[0] is not None
    assert lanes.take_line(parcels[0]) == []
    lanes.finished(parcels[0], 0.0)
    first = lanes.next(0.0)
    assert first is not None
    assert [one.id for one in lanes.take_line(first)] == [2, 3]
    lanes.finished(first, 0.0)
    assert (len(lanes), lanes.next(0.0)) == (0, None)


def test_of_who_has_moved_everything_is_taken_out() -> None:
    lanes = lanes_of(*numbered(1, 2), delivery(3, priority=URGENT), delivery(4, user=2))
    parcel = lanes.next(0.0)
    assert parcel is not None
    assert sorted(one.id for one in lanes.take_lane(parcel)) == [1, 2]
    lanes.finished(parcel, 0.0)
    assert drain(lanes) == [[4]]


def test_all_that_is_not_under_way_can_be_taken_out() -> None:
    lanes = lanes_of(*numbered(1, 3), delivery(4, user=2), limits=ChannelLimits(per_recipient_second=1.0))
    parcel = lanes.next(0.0)
    assert parcel is not None
    assert sorted(one.id for one in lanes.take_all()) == [2, 3, 4]
    assert (len(lanes), lanes.next(9.0), lanes.next_at()) == (0, None, None)
    lanes.finished(parcel, 0.0)
    add(lanes, delivery(2), delivery(4, user=2), now=9.0)
    assert drain(lanes, 9.0) == [[2], [4]]


# --- whatever happens ---

PRIORITIES = st.sampled_from([NORMAL, NORMAL, HIGH, URGENT])
STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 3), PRIORITIES, st.integers(1, 12), st.booleans()),
    st.tuples(st.just("claim"), st.integers(1, 20)),
    st.tuples(st.just("next"), st.floats(0, 3)),
    st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from(["sent", "sent", "again", "paused", "moved"])),
    st.tuples(st.just("give back")),
)


class Post:
    """Deliveries that are written, claimed in the order of their lines, sent, and given back."""

    def __init__(self, limits: ChannelLimits) -> None:
        self.lanes = Lanes(RateLimits(limits), fitting)
        self.limits = limits
        self.now = 0.0
        self.written: list[Delivery] = []
        self.stored: list[Delivery] = []
        self.waiting: set[int] = set()
        self.under_way: list[Parcel] = []
        self.sent: list[Delivery] = []

    def do(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("write", user, priority, count, has_photo):
                for _ in range(count):
                    number = len(self.written) + 1
                    made = delivery(number, user=user, priority=priority, has_attachments=has_photo)
                    self.written.append(made)
                    self.stored.append(made)
            case ("claim", limit):
                self.claim(limit)
            case ("next", seconds):
                self.now += seconds
                self.begin()
            case ("end", which, outcome):
                if self.under_way:
                    self.end(self.under_way.pop(which % len(self.under_way)), outcome)
            case ("give back",):
                self.stored += self.lanes.take_all()

    def claim(self, limit: int) -> None:
        self.stored.sort(key=lambda one: one.id)
        due = [one for one in self.stored if not any(self.is_behind(one, other) for other in self.written)][
            :limit
        ]
        self.stored = [one for one in self.stored if one not in due]
        add(self.lanes, *due, now=self.now)

    def is_behind(self, one: Delivery, other: Delivery) -> bool:
        return other.id in self.waiting and line_of(other) == line_of(one) and other.id < one.id

    def begin(self) -> None:
        while (parcel := self.lanes.next(self.now)) is not None:
            assert all(other.key != parcel.key for other in self.under_way), "one letter at a time"
            assert len(set(map(line_of, parcel.deliveries))) == 1
            if len(parcel.deliveries) > 1:
                assert self.limits.longest_text
                assert not any(one.has_attachments or one.priority is URGENT for one in parcel.deliveries)
            self.under_way.append(parcel)

    def end(self, parcel: Parcel, outcome: str) -> None:
        if outcome == "sent":
            self.sent += parcel.deliveries
            self.waiting -= {one.id for one in parcel.deliveries}
        else:
            if outcome == "paused":
                self.lanes.pause(parcel, self.now + 2.0, self.now)
            behind = self.lanes.take_lane(parcel) if outcome == "moved" else self.lanes.take_line(parcel)
            self.stored += [*parcel.deliveries, *behind]
            self.waiting |= {one.id for one in parcel.deliveries}
        self.lanes.finished(parcel, self.now)

    def send_the_rest(self) -> None:
        rounds = 0
        while len(self.sent) < len(self.written):
            rounds += 1
            assert rounds < 10_000, "something is lost"
            for parcel in self.under_way[:]:
                self.under_way.remove(parcel)
                self.end(parcel, "sent")
            self.claim(1000)
            next_at = self.lanes.next_at()
            self.now = max(self.now, next_at if next_at is not None else self.now)
            self.begin()


@settings(max_examples=150)
@given(
    st.sampled_from([UNLIMITED, SLOW, ChannelLimits(per_second=5.0, per_recipient_second=1.0, longest_text=50)]),
    st.lists(STEP, max_size=60),
)
def test_whatever_is_written_and_however_sends_end_each_is_sent_once_and_each_line_in_order(
    limits: ChannelLimits, steps: list[tuple[Any, ...]]
) -> None:
    post = Post(limits)
    for step in steps:
        post.do(step)
    post.send_the_rest()
    by_line: dict[object, list[int]] = defaultdict(list)
    for one in post.sent:
        by_line[line_of(one)].append(one.id)
    assert all(line == sorted(line) for line in by_line.values())
    assert sorted(one.id for one in post.sent) == [one.id for one in post.written]
    assert (len(post.lanes), post.lanes.next_at()) == (0, None)
