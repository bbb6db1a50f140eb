"""Documents that commands are given: never more of one is read than may be there."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from atf.cli.json_input import read_json
from atf.errors import InvalidInput
from atf.jobs.field_checks import require_params
from atf.security.limits import DEEPEST_DOCUMENT, LARGEST_DOCUMENT, LARGEST_PARAMS

TOO_LARGE = "--params: is larger than 256 KiB, the most that is read"


def quoted(characters: int) -> str:
    """A JSON text of so many characters."""
    return json.dumps("x" * (characters - 2))


def test_the_largest_document_is_read_and_one_character_more_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(quoted(LARGEST_DOCUMENT))
    assert len(read_json(f"@{file}", "--params")) == LARGEST_DOCUMENT - 2
    for text in (quoted(LARGEST_DOCUMENT + 1), quoted(3 * LARGEST_DOCUMENT)):
        file.write_text(text)
        for given in (f"@{file}", text):
            with pytest.raises(InvalidInput, match=TOO_LARGE):
                read_json(given, "--params")


def test_standard_input_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.TextIOBase):
        def read(self, size: int | None = -1) -> str:
            assert size is not None
            assert 0 < size < 1_000_000
            return "x" * size

    monkeypatch.setattr(sys, "stdin", Endless())
    with pytest.raises(InvalidInput, match=TOO_LARGE):
        read_json("-", "--params")


def test_a_device_without_end_is_refused() -> None:
    with pytest.raises(InvalidInput, match=TOO_LARGE):
        read_json("@/dev/zero", "--params")


def test_of_a_pipe_without_end_no_more_is_taken_than_may_be_there() -> None:
    reading, writing = os.pipe()
    taken = 0

    def write() -> None:
        nonlocal taken
        with suppress(BrokenPipeError):
            while taken < 8 * LARGEST_DOCUMENT:
                taken += os.write(writing, b" " * 4096)
        os.close(writing)

    thread = Thread(target=write)
    thread.start()
    try:
        with pytest.raises(InvalidInput, match=TOO_LARGE):
            read_json(f"@/dev/fd/{reading}", "--params")
    finally:
        os.close(reading)
        thread.join()
    assert taken < 2 * LARGEST_DOCUMENT


def test_a_pipe_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"a": 1}')
    os.close(writing)
    try:
        assert read_json(f"@/dev/fd/{reading}", "--params") == {"a": 1}
    finally:
        os.close(reading)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 40_000])
def test_nesting_without_end_is_one_sentence(text: str) -> None:
    with pytest.raises(InvalidInput, match="--params: is not JSON"):
        read_json(text, "--params")


def test_what_a_schedule_keeps_is_smaller_and_flatter_than_what_is_read() -> None:
    require_params({"a": "x" * 3000})
    with pytest.raises(InvalidInput, match=f"at most {LARGEST_PARAMS}"):
        require_params({str(n): "x" * 3000 for n in range(30)})
    deep: dict[str, object] = {}
    for _ in range(DEEPEST_DOCUMENT + 1):
        deep = {"a": deep}
    with pytest.raises(InvalidInput, match=f"nested more than {DEEPEST_DOCUMENT} deep"):
        require_params(deep)
