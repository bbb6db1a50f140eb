import asyncio
import threading
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.security.password import HashCost, Passwords, checked_password

CHEAP = HashCost(memory_kib=8, passes=1, threads=1)
RIGHT = "correct horse battery"


async def test_a_password_fits_its_own_hash_and_no_other() -> None:
    passwords = Passwords(CHEAP)
    first, second = await passwords.hash(RIGHT), await passwords.hash(RIGHT)
    assert first != second  # each has a salt of its own
    assert first.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert RIGHT not in first
    assert await passwords.verify(first, RIGHT)
    assert not await passwords.verify(first, RIGHT + " ")
    assert not await passwords.verify(first, "")


async def test_without_a_hash_nothing_is_right_and_a_hash_is_computed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(CHEAP)
    compared: list[str] = []
    compare = passwords._is_right

    def noting(stored: str, given: bytes) -> bool:
        compared.append(stored)
        return compare(stored, given)

    monkeypatch.setattr(passwords, "_is_right", noting)
    assert not await passwords.verify(None, RIGHT)
    (stored,) = compared
    real = await passwords.hash(RIGHT)
    assert stored.rpartition("$")[0].rpartition("$")[0] == real.rpartition("$")[0].rpartition("$")[0]
    assert [len(part) for part in stored.split("$")] == [len(part) for part in real.split("$")]


def test_the_hash_of_nobody_costs_argon2_as_much_as_a_real_one() -> None:
    passwords = Passwords(HashCost(memory_kib=16_384, passes=2))

    def duration(stored: str) -> float:
        began = time.thread_time()
        assert not passwords._is_right(stored, b"wrong horse battery")
        return time.thread_time() - began

    stored = asyncio.run(passwords.hash(RIGHT))
    pairs = [(duration(stored), duration(passwords._nobodys)) for _ in range(7)]
    real, nobodys = (min(times) for times in zip(*pairs, strict=True))
    assert 0.6 < nobodys / real < 1.7


@pytest.mark.parametrize("length", [0, 1, 11, 257, 100_000])
def test_passwords_of_other_lengths_are_refused_without_being_repeated(length: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_password("§" * length)
    assert str(refused.value) == f"password: must have 12 to 256 characters, got {length}"


@pytest.mark.parametrize("password", ["a" * 12, "a" * 256, " " * 12, "ä" * 12, "日本" * 6, "\x00" * 12])
def test_nothing_else_is_asked_of_a_password(password: str) -> None:
    assert checked_password(password) == password


async def test_a_password_is_the_same_from_every_keyboard() -> None:
    passwords = Passwords(CHEAP)
    composed, taken_apart = (unicodedata.normalize(form, "é" * 256) for form in ("NFC", "NFD"))
    assert composed != taken_apart
    assert checked_password(taken_apart)
    assert await passwords.verify(await passwords.hash(composed), taken_apart)


async def test_a_change_of_cost_outdates_a_hash_that_still_counts() -> None:
    stored = await Passwords(CHEAP).hash(RIGHT)
    dearer = Passwords(HashCost(memory_kib=16, passes=2))
    assert not Passwords(CHEAP).is_outdated(stored)
    assert dearer.is_outdated(stored)
    assert await dearer.verify(stored, RIGHT)


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA", "secret" * 5])
async def test_a_spoilt_hash_is_right_for_nobody(stored: str) -> None:
    assert not await Passwords(CHEAP).verify(stored, RIGHT)


@settings(max_examples=50)
@given(st.text(st.characters(), max_size=300), st.text(max_size=50))
def test_whatever_is_typed_gets_an_answer(typed: str, other: str) -> None:
    async def both() -> None:
        passwords = Passwords(CHEAP)
        stored = await passwords.hash(typed[:256])
        assert await passwords.verify(stored, typed[:256])
        same = unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", typed[:256])
        assert await passwords.verify(stored, other) is same

    asyncio.run(both())


async def test_half_a_surrogate_pair_is_a_password_like_any_other() -> None:
    passwords = Passwords(CHEAP)
    assert await passwords.verify(await passwords.hash("\ud800" * 12), "\ud800" * 12)


async def test_megabytes_are_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(CHEAP)
    sizes: list[int] = []

    def noting(_: str, given: bytes) -> bool:
        sizes.append(len(given))
        return True

    monkeypatch.setattr(passwords, "_is_right", noting)
    assert not await passwords.verify("hash", "x" * 10_000_000)
    assert sizes[0] < 10_000


async def test_hashing_is_done_in_threads_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(CHEAP)
    running, most, threads = 0, 0, set()
    turn = threading.Lock()

    def slow(*_: object) -> bool:
        nonlocal running, most
        with turn:
            running += 1
            most = max(most, running)
            threads.add(threading.current_thread())
        time.sleep(0.02)
        with turn:
            running -= 1
        return True

    monkeypatch.setattr(passwords, "_is_right", slow)
    await asyncio.gather(*(passwords.verify("hash", RIGHT) for _ in range(8)))
    assert most == 2
    assert threading.main_thread() not in threads


def test_no_default_password_is_written_anywhere() -> None:
    folder = Path(__file__).parents[3] / "src" / "atf"
    migrations = "".join(file.read_text() for file in folder.glob("storage/migrations/versions/*.py"))
    assert "INSERT INTO user_passwords" not in migrations
