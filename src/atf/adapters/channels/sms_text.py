"""What of a letter goes into a text message, and how many of them a telephone network makes of it. Pure."""

from __future__ import annotations

import math
from typing import Final

from atf.adapters.channels.letter_text import cut, headed, units
from atf.notifications.channel import Letter

LONGEST: Final = 1600
"""Twilio's bound, in UTF-16 units."""
_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("^{}\\[~]|€\f")
"""Characters of the same alphabet that take the place of two."""


def body_of(letter: Letter) -> str:
    """Return title and text; a longer one is cut and ends with an ellipsis."""
    return cut(headed(letter.title, letter.text), LONGEST)


def segments(body: str) -> int:
    """Return how many messages a body is carried in, each of which is paid for.

    Source: 3GPP TS 23.038: 160 characters of the basic alphabet, else 70 of UTF-16; 153 and 67 where several
            belong together.
    """
    if all(one in _BASIC or one in _EXTENDED for one in body):
        length, single, joined = sum(2 if one in _EXTENDED else 1 for one in body), 160, 153
    else:
        length, single, joined = units(body), 70, 67
    return 1 if length <= single else math.ceil(length / joined)
