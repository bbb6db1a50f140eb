from typing import Any

import pytest

from atf.data_jobs.request import DataRequest, Operation, check_request
from atf.errors import InvalidInput
from atf.jobs.job_types_builtin import builtin_types
from atf.jobs.run import JobType
from atf.market.bars import Timeframe

MISSION = {
    "data_source": "yahoo",
    "symbols": ["AAPL", "MSFT", "GOOGL"],
    "operations": ["fetch", "normalize", "cache", "indicators"],
}
DEFINITION = next(one for one in builtin_types(data_check=check_request) if one.name == JobType.DATA_PROCESSING)


def test_the_missions_example_is_accepted_and_read() -> None:
    DEFINITION.prepare("nightly", MISSION)
    request = DataRequest.parse(MISSION)
    assert request.symbols == ("AAPL", "MSFT", "GOOGL")
    assert request.timeframe is Timeframe.D1
    assert request.operations == {
        Operation.FETCH, Operation.NORMALIZE, Operation.CACHE, Operation.INDICATORS
    }  # fmt: skip


def test_a_target_that_is_a_source_fills_it_in() -> None:
    prepared = DEFINITION.prepare("binance", {"symbols": ["BTCUSDT"], "operations": ["fetch", "cache"]})
    assert DataRequest.parse(prepared).data_source == "binance"


def test_spellings_of_one_symbol_are_one() -> None:
    request = DataRequest.parse({"data_source": "binance", "symbols": ["BTCUSDT", "BTC/USDT", "BTC-USDT"]})
    assert request.symbols == ("BTC/USDT",)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbols": None}, "task_params.symbols"),
        ({"universe": "sp500"}, "task_params.symbols"),
        ({"data_source": None}, "task_params.data_source"),
        ({"operations": ["cache"]}, "task_params.operations"),
        ({"operations": ["fetch", "cash"]}, "task_params.operations[1]"),
        ({"operations": ["resample"]}, "task_params.resample_to"),
        ({"operations": ["resample"], "resample_to": ["1h"]}, "task_params.resample_to[0]"),
        ({"timeframe": "2h"}, "task_params.timeframe"),
        ({"since": "last summer"}, "task_params.since"),
        ({"since": "0001-01-01"}, "task_params.since"),
        ({"since": "9999-12-31T23:00:00-23:00"}, "task_params.since"),
        ({"indicators": [{"indicator": "rsii"}]}, "task_params.indicators[0].indicator"),
        (
            {"indicators": [{"indicator": "rsi", "params": {"period": 0}}]},
            "task_params.indicators[0].params.period",
        ),
        ({"symbols": ["AAPL", "no symbol"]}, "task_params.symbols[1]"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_field(change: dict[str, Any], field: str) -> None:
    given = {name: value for name, value in {**MISSION, **change}.items() if value is not None}
    with pytest.raises(InvalidInput) as caught:
        DEFINITION.prepare("nightly", given)
    assert caught.value.field == field
