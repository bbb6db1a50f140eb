import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

from atf.indicators.indicator import IndicatorRequest
from atf.indicators.indicator_service import IndicatorService
from atf.indicators.registry import indicator_of, resolve, window_of
from atf.market.bars import COLUMNS, Bars, FloatArray

ROOT = Path(__file__).parents[3]
SHARED = ROOT / "../shared/data/indicators"
START = datetime(2026, 1, 1, tzinfo=UTC)
Expected = Callable[[Bars, FloatArray, dict[str, Any]], Any]

EVERY: list[tuple[str, dict[str, Any], str | None]] = [
    ("sma", {}, None),
    ("sma", {"period": 1, "source": "volume"}, None),
    ("ema", {"period": 9, "source": "open"}, None),
    ("rsi", {}, None),
    ("rsi", {"period": 2}, None),
    ("macd", {}, "macd"),
    ("macd", {"fast": 3, "slow": 10, "signal": 1}, "signal"),
    ("macd", {}, "hist"),
    ("bbands", {}, None),
    ("bbands", {"stddev": 1.5}, "upper"),
    ("bbands", {"period": 2}, "lower"),
    ("atr", {}, None),
    ("atr", {"period": 1}, None),
    ("change_pct", {}, None),
    ("change_pct", {"bars": 30}, None),
    ("wma", {}, None),
    ("dema", {"period": 7}, None),
    ("tema", {"period": 7}, None),
    ("kama", {}, None),
    ("stochrsi", {}, None),
    ("stochrsi", {"period": 5, "k": 8, "d": 4}, "d"),
    ("roc", {}, None),
    ("mom", {"period": 3, "source": "volume"}, None),
    ("adx", {}, None),
    ("adx", {"period": 5}, "plus_di"),
    ("adx", {}, "minus_di"),
    ("stoch", {}, None),
    ("stoch", {"k": 5, "smooth": 1, "d": 4}, "d"),
    ("cci", {}, None),
    ("willr", {}, None),
    ("aroon", {}, None),
    ("aroon", {"period": 10}, "up"),
    ("aroon", {}, "down"),
    ("psar", {}, None),
    ("psar", {"acceleration": 0.05, "maximum": 0.5}, None),
    ("donchian", {}, None),
    ("donchian", {"period": 5}, "upper"),
    ("donchian", {}, "lower"),
    ("keltner", {}, None),
    ("keltner", {"period": 5, "atr_period": 12}, "upper"),
    ("keltner", {"multiplier": 1.5}, "lower"),
    ("vwap", {}, None),
    ("mfi", {}, None),
    ("obv", {}, None),
    ("volatility", {}, None),
    ("volatility", {"period": 5, "bars_a_year": 365}, None),
]


def random_walk(count: int, seed: int = 1) -> Bars:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(random.normal(0, 0.01, count).cumsum())
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + random.random(count) / 100)
    low = np.minimum(opened, close) * (1 - random.random(count) / 100)
    return bars_of(np.column_stack([opened, high, low, close, random.integers(1, 10**6, count)]))


def bars_of(values: FloatArray) -> Bars:
    return Bars.from_columns(np.arange(len(values), dtype=np.int64) * 60_000_000_000, values.astype(float))


def closes(values: list[float]) -> Bars:
    return Bars.from_rows([(START + timedelta(hours=i), c, c, c, c, 1.0) for i, c in enumerate(values)])


def values(series: Bars, name: str, *, first: int = 0, output: str | None = None, **params: object) -> FloatArray:
    return IndicatorService().values(series, resolve(name, params, output), first)


def with_missing(bars: Bars, rows: list[int]) -> Bars:
    table = np.column_stack([bars.column(name) for name in COLUMNS])
    table[rows] = np.nan
    return bars_of(table)


def by_talib(bars: Bars, request: IndicatorRequest) -> FloatArray:
    """Return what TA-Lib itself gives on all of these bars."""
    found: dict[str, Any] = dict(request.params)
    source = bars.column(str(found.pop("source", "close")))
    outputs = EXPECTED.get(request.name, by_its_own_name(request.name))(bars, source, found)
    result: FloatArray = outputs[request.output] if isinstance(outputs, dict) else outputs
    return result


def hlc(bars: Bars) -> tuple[FloatArray, FloatArray, FloatArray]:
    return bars.high, bars.low, bars.close


def by_its_own_name(name: str) -> Expected:
    def expected(bars: Bars, source: FloatArray, found: dict[str, Any]) -> Any:
        columns = hlc(bars) if name in ("atr", "cci", "willr") else (source,)
        return getattr(talib, name.upper())(*columns, found["period"])

    return expected


def expected_adx(bars: Bars, _: FloatArray, found: dict[str, Any]) -> dict[str, FloatArray]:
    functions = {"adx": talib.ADX, "plus_di": talib.PLUS_DI, "minus_di": talib.MINUS_DI}
    outputs = {name: function(*hlc(bars), found["period"]) for name, function in functions.items()}
    for values in outputs.values():
        values[: 2 * found["period"] - 1] = np.nan
    return outputs


def expected_aroon(bars: Bars, _: FloatArray, found: dict[str, Any]) -> dict[str, FloatArray]:
    down, up = talib.AROON(bars.high, bars.low, found["period"])
    return {"up": up, "down": down, "oscillator": talib.AROONOSC(bars.high, bars.low, found["period"])}


def expected_donchian(bars: Bars, _: FloatArray, found: dict[str, Any]) -> dict[str, FloatArray]:
    upper, lower = talib.MAX(bars.high, found["period"]), talib.MIN(bars.low, found["period"])
    return {"upper": upper, "lower": lower, "middle": (upper + lower) / 2}


def expected_keltner(bars: Bars, _: FloatArray, found: dict[str, Any]) -> dict[str, FloatArray]:
    middle = talib.EMA(bars.close, found["period"])
    width = talib.ATR(*hlc(bars), found["atr_period"]) * found["multiplier"]
    return {"middle": middle + 0 * width, "upper": middle + width, "lower": middle - width}


def expected_vwap(bars: Bars, _: FloatArray, found: dict[str, Any]) -> Any:
    traded = talib.TYPPRICE(*hlc(bars)) * bars.volume
    return talib.SUM(traded, found["period"]) / talib.SUM(bars.volume, found["period"])


def expected_stoch(bars: Bars, _: FloatArray, found: dict[str, Any]) -> dict[str, FloatArray]:
    periods = {"fastk_period": found["k"], "slowk_period": found["smooth"], "slowd_period": found["d"]}
    return named("k", "d")(talib.STOCH(*hlc(bars), **periods))


def expected_volatility(_: Bars, source: FloatArray, found: dict[str, Any]) -> FloatArray:
    returns, count = np.log(source[1:] / source[:-1]), found["period"]
    annual = talib.STDDEV(returns, count) * np.sqrt(count / (count - 1) * found["bars_a_year"])
    return np.concatenate([[np.nan], annual])


def named(*names: str) -> Callable[[tuple[FloatArray, ...]], dict[str, FloatArray]]:
    return lambda outputs: dict(zip(names, outputs, strict=True))


EXPECTED: dict[str, Expected] = {
    "macd": lambda _, s, p: named("macd", "signal", "hist")(talib.MACD(s, p["fast"], p["slow"], p["signal"])),
    "bbands": lambda _, s, p: named("upper", "middle", "lower")(
        talib.BBANDS(s, p["period"], p["stddev"], p["stddev"])
    ),
    "change_pct": lambda _, s, p: talib.ROC(s, p["bars"]),
    "stochrsi": lambda _, s, p: named("k", "d")(talib.STOCHRSI(s, p["period"], p["k"], p["d"])),
    "stoch": expected_stoch,
    "adx": expected_adx,
    "aroon": expected_aroon,
    "psar": lambda b, _, p: talib.SAR(b.high, b.low, p["acceleration"], p["maximum"]),
    "donchian": expected_donchian,
    "keltner": expected_keltner,
    "vwap": expected_vwap,
    "mfi": lambda b, _, p: talib.MFI(*hlc(b), b.volume, p["period"]),
    "obv": lambda b, *_: talib.OBV(b.close, b.volume),
    "volatility": expected_volatility,
}


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(("name", "params", "output"), EVERY)
def test_values_are_those_of_talib(name: str, params: dict[str, Any], output: str | None) -> None:
    bars, request = random_walk(400), resolve(name, params, output)
    np.testing.assert_allclose(
        IndicatorService().values(bars, request, 0), by_talib(bars, request), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize(("name", "params", "output"), EVERY)
def test_first_value_is_at_the_index_of_the_definition(
    name: str, params: dict[str, Any], output: str | None
) -> None:
    request = resolve(name, params, output)
    found = IndicatorService().values(random_walk(100), request, 0)
    assert int(np.flatnonzero(np.isfinite(found))[0]) == indicator_of(request).first_index(request)


def test_values_are_those_of_the_textbook_formulas() -> None:
    with (ROOT / "tests/data/indicators/random_walk_60.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    session = IndicatorService().session(
        bars_of(np.array([[float(row[column]) for column in COLUMNS] for row in rows]))
    )
    for heading in list(rows[0])[5:]:
        name, _, output = heading.partition(".")
        expected = [float(row[heading] or "nan") for row in rows]
        found = session.values(resolve(name, {}, output or None), 0)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11, err_msg=heading)


def test_values_are_those_computed_by_hand() -> None:
    bars = closes([1.0, 2.0, 3.0, 2.0, 4.0])
    assert values(bars, "sma", period=2).tolist()[1:] == [1.5, 2.5, 2.5, 3.0]
    assert values(bars, "ema", period=3).tolist()[2:] == [2.0, 2.0, 3.0]
    # Gains 1, 1 and no loss; then 0.5 and 0.5; then (0.5 + 2) / 2 = 1.25 and 0.25.
    assert values(bars, "rsi", period=2).tolist()[2:] == pytest.approx([100.0, 50.0, 125 / 1.5])
    assert values(bars, "atr", period=2).tolist()[2:] == [1.0, 1.0, 1.5]
    assert values(bars, "bbands", output="upper", period=2).tolist()[1:] == [2.5, 3.5, 3.5, 5.0]
    assert values(bars, "change_pct", bars=2).tolist()[2:] == pytest.approx([200.0, 0.0, 100 / 3])


@pytest.mark.skipif(not SHARED.exists(), reason="the shared market data are not on this machine")
@pytest.mark.parametrize(
    ("file", "column", "name", "output"),
    [
        ("sma", "sma", "sma", None),
        ("ema", "ema", "ema", None),
        ("rsi", "rsi", "rsi", None),
        ("atr", "atr", "atr", None),
        ("macd", "macd", "macd", "macd"),
        ("macd", "signal", "macd", "signal"),
        ("macd", "histogram", "macd", "hist"),
        ("bb", "sma", "bbands", "middle"),
        ("bb", "upperBand", "bbands", "upper"),
        ("bb", "lowerBand", "bbands", "lower"),
        ("wma", "wma", "wma", None),
        ("adx", "adx", "adx", "adx"),
        ("adx", "pdi", "adx", "plus_di"),
        ("stoch", "oscillator", "stoch", "k"),
        ("stoch", "signal", "stoch", "d"),
    ],
)
def test_values_on_spy_are_those_of_another_library(
    file: str, column: str, name: str, output: str | None
) -> None:
    # That library seeds the MACD's fast EMA and the ADX at other bars: these are compared when they have settled.
    quotes = _read(SHARED / "quotes_default_502.csv")
    bars = bars_of(np.array([[float(row[c]) for c in COLUMNS] for row in quotes]))
    expected = np.array([float(row[column] or "nan") for row in _read(SHARED / f"expected/{file}.csv")])
    params = {"period": 14} if name == "wma" else {}
    found = IndicatorService().values(bars, resolve(name, params, output), 0)
    settled = 300 if name in ("macd", "adx") else 0
    both = np.isfinite(found) & np.isfinite(expected)
    assert both.sum() == np.isfinite(found).sum()
    np.testing.assert_allclose(found[both][settled:], expected[both][settled:], rtol=1e-9, atol=1e-9)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- the window


@pytest.mark.parametrize(("name", "params", "output"), EVERY)
def test_values_do_not_depend_on_how_much_history_was_loaded(
    name: str, params: dict[str, Any], output: str | None
) -> None:
    request = resolve(name, params, output)
    window = window_of(request)
    bars = with_missing(random_walk(window + 400), [70, window + 100, window + 390])
    service = IndicatorService()
    everything = service.values(bars, request, 0)
    newest = service.values(bars.last(window + 49), request, window - 1)
    np.testing.assert_array_equal(newest, everything[-50:])
    alone = [service.values(bars[: end + 1].last(window), request, window - 1)[0] for end in (-20, -11, -2)]
    np.testing.assert_array_equal(alone, everything[[-20, -11, -2]])


def test_prefix_of_the_history_gives_the_same_values() -> None:
    bars, request = random_walk(530), resolve("ema", {})
    service = IndicatorService()
    grown = [service.values(bars[: end + 1], request, end)[0] for end in range(530)]
    np.testing.assert_array_equal(grown, service.values(bars, request, 0))


def test_bars_too_far_back_do_not_make_up_for_missing_ones() -> None:
    bars = with_missing(random_walk(1200), list(range(600, 1190)))
    assert np.isnan(values(bars, "sma", first=1190, period=20)).all()
    assert np.isfinite(values(bars, "sma", first=1190, period=5)[4:]).all()


# ---------------------------------------------------------------- missing bars and markets that stand still


@pytest.mark.parametrize(("name", "params", "output"), EVERY)
def test_missing_bars_are_unknown_and_do_not_disturb_the_others(
    name: str, params: dict[str, Any], output: str | None
) -> None:
    bars, request = random_walk(200), resolve(name, params, output)
    missing = [0, 40, 41, 120, 199]
    others = np.setdiff1d(np.arange(200), missing)
    expected = IndicatorService().values(
        bars_of(np.column_stack([bars.column(c)[others] for c in COLUMNS])), request, 0
    )
    found = IndicatorService().values(with_missing(bars, missing), request, 0)
    assert np.isnan(found[missing]).all()
    np.testing.assert_array_equal(found[others], expected)


def test_only_the_columns_that_are_read_must_be_there() -> None:
    table = np.column_stack([random_walk(50).column(name) for name in COLUMNS])
    table[30, 4] = np.inf
    bars = bars_of(table)
    assert np.isfinite(values(bars, "sma", period=3)[30])
    assert np.isnan(values(bars, "sma", period=3, source="volume")[30])


def test_rsi_of_a_market_that_stands_still_is_unknown_and_of_one_that_only_falls_is_0() -> None:
    assert np.isnan(values(closes([5.0] * 40), "rsi")).all()
    assert values(closes([50.0 - i for i in range(40)]), "rsi")[-1] == 0.0
    assert values(closes([float(i) for i in range(1, 41)]), "rsi")[-1] == 100.0
    moved = values(closes([5.0] * 20 + [4.0] * 20), "rsi", period=3)
    assert np.isnan(moved[:20]).all()
    assert (moved[20:] == 0.0).all()


def test_change_from_zero_is_unknown() -> None:
    bars = Bars.from_rows(
        [(START + timedelta(hours=i), 1, 1, 1, 1, volume) for i, volume in enumerate([0, 5, 10])]
    )
    found = values(bars, "change_pct", source="volume")
    assert np.isnan(found[1])
    assert found[2] == 100.0


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize(("name", "params", "output"), EVERY)
def test_too_few_bars_are_unknown_and_no_error(
    name: str, params: dict[str, Any], output: str | None, count: int
) -> None:
    request = resolve(name, params, output)
    found = IndicatorService().values(random_walk(3)[:count], request, 0)
    assert found.shape == (count,)
    assert np.isnan(found[: indicator_of(request).first_index(request)]).all()


# ---------------------------------------------------------------- the session


def test_outputs_of_one_indicator_come_from_one_computation() -> None:
    service = IndicatorService()
    session = service.session(random_walk(300))
    for output in ("macd", "signal", "hist", "macd"):
        session.values(resolve("macd", {}, output), 200)
    assert service.calculations == 1
    session.values(resolve("macd", {"signal": 5}), 200)
    assert service.calculations == 2


def test_later_start_is_cut_from_what_is_computed_and_an_earlier_one_is_not_missing() -> None:
    service, bars, request = IndicatorService(), random_walk(300), resolve("rsi", {})
    session = service.session(bars)
    whole = service.values(bars, request, 0)
    for first in (200, 250, 100, 300, 999):
        np.testing.assert_array_equal(session.values(request, first), whole[first:])


def test_live_evaluation_of_one_new_bar_is_one_calculation() -> None:
    service, request = IndicatorService(), resolve("rsi", {})
    bars = random_walk(service.lookback(request))
    service.values(bars, request, len(bars) - 1)
    assert service.calculations == 1


def test_results_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        values(random_walk(30), "sma")[0] = 1.0


# ---------------------------------------------------------------- whole series


@pytest.mark.parametrize(("name", "params", "output"), EVERY)
def test_whole_series_in_one_pass_is_what_talib_gives_on_it(
    name: str, params: dict[str, Any], output: str | None
) -> None:
    bars, request = random_walk(3000), resolve(name, params, output)
    service = IndicatorService()
    np.testing.assert_allclose(service.compute(bars, request), by_talib(bars, request), rtol=1e-9, atol=0)
    assert service.calculations == 1


def test_whole_series_leaves_missing_bars_unknown() -> None:
    bars = with_missing(random_walk(60), [10, 30])
    found = IndicatorService().compute(bars, resolve("sma", {"period": 3}))
    assert np.flatnonzero(np.isnan(found)).tolist() == [0, 1, 10, 30]
