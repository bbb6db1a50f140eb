"""Actions: what a trigger makes happen beside its messages, a command to a bot or a request to a URL. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from atf.errors import InvalidAlertRule, Problems
from atf.security.limits import LARGEST_PAYLOAD, LONGEST_URL

MOST_ACTIONS: Final = 10
"""As the schema has it."""
TRIGGER_FIELD: Final = "trigger"
"""Under this name the trigger is told, beside the fields of the action's own payload."""

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {"bot": ("bot_id", "command"), "webhook": ("url",)}
_IN_URLS: Final = re.compile(r"[!-\[\]-~]+")
"""What is printable ASCII, without spaces; readers of URLs disagree on what a backslash is."""


class ActionType(StrEnum):
    """Who is to do something; deliveries of an action go through the channel of this name."""

    BOT = "bot"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Action:
    """A checked action; ``target`` has ``bot_id`` and ``command``, or ``url``.

    ``runs_late``: whether it is done although the trigger is late by then.
    """

    type: ActionType
    target: Mapping[str, Any] = field(hash=False)
    payload: Mapping[str, Any] = field(hash=False)
    runs_late: bool = False

    @property
    def words(self) -> str:
        """Return what is done as people may see it: paths and queries of URLs often hold secrets."""
        if self.type is ActionType.BOT:
            return f"{self.target['command']} to bot {self.target['bot_id']}"
        return f"request to {shown_url(self.target['url'])}"


def shown_url(url: str) -> str:
    """Return the scheme and the host of a URL, and its port if it names one."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{'' if parts.port is None else f':{parts.port}'}"


def parse_actions(found: Sequence[Mapping[str, Any]]) -> tuple[Action, ...]:
    """Return the actions of a configuration that was checked."""
    return tuple(_parsed(one) for one in found)


def _parsed(fields: Mapping[str, Any]) -> Action:
    kind = ActionType(fields["type"])
    return Action(
        kind,
        {name: int(fields[name]) if name == "bot_id" else fields[name] for name in _FIELDS[kind]},
        fields.get("payload", {}),
        fields.get("when_late", "skip") == "run",
    )


def check_actions(found: object) -> None:
    """Look at what the schema cannot: which fields belong to which type, URLs, and sizes.

    What is of a wrong type is passed over, as the schema tells it.

    Errors: InvalidAlertRule with all that is wrong.
    """
    problems = Problems()
    for index, action in enumerate(found if isinstance(found, list) else ()):
        if isinstance(action, Mapping):
            for name, sentence in _wrong(action):
                problems.add(InvalidAlertRule(sentence, field=f"actions[{index}].{name}"))
    problems.raise_any(InvalidAlertRule)


def _wrong(action: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind, url, payload = action.get("type"), action.get("url"), action.get("payload")
    for owner, names in _FIELDS.items() if kind in list(ActionType) else ():
        for name in names:
            if owner == kind and name not in action:
                yield name, f"is missing: a {kind} action needs {' and '.join(names)}"
            elif owner != kind and name in action:
                yield name, f"belongs to a {owner} action, and this is a {kind} action; leave it out"
    if isinstance(url, str) and (problem := _url_problem(url)):
        yield "url", problem
    if isinstance(payload, Mapping):
        yield from _payload_problems(payload)


def _url_problem(url: str) -> str | None:
    """Return what is wrong with a URL; it is not shown, as it may hold secrets."""
    if len(url) > LONGEST_URL:
        return f"has more than {LONGEST_URL} characters"
    if not _IN_URLS.fullmatch(url):
        return "has characters that a URL cannot have; write them percent-encoded, a host name in its xn-- form"
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
    except ValueError:  # brackets, a port, or a label of a host that can be none
        is_usable = False
    if is_usable and parts.scheme in ("http", "https"):
        return None
    return "must begin with http:// or https:// and name a host, such as https://example.com/alerts"


def _payload_problems(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if TRIGGER_FIELD in payload:
        yield f"payload.{TRIGGER_FIELD}", "is where the trigger itself is told; take another name"
    size = _bytes_of(payload)
    if size > LARGEST_PAYLOAD:
        yield "payload", f"has {size} bytes as JSON, at most {LARGEST_PAYLOAD} are allowed"


def _bytes_of(payload: Mapping[str, Any]) -> int:
    """Return how long the JSON is; 0 for what is no JSON, which was told already."""
    try:
        return len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())
    except (ValueError, TypeError, RecursionError):
        return 0
