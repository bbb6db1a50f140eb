"""``atf universes`` and ``atf fundamentals``, run as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from atf.testing.processes import Installation

COMPANIES = str(Path(__file__).parents[1] / "data" / "fundamentals" / "companies.csv")


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        yield made


def test_a_universe_is_loaded_listed_and_shown_with_fundamentals(installation: Installation) -> None:
    words = ("universes", "load", "mine", COMPANIES, "--on", "2024-01-31", "--for-everybody")
    loaded = installation.run(*words)
    assert loaded.stdout == "mine has 3 symbols from 2024-01-31 on: 3 joined, 0 left.\n", loaded.stderr
    stored = installation.run("fundamentals", "load", COMPANIES, "--as-of", "2024-01-31")
    assert stored.stdout.startswith("3 rows are stored; 1 earlier"), stored.stderr

    listed = json.loads(installation.run("universes", "list", "--json").stdout)
    assert [(one["name"], one["owner"], one["symbols"]) for one in listed] == [("mine", "everybody", 3)]
    symbols = installation.run("universes", "show", "mine")
    assert symbols.stdout == "AAA\nBRK.B\nCCC\n"
    assert symbols.stderr == "mine has these 3 symbols since 2024-01-31.\n"
    shown = json.loads(installation.run("universes", "show", "mine", "--fundamentals", "--json").stdout)
    assert [(one["symbol"], one["fundamentals"]["market_cap"]) for one in shown] == [
        ("AAA", 92.4e9),
        ("BRK.B", 1e12),
        ("CCC", 250e6),
    ]
    (known,) = json.loads(installation.run("fundamentals", "show", "brk-b", "--json").stdout)
    assert (known["as_of"], known["eps"], known["pe"]) == ("2024-01-31", -2.5, None)
    (version,) = json.loads(installation.run("universes", "history", "mine", "--json").stdout)
    assert (version["on"], version["joined"]) == ("2024-01-31", ["AAA", "BRK.B", "CCC"])


def test_a_list_that_is_loaded_again_is_confirmed(installation: Installation) -> None:
    installation.run("universes", "load", "mine", COMPANIES, "--on", "2024-01-31")
    again = installation.run("universes", "load", "mine", COMPANIES, "--on", "2024-02-29")
    assert again.stdout == "mine has 3 symbols from 2024-02-29 on: unchanged.\n"
    shown = installation.run("universes", "show", "mine")
    assert shown.stderr == "mine has these 3 symbols since 2024-01-31, last confirmed on 2024-02-29.\n"
    told = json.loads(installation.run("universes", "show", "mine", "--json").stdout)
    assert (told["symbols"], told["since"], told["confirmed_on"]) == (
        ["AAA", "BRK.B", "CCC"],
        "2024-01-31",
        "2024-02-29",
    )


def test_a_universe_is_deleted_once_no_schedule_uses_it(installation: Installation) -> None:
    installation.run("universes", "load", "mine", COMPANIES, "--for-everybody")
    params = '{"universe": "mine", "data_source": "files"}'
    added = installation.run(
        *("schedules", "add", "data_processing", "--target", "x", "--name", "nightly", "--cron", "0 0 1 1 *"),
        *("--params", params),
    )
    assert added.returncode == 0, added.stderr
    words = ("universes", "delete", "mine", "--for-everybody")
    unasked = installation.run(*words)
    assert (unasked.returncode, unasked.stderr) == (1, "atf: --yes: is needed where nobody can be asked\n")
    used = installation.run(*words, "--yes")
    sentence = 'atf: universe "mine" is used by schedule 1 (nightly); delete or edit them first\n'
    assert (used.returncode, used.stderr) == (1, sentence)
    installation.run("schedules", "delete", "1")
    assert installation.run(*words, "--yes").stdout == "universe mine deleted, with 1 version\n"
    assert json.loads(installation.run("universes", "list", "--json").stdout) == []


def test_tables_are_for_people(installation: Installation) -> None:
    installation.run("universes", "load", "mine", COMPANIES)
    installation.run("fundamentals", "load", COMPANIES)
    for words in (
        ("universes", "list"),
        ("universes", "show", "mine", "--fundamentals"),
        ("universes", "history", "mine"),
        ("fundamentals", "show", "AAA"),
    ):
        shown = installation.run(*words)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "AAA" in shown.stdout or "mine" in shown.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("universes", "load", "m", "none.csv"), "atf: FILE: none.csv cannot be read: No such file"),
        (("universes", "load", "m", "none.csv", "--on", "soon"), "atf: --on: must be a day such as 2024-01-31"),
        (("universes", "load", "a b", COMPANIES), 'atf: name: "a b" is no name of a universe'),
        (("universes", "load", "m", COMPANIES, "--user", "eve"), "atf: there is no user 'eve'"),
        (
            ("universes", "load", "m", COMPANIES, "--user", "owner", "--for-everybody"),
            "atf: --for-everybody: give either",
        ),
        (("universes", "show", "sp500"), 'atf: there is no universe "sp500"; none is loaded yet'),
        (("universes", "delete", "sp500", "--yes"), 'atf: there is no universe "sp500"; none is loaded yet'),
        (("fundamentals", "show", "AAPL"), "atf: no fundamentals of AAPL"),
        (("fundamentals", "load", "none.csv"), "atf: FILE: none.csv cannot be read: No such file"),
    ],
)
def test_a_mistake_is_one_sentence(installation: Installation, words: tuple[str, ...], sentence: str) -> None:
    refused = installation.run(*words)
    assert refused.returncode == 1
    assert refused.stderr.startswith(sentence)
    assert refused.stderr.count("\n") == 1


def test_a_bad_line_leaves_nothing_stored(installation: Installation) -> None:
    bad = installation.home / "bad.csv"
    bad.write_text("symbol,dividend_yield\nA,0.01\nB,1.75\n")
    refused = installation.run("fundamentals", "load", str(bad))
    assert f"{bad}, line 3, column 'dividend_yield': a yield of 1.75 is above 1" in refused.stderr
    assert installation.run("fundamentals", "show", "A").returncode == 1
