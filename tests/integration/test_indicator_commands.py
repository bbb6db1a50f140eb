"""``atf indicators``, run as a user runs it, on bars in files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atf.testing.processes import Installation

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        folder = made.home / "bars" / "1d"
        folder.mkdir(parents=True)
        with (folder / "T.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["timestamp", "open", "high", "low", "close", "volume"])
            for day in range(30):
                rows.writerow([(BEGIN + timedelta(days=day)).date(), *[100 + day] * 4, 10])
        yield made


def test_indicators_are_computed_on_the_newest_closed_bars(installation: Installation) -> None:
    computed = installation.run(
        *("indicators", "compute", "T", "1d", "sma", "--param", "period=3", "--last", "2", "--json")
    )
    assert computed.returncode == 0, computed.stderr
    assert json.loads(computed.stdout) == [
        {"bar": "2024-01-29T00:00:00Z", "value": 127.0},
        {"bar": "2024-01-30T00:00:00Z", "value": 128.0},
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("T", "1d", "smaa"), "atf: indicator: unknown indicator 'smaa'; did you mean 'sma'?"),
        (("T", "1d", "sma", "--param", "period"), "atf: --param: must be NAME=VALUE, got 'period'"),
        (
            ("T", "1d", "sma", "--param", "period=0"),
            "atf: params.period: must be an integer from 1 to 1000, got 0",
        ),
        (("NOPE", "1d", "sma"), "atf: no file of NOPE 1d in"),
    ],
)
def test_a_mistake_is_one_sentence(installation: Installation, words: tuple[str, ...], sentence: str) -> None:
    refused = installation.run("indicators", "compute", *words)
    assert refused.returncode == 1
    assert refused.stderr.startswith(sentence)
    assert refused.stderr.count("\n") == 1


def test_every_indicator_is_listed_and_shown(installation: Installation) -> None:
    listed = json.loads(installation.run("indicators", "list", "--json").stdout)
    assert {"rsi", "keltner", "volatility"} <= {one["name"] for one in listed}
    shown = json.loads(installation.run("indicators", "show", "bb", "--json").stdout)
    assert (shown["name"], shown["outputs"]) == ("bbands", ["middle", "upper", "lower"])
    assert shown["parameters"]["stddev"] == "0 to 100, 2 if not given"
