"""Envelope encryption: what opens, and all that does not."""

from dataclasses import replace

import pytest

from atf.security.master_key import new_key
from atf.security.secret_box import SealBroken, WrappedKey, context_of, rewrap, seal, unseal

MASTER = new_key("test")
HERE = context_of("secret", 7, 1, "broker")


def test_what_is_sealed_opens_again_and_is_not_to_be_seen() -> None:
    sealed = seal(MASTER, "hunter2 ü\n", HERE)
    assert unseal(MASTER, sealed, HERE) == "hunter2 ü\n"
    assert b"hunter2" not in sealed.ciphertext + sealed.nonce + sealed.key.wrapped
    assert sealed.key.key_id == MASTER.id


def test_the_same_value_looks_different_each_time() -> None:
    one, two = seal(MASTER, "hunter2", HERE), seal(MASTER, "hunter2", HERE)
    assert len({one.ciphertext, two.ciphertext}) == len({one.nonce, two.nonce}) == 2
    assert one.key.wrapped != two.key.wrapped


@pytest.mark.parametrize(
    "elsewhere",
    [
        context_of("secret", 8, 1, "broker"),
        context_of("secret", 7, 2, "broker"),
        context_of("secret", 7, None, "broker"),
        context_of("secret", 7, 1, "smtp"),
        context_of("document", 7, 1, "broker"),
        context_of("secret", "7", 1, "broker"),
    ],
)
def test_in_another_place_it_cannot_be_opened(elsewhere: bytes) -> None:
    with pytest.raises(SealBroken, match="moved there from another place"):
        unseal(MASTER, seal(MASTER, "hunter2", HERE), elsewhere)


def test_a_key_moved_with_its_value_cannot_be_opened_either() -> None:
    mine, other = seal(MASTER, "hunter2", HERE), seal(MASTER, "hunter3", context_of("secret", 8, 1, "broker"))
    with pytest.raises(SealBroken):
        unseal(MASTER, replace(mine, key=other.key), HERE)


def test_changed_it_cannot_be_opened() -> None:
    sealed = seal(MASTER, "hunter2", HERE)
    flipped = bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:]
    for broken in (
        replace(sealed, ciphertext=flipped),
        replace(sealed, ciphertext=b""),
        replace(sealed, nonce=b""),
        replace(sealed, nonce=bytes(12)),
        replace(sealed, key=WrappedKey(MASTER.id, sealed.key.wrapped[:-1])),
        replace(sealed, key=WrappedKey(MASTER.id, b"")),
    ):
        with pytest.raises(SealBroken):
            unseal(MASTER, broken, HERE)


def test_with_another_master_key_it_cannot_be_opened() -> None:
    with pytest.raises(SealBroken):
        unseal(new_key("another"), seal(MASTER, "hunter2", HERE), HERE)


def test_a_rotation_wraps_the_key_anew_and_touches_nothing_else() -> None:
    new, sealed = new_key("new"), seal(MASTER, "hunter2", HERE)
    rotated = replace(sealed, key=rewrap(MASTER, new, sealed.key, HERE))
    assert unseal(new, rotated, HERE) == "hunter2"
    with pytest.raises(SealBroken):
        unseal(MASTER, rotated, HERE)
