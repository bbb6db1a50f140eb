"""``atf strategies``, run as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from atf.testing.processes import Installation

GOOD = """
    import backtrader as bt

    class Good(bt.Strategy):
        '''Buys now and then.'''
        params = dict(every=50, when=bt.date2num)
        def next(self):
            if len(self) % self.p.every == 0:
                close = self.data.close[0]
                self.buy_bracket(size=1, stopprice=close * 0.99, limitprice=close * 1.01)
        def notify_trade(self, trade):
            print("a trade", trade.ref)

    class Other(bt.Strategy):
        def save_state(self):
            return {}
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation({}, tmp_path / "home") as made:
        (made.home / "strategies").mkdir(parents=True)
        yield made


def _write(installation: Installation, text: str, name: str = "mine.py") -> Path:
    path = installation.home / "strategies" / name
    path.write_text(dedent(text), "utf-8")
    return path


def test_strategies_are_listed_without_being_loaded(installation: Installation) -> None:
    _write(installation, "raise SystemExit('loaded')")
    listed = installation.run("strategies", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    folder = str(installation.home / "strategies")
    assert json.loads(listed.stdout) == [
        {"name": "rsi_mean_reversion", "origin": "built in"},
        {"name": "sma_cross", "origin": "built in"},
        {"name": "mine.py", "origin": folder},
    ]


@pytest.mark.parametrize("is_explicit", [True, False])
def test_a_file_that_works_is_described(installation: Installation, is_explicit: bool) -> None:
    path = _write(installation, GOOD)
    checked = installation.run("strategies", "check", str(path) if is_explicit else "mine.py", "--json")
    assert checked.returncode == 0, checked.stderr
    good, other = json.loads(checked.stdout)
    assert good["strategy"] == "Good"
    assert good["what it does"] == "Buys now and then."
    assert good["parameters"]["every"] == 50
    assert good["parameters"]["when"].startswith("<function")
    assert good["orders"] == 36
    assert good["fills"] > 10
    assert good["said"][0] == "a trade 1"
    assert (other["strategy"], other["keeps state"], other["orders"]) == ("Other", True, 0)


@pytest.mark.parametrize("name", ["sma_cross", "rsi_mean_reversion"])
def test_the_built_in_ones_work(installation: Installation, name: str) -> None:
    checked = installation.run("strategies", "check", name, "--json")
    assert checked.returncode == 0, checked.stderr
    [found] = json.loads(checked.stdout)
    assert found["keeps state"]
    assert found["fills"] > 3


def test_a_parameter_reaches_the_strategy(installation: Installation) -> None:
    _write(installation, GOOD)
    checked = installation.run("strategies", "check", "mine.py:Good", "--param", "every=100", "--json")
    assert json.loads(checked.stdout)[0]["orders"] == 18


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "import backtrader as bt\nclass A(bt.Strategy):\n    def next(self):\n"
            "        if len(self) == 300:\n            self.x",
            "atf: A: the strategy raised AttributeError: ",
        ),
        (
            "import backtrader as bt\nclass A(bt.Strategy):\n    def next(self):\n        1 / 0",
            "(line 4 of mine.py, in next)\n",
        ),
        (
            "import absent",
            "atf: the strategy raised ModuleNotFoundError: No module named 'absent' (line 1 of mine.py",
        ),
        ("x = (", "atf: the strategy's file is not Python: '(' was never closed in line 1 of mine.py\n"),
        ("import os; os._exit(5)", "atf: its process ended with exit code 5 while it was loaded\n"),
        ("x = 1", "atf: mine.py: it has no strategy: a class that is derived from backtrader.Strategy\n"),
        (
            "import backtrader as bt, os\nclass A(bt.Strategy):\n    def next(self):\n        os._exit(5)",
            "atf: A: its process ended with exit code 5\n",
        ),
        (
            "import backtrader as bt\nclass A(bt.Strategy):\n"
            "    def save_state(self):\n        return {'x': {1}}",
            "atf: A: the strategy's state holds a set at x, which JSON cannot hold\n",
        ),
        (
            "import backtrader as bt\nclass A(bt.Strategy):\n"
            "    def save_state(self):\n        return {}\n    def load_state(self, state):\n        state['x']",
            "atf: A: the strategy raised KeyError: 'x' (line 6 of mine.py, in load_state)\n",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(installation: Installation, text: str, sentence: str) -> None:
    _write(installation, text)
    refused = installation.run("strategies", "check", "mine.py")
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert refused.stderr.startswith("atf: ")
    assert refused.stderr.count("\n") == 1
    assert not refused.stdout


@pytest.mark.parametrize("given", ["../outside.py", "nothing", "absent.py", "os:system"])
def test_what_is_not_there_is_refused(installation: Installation, given: str, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("raise SystemExit('loaded')")
    refused = installation.run("strategies", "check", given)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1


def test_each_look_at_a_file_is_by_a_process_of_its_own(installation: Installation) -> None:
    noting = "import os\nopen(os.path.dirname(__file__) + '/pid', 'a').write(f'{os.getpid()} ')\n"
    _write(installation, noting + dedent(GOOD))
    checked = installation.run("strategies", "check", "mine.py")
    assert checked.returncode == 0, checked.stderr
    pids = (installation.home / "strategies" / "pid").read_text().split()
    assert len(set(pids)) == len(pids) == 5  # once to look at it, and two runs of each class
