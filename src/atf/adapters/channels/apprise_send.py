"""One send through Apprise, which blocks: what a URL may be, where it may lead, what it is given.

A URL is a user's, so it is trusted with nothing: neither with files and programs of this machine nor its network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.plugins.base import NotifyBase

from atf.adapters.channels.connection_wall import Wall, walled
from atf.adapters.channels.letter_text import clean, one_line
from atf.adapters.channels.silence import silence
from atf.errors import PermanentFailure, TemporaryFailure
from atf.notifications.channel import Letter
from atf.notifications.message import Attachment, Priority
from atf.security.outgoing_address import REFUSAL, OutgoingAddresses

_OF_THIS_MACHINE: Final = frozenset(
    {
        *("syslog", "dbus", "kde", "qt", "glib", "gio", "gnome", "windows", "macosx", "blink1"),
        *("fcm", "vapid"),  # read their keys from files
    }
)
_NAMES_OF_FILES: Final = frozenset(
    {"template", "keyfile", "subfile", "attach", "pgp", "pgpkey", "prv", "pub", "cafile", "certfile"}
)
"""Parameters by which some services read a file of the machine that sends."""
_TYPES: Final = {Priority.URGENT: NotifyType.WARNING}


def send(letter: Letter, allowed: OutgoingAddresses) -> None:
    """Send a letter to the URL that is its recipient's secret.

    Errors: PermanentFailure if the URL is none, or leads where it must not; TemporaryFailure if the service did
            not take it. No text shows more of the URL than its scheme.
    """
    with silence(), _stored(letter.attachments) as files:
        scheme, service = _service(letter.recipient.secret or "")
        wall = Wall(allowed, service.host or "")
        with walled(wall):
            is_sent = _notified(scheme, service, letter, files)
    if wall.has_refused:
        raise PermanentFailure(f"not sent to the {scheme} URL: its host {REFUSAL}")
    if not is_sent:
        raise TemporaryFailure(f"the service behind the {scheme} URL did not take it")


def _service(url: str) -> tuple[str, NotifyBase]:
    scheme = url.partition("://")[0].lower()
    if scheme in _OF_THIS_MACHINE:
        raise PermanentFailure(f"url: {scheme} reaches this machine itself, which is not allowed")
    if any(name.lower().lstrip(" +-:") in _NAMES_OF_FILES for name in _parameters(url)):
        raise PermanentFailure("url: a parameter names a file of this machine, which is not allowed")
    # Nothing is kept on disk: a plugin may find there what another user's left.
    asset = AppriseAsset(async_mode=False, secure_logging=True, http_redirects=False, storage_mode="memory")
    service = Apprise.instantiate(url, asset=asset)
    if service is None or not type(service).__module__.startswith("apprise.plugins."):
        raise PermanentFailure("url: this is no URL that Apprise knows")
    service.redirects = False
    return scheme, service


def _parameters(url: str) -> list[str]:
    try:
        return [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
    except ValueError as exc:
        raise PermanentFailure("url: this is no URL that Apprise knows") from exc


def _notified(scheme: str, service: NotifyBase, letter: Letter, files: list[str]) -> bool:
    carrier = Apprise(asset=service.asset)
    carrier.add(service)
    more: dict[str, Any] = {"attach": files} if files and service.attachment_support else {}
    try:
        result = carrier.notify(
            body=clean(letter.text) or one_line(letter.title),
            title=one_line(letter.title) if letter.text.strip() else "",
            notify_type=_TYPES.get(letter.priority, NotifyType.INFO),
            body_format=NotifyFormat.TEXT,
            **more,
        )
    except Exception as exc:  # noqa: BLE001 - a service may raise anything, and show its URL in it
        kind = type(exc).__name__
        raise TemporaryFailure(f"the service behind the {scheme} URL failed ({kind})") from None
    return bool(result)


@contextmanager
def _stored(attachments: Iterable[Attachment]) -> Iterator[list[str]]:
    """Write files for the time of the block; their names are kept, without paths."""
    with tempfile.TemporaryDirectory(prefix="atf-") as folder:
        paths = []
        for number, one in enumerate(attachments):
            place = Path(folder) / str(number)
            place.mkdir()
            file = place / (one_line(one.name).replace("/", "_").strip(".")[-100:] or "file")
            file.write_bytes(one.content)
            paths.append(str(file))
        yield paths
