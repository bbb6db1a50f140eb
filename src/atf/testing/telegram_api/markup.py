"""Keyboards, checked as Telegram checks them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.formatted import checked_link
from atf.testing.telegram_api.refusals import bad_request

_MOST_BUTTONS: Final = 100
_MOST_BYTES: Final = 10_240
_LONGEST_DATA: Final = 64
_OTHER_KINDS: Final = (
    "callback_game",
    "pay",
    "switch_inline_query",
    "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat",
    "login_url",
    "web_app",
    "copy_text",
)


def read_markup(call: Call) -> Mapping[str, Any] | None:
    """Return the ``reply_markup`` of a call, None for none or an empty one. Errors: Refusal (400)."""
    markup = call.document("reply_markup", "reply keyboard markup")
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise bad_request("Object expected as reply markup")
    buttons = [*_inline_buttons(markup), *_keyboard_buttons(markup)]
    if len(buttons) > _MOST_BUTTONS or len(json.dumps(markup, ensure_ascii=False).encode()) > _MOST_BYTES:
        raise bad_request("reply markup is too long")
    return markup if _says_something(markup) else None


def read_inline_markup(call: Call) -> Mapping[str, Any] | None:
    """Return the keyboard of an edit, which can be an inline one alone."""
    markup = read_markup(call)
    if markup is not None and "inline_keyboard" not in markup:
        raise bad_request("Inline keyboard expected")
    return markup


def _says_something(markup: Mapping[str, Any]) -> bool:
    keyboards = [*markup.get("inline_keyboard", ()), *markup.get("keyboard", ())]
    return any(keyboards) or bool(markup.get("remove_keyboard") or markup.get("force_reply"))


def _inline_buttons(markup: Mapping[str, Any]) -> Iterator[Any]:
    for row in _rows(markup, "inline_keyboard", 'Field "inline_keyboard" of the InlineKeyboardMarkup'):
        for button in row:
            _check_inline_button(button)
            yield button


def _keyboard_buttons(markup: Mapping[str, Any]) -> Iterator[Any]:
    for row in _rows(markup, "keyboard", 'Field "keyboard"'):
        for button in row:
            text = button.get("text") if isinstance(button, dict) else button
            if not isinstance(text, str):
                raise bad_request("Can't parse keyboard button: KeyboardButton must be a String or an Object")
            if not text.strip():
                raise bad_request("Keyboard button text must be non-empty")
            yield button


def _rows(markup: Mapping[str, Any], name: str, spoken: str) -> list[list[Any]]:
    rows = markup.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request(f"{spoken} must be an Array of Arrays")
    return rows


def _check_inline_button(button: Any) -> None:
    if not isinstance(button, dict):
        raise bad_request("Can't parse inline keyboard button: InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str):
        raise bad_request("Can't parse inline keyboard button: Can't find field \"text\"")
    url, data = button.get("url"), button.get("callback_data")
    if not (url or data or any(kind in button for kind in _OTHER_KINDS)):
        raise bad_request("Can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if not button["text"].strip():
        raise bad_request("Inline keyboard button text must be non-empty")
    if url and checked_link(url) is None:
        raise bad_request(f"Inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")
    if not url and isinstance(data, str) and len(data.encode()) > _LONGEST_DATA:
        raise bad_request("BUTTON_DATA_INVALID")
