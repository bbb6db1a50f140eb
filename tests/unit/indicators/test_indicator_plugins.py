"""Indicators of other packages: declared by a function, tried, and refused in one sentence."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.installed_packages import Installed

from atf.bootstrap.checks import check_config
from atf.errors import InvalidInput, PermanentFailure
from atf.indicators import registry
from atf.indicators.declaration import indicator
from atf.indicators.indicator import IntegerParameter, NumberParameter
from atf.indicators.indicator_service import IndicatorService
from atf.indicators.registry import resolve
from atf.market.bars import Bars, FloatArray
from atf.rules.grammar import parse_rule

DOCS = Path(__file__).parents[3] / "docs" / "indicators.md"
HEAD = (
    "import numpy as np\n"
    "from atf.indicators.declaration import indicator\n"
    "from atf.indicators.indicator import IntegerParameter\n"
)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Let each test find what it installs, and leave nothing to the others."""

    def forget() -> None:
        registry.plugged.cache_clear()
        registry._by_name.cache_clear()

    forget()
    yield
    forget()


def bars(*closes: float) -> Bars:
    close = np.array(closes)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    times = start + np.arange(len(close), dtype=np.int64) * 60 * 10**9
    return Bars(times, close, close + 1, close - 1, close, np.ones_like(close))


def test_the_example_of_the_docs_is_found_checked_and_computed(installed: Installed) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    installed.indicator("my-indicators", "off_middle = atf_test_mine:off_middle", atf_test_mine=source)

    assert registry.names()[-1] == "off_middle"
    request = resolve("off_middle", {"period": 2})
    values = IndicatorService().compute(bars(10, 12, 11), request)
    # Ranges of two bars: 9 to 13 and 10 to 13.
    np.testing.assert_allclose(values, [np.nan, (12 - 11) / 4, (11 - 11.5) / 3])
    with pytest.raises(InvalidInput, match=r"^params.period: must be an integer from 2 to 1000, got 1"):
        resolve("off_middle", {"period": 1})
    parse_rule({"indicator": "off_middle", "params": {"period": 2}, "operator": ">", "value": 0.5})
    with pytest.raises(InvalidInput, match="did you mean 'off_middle'"):
        parse_rule({"indicator": "off_midle", "operator": ">", "value": 0.5})


def test_plug_ins_that_do_not_work_are_told_and_left_out(installed: Installed) -> None:
    def add(name: str, source: str) -> None:
        installed.indicator(
            f"atf-{name}", f"{name} = atf_test_{name}:{name}", **{f"atf_test_{name}": HEAD + source}
        )

    add("afunction", "def afunction(close):\n    return close\n")
    add("broken", "@indicator('x.', first=0)\ndef broken(close):\n    raise OSError('no disk')\n")
    add("early", "@indicator('x.', first=3)\ndef early(close):\n    return close\n")
    add("long", "@indicator('x.', first=0)\ndef long(close):\n    return close[1:]\n")
    add("never", "@indicator('x.', first=0)\ndef never(close):\n    return close * np.nan\n")
    add("odd", "@indicator('x.', first=0)\ndef odd(closing):\n    return closing\n")
    add("rsi", "@indicator('x.', first=0)\ndef rsi(close):\n    return close\n")
    add("volume", "@indicator('x.', first=0)\ndef volume(close):\n    return close\n")
    add("works", "@indicator('x.', first=0)\ndef works(close):\n    return close\n")

    assert [one.name for one in registry.plugged().found] == ["works"]
    afunction, broken, early, long, never, odd, rsi, volume = registry.plugged().problems
    assert afunction == (
        "the plug-in 'afunction' (atf_test_afunction:afunction) of atf-afunction is left out: it is not what "
        "`atf.indicators.declaration.indicator` makes of a function"
    )
    assert broken.endswith("left out: the indicator 'broken' failed: OSError: no disk")
    assert early.endswith("its first value of 'value' should be at index 3, and is at 0")
    assert long.endswith("the indicator 'long' must return arrays of the shapes [(20,)], got [(19,)]")
    assert never.endswith("its first value of 'value' should be at index 0, and is nowhere")
    assert "must be 'source' alone or some of open, high, low, close, volume; found: closing" in odd
    assert rsi.endswith("the name 'rsi' is used already")
    assert volume.endswith("the name 'volume' is used already")
    [check] = [one for one in check_config() if one.subject == "indicators"]
    assert (check.is_ok, check.detail) == (False, "; ".join(registry.plugged().problems))


def test_of_two_plug_ins_with_one_name_the_first_is_used(installed: Installed) -> None:
    for name in ("a", "b"):
        source = HEAD + f"@indicator('Of {name}.', first=0)\ndef same(close):\n    return close\n"
        installed.indicator(f"atf-{name}", f"{name} = atf_test_{name}:same", **{f"atf_test_{name}": source})
    assert [one.doc for one in registry.plugged().found] == ["Of a."]
    assert len(registry.plugged().problems) == 1


def test_source_and_outputs_are_declared_by_the_signature() -> None:
    @indicator("Twice and thrice.", NumberParameter("more", 0.5, 0, 1), first=0, outputs=("twice", "thrice"))
    def multiples(source: FloatArray, *, more: float) -> Any:
        return source * 2 + more, source * 3 + more

    assert [one.name for one in multiples.parameters] == ["more", "source"]
    assert multiples.has_source
    assert multiples.longest_period(resolve("sma", {})) == 1
    assert multiples.outputs == ("twice", "thrice")


@pytest.mark.parametrize(
    ("declare", "error"),
    [
        (lambda: indicator("x.", first=0)(with_period), "must be its declared parameters: none; found: period"),
        (lambda: indicator("x.", first=0, outputs=("a", "a"))(plain), "outputs that differ"),
        (lambda: indicator(" ", first=0)(plain), "a sentence that says what it tells"),
        (lambda: indicator("x.", first=0, aliases=("Two Words",))(plain), "'Two Words' must be small letters"),
        (lambda: indicator("x.", first=0)(lambda close: close), "'<lambda>' must be small letters"),
        (lambda: indicator("x.", first=0)(reads_nothing), "some of open, high, low, close, volume; found: none"),
    ],
)
def test_a_declaration_that_does_not_fit_says_what(declare: Callable[[], object], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(error)):
        declare()


def test_what_a_plug_in_does_wrong_later_is_one_sentence_with_its_name() -> None:
    @indicator("Fails on few bars.", IntegerParameter("period", 2, low=1), first=0)
    def picky(close: FloatArray, *, period: int) -> Any:
        close[0] = period
        return close

    assert picky.calculation is not None
    close = np.ones(3)
    with pytest.raises(PermanentFailure, match=r"^the indicator 'picky' failed: ValueError: .*read-only$"):
        picky.calculation((close,), resolve("sma", {}))
    assert close.tolist() == [1, 1, 1]


def test_infinite_values_of_a_plug_in_are_unknown() -> None:
    @indicator("Something over nothing.", first=0)
    def over_nothing(close: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore"):
            return close / 0.0

    assert over_nothing.calculation is not None
    (values,) = over_nothing.calculation((np.ones(2),), resolve("obv", {}))
    assert np.isnan(values).all()


def plain(close: FloatArray) -> FloatArray:
    return close


def with_period(close: FloatArray, *, period: int) -> FloatArray:
    return close[:period]


def reads_nothing() -> None:
    return None
