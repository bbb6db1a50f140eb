"""What a process must not say, and the texts that it is kept out of."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from atf.errors import AtfError, InvalidInput, NotFound, shown
from atf.logs import configure_logging
from atf.secrecy import conceal, conceal_everywhere, concealed, concealed_document, secrecy
from atf.storage.stored_text import error_details, error_text

VALUE = "s3cret-of-the-broker"


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    with secrecy():
        conceal(VALUE)
        yield


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    configure_logging("worker", stream=out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_known_value_is_masked_in_every_text() -> None:
    assert concealed(f"sent {VALUE} twice: {VALUE}") == "sent *** twice: ***"


def test_logs_never_say_it(log: io.StringIO) -> None:
    try:
        raise ValueError(f"refused {VALUE}")
    except ValueError:
        logging.getLogger("a.library").exception("with %s", VALUE, extra={"header": {"x": [VALUE]}})
    assert VALUE not in log.getvalue()
    assert log.getvalue().count("***") >= 3


def test_stored_errors_never_say_it_not_even_where_a_traceback_is_cut() -> None:
    try:
        raise ValueError(f"refused {VALUE}{'.' * (8004 - len(VALUE))}")  # the last 8,000 begin inside of it
    except ValueError as exc:
        stored = error_text(exc) + error_details(exc)
    assert VALUE not in stored
    assert VALUE[5:] not in stored


def test_errors_of_our_own_never_say_it() -> None:
    refusal = InvalidInput(f"must be a number, got {shown(VALUE)}", field="token")
    assert str(refusal) == 'token: must be a number, got "***"'
    assert VALUE not in refusal.reason
    assert str(AtfError(f"the broker refuses {VALUE}")) == "the broker refuses ***"


def test_a_value_that_is_cut_is_masked_before() -> None:
    long = "k" * 300
    conceal(long)
    assert "kkkk" not in shown(long)


@pytest.mark.parametrize("value", ['quo"ted\\', "of\ntwo lines that are long enough", "ümläut&=?"])
def test_other_spellings_are_found(value: str) -> None:
    conceal(value)
    texts = [f"{value!r}", json.dumps({"a": value}), json.dumps(value, ensure_ascii=False)]
    assert all(value not in concealed(text) and "***" in concealed(text) for text in texts)


def test_a_line_of_a_key_is_found() -> None:
    conceal("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END KEY-----")
    assert concealed("line 2: MIIEvQIBADANBgkqhkiG9w0BAQ") == "line 2: ***"


def test_what_is_too_short_would_mask_everything_and_is_left() -> None:
    conceal("abc")
    assert concealed("abcdef") == "abcdef"


def test_what_a_task_knows_is_no_concern_of_others() -> None:
    """Else a mask in one's own error would tell which passwords somebody else has."""

    async def request(value: str) -> str:
        conceal(value)
        await asyncio.sleep(0)
        return concealed("hunter2 hunter3")

    async def both() -> tuple[str, str]:
        return await asyncio.gather(request("hunter2"), request("hunter3"))

    assert list(asyncio.run(both())) == ["*** hunter3", "hunter2 ***"]
    assert concealed("hunter2 hunter3") == "hunter2 hunter3"


def test_an_error_keeps_its_mask_where_the_value_is_not_known() -> None:
    async def refuse() -> None:
        conceal("hunter2")
        raise NotFound("there is no hunter2")

    with pytest.raises(NotFound) as refused:
        asyncio.run(refuse())
    assert str(refused.value) == "there is no ***"


def test_what_was_known_in_a_block_is_forgotten_after_it() -> None:
    with secrecy():
        conceal("hunter2")
    assert concealed("hunter2") == "hunter2"


async def test_what_services_use_is_known_in_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atf.secrecy._EVERYWHERE", set())
    asyncio.get_running_loop().call_soon(conceal_everywhere, "hunter2hunter2")
    await asyncio.sleep(0)
    assert concealed("hunter2hunter2") == "***"


def test_documents_are_masked_in_all_their_texts() -> None:
    assert concealed_document({"a": [f"x {VALUE}", 5, None], "b": {"c": VALUE}}) == {
        "a": ["x ***", 5, None],
        "b": {"c": "***"},
    }
