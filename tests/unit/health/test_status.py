from itertools import product

import pytest

from atf.health.status import Component, HealthStatus, OverallHealth, overall, reported_status

HEALTHY, DEGRADED, DOWN, UNKNOWN = HealthStatus


def components(*statuses: HealthStatus) -> list[Component]:
    return [Component(str(number), "word", status) for number, status in enumerate(statuses)]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((), OverallHealth.HEALTHY),
        ((HEALTHY, HEALTHY), OverallHealth.HEALTHY),
        ((HEALTHY, DEGRADED), OverallHealth.DEGRADED),
        ((HEALTHY, UNKNOWN), OverallHealth.DEGRADED),
        ((DEGRADED, DOWN, UNKNOWN), OverallHealth.UNHEALTHY),
    ],
)
def test_the_worst_component_decides(statuses: tuple[HealthStatus, ...], expected: OverallHealth) -> None:
    assert overall(components(*statuses)) is expected


def test_whatever_is_down_is_unhealthy_and_only_all_healthy_is_healthy() -> None:
    for statuses in product(HealthStatus, repeat=3):
        assert (overall(components(*statuses)) is OverallHealth.UNHEALTHY) == (DOWN in statuses)
        assert (overall(components(*statuses)) is OverallHealth.HEALTHY) == (set(statuses) == {HEALTHY})


@pytest.mark.parametrize(("age", "expected"), [(0, DEGRADED), (180, DEGRADED), (180.1, DOWN)])
def test_a_report_is_worth_three_intervals(age: float, expected: HealthStatus) -> None:
    assert reported_status(DEGRADED, age, interval_seconds=60) is expected
