"""Sensitive fields of jobs are bound to owner, type, kind and place."""

import json
from typing import Any

import pytest

from atf.security.document_seals import DocumentKey, DocumentSeals, MakeKey
from atf.security.master_key import new_key
from atf.security.master_keys import KeySources, MasterKeys
from atf.security.secret_box import SealBroken

MASTER = new_key("test")


class Memory:
    def __init__(self) -> None:
        self.keys: dict[int | None, DocumentKey] = {}
        self.asked = 0

    async def document_key(self, user_id: int | None, make: MakeKey) -> DocumentKey:
        self.asked += 1
        if user_id not in self.keys:
            row_id = len(self.keys) + 1
            self.keys[user_id] = DocumentKey(row_id, make(row_id, MASTER))
        return self.keys[user_id]


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def seals(memory: Memory, tmp_path: Any) -> DocumentSeals:
    return DocumentSeals(memory, MasterKeys(KeySources(tmp_path, MASTER.text)))


@pytest.mark.parametrize("value", ["hunter2", "", 'ü\n"', 5, ["a", None]])
async def test_a_value_comes_back_as_it_was(seals: DocumentSeals, value: Any) -> None:
    mine = await seals.of_user(1)
    sealed = mine.seal("webhook", "task_params", ("token",), value)
    assert list(sealed) == ["$sealed"]
    assert "hunter2" not in json.dumps(sealed)
    assert mine.open("webhook", "task_params", ("token",), sealed) == value


async def test_what_is_not_sealed_yet_is_as_it_is(seals: DocumentSeals) -> None:
    assert (await seals.of_user(1)).open("webhook", "task_params", ("token",), "plain") == "plain"


async def test_elsewhere_it_cannot_be_opened(seals: DocumentSeals) -> None:
    mine, other, nobody = [await seals.of_user(user) for user in (1, 2, None)]
    sealed = mine.seal("webhook", "task_params", ("hooks", 0, "key"), "hunter2")
    for whose, job_type, kind, place in (
        (other, "webhook", "task_params", ("hooks", 0, "key")),
        (nobody, "webhook", "task_params", ("hooks", 0, "key")),
        (mine, "report", "task_params", ("hooks", 0, "key")),
        (mine, "webhook", "result", ("hooks", 0, "key")),
        (mine, "webhook", "task_params", ("hooks", 1, "key")),
        (mine, "webhook", "task_params", ("hooks", "0", "key")),
    ):
        with pytest.raises(SealBroken):
            whose.open(job_type, kind, place, sealed)


@pytest.mark.parametrize(
    "mark", ["", "1", "1.1", "1.1.", "1.1.????", "1.1.AAAA", "2.1.AAAA", "1.9.AAAA", None, 5]
)
async def test_marks_that_nobody_made_cannot_be_opened(seals: DocumentSeals, mark: Any) -> None:
    with pytest.raises(SealBroken):
        (await seals.of_user(1)).open("webhook", "task_params", ("token",), {"$sealed": mark})


async def test_seals_never_show_their_key(seals: DocumentSeals) -> None:
    mine = await seals.of_user(1)
    assert repr(mine.data_key) not in repr(mine)


async def test_a_key_is_asked_for_once_a_process(seals: DocumentSeals, memory: Memory) -> None:
    for _ in range(3):
        await seals.of_user(1)
    assert memory.asked == 1


async def test_the_key_of_somebody_else_put_in_a_users_row_is_noticed(
    seals: DocumentSeals, memory: Memory
) -> None:
    await seals.of_user(2)
    memory.keys[1] = memory.keys[2]
    with pytest.raises(SealBroken):
        await seals.of_user(1)
