"""A letter as an e-mail: plain text, the same as HTML, images within it, other files beside it. Pure.

No text of a letter can make a header: line breaks in titles, names and keys become spaces or are encoded.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, cast

from atf.adapters.channels.header_text import header_text
from atf.adapters.channels.letter_text import clean, cut, one_line
from atf.notifications.channel import Letter
from atf.notifications.message import Attachment, Priority

_LONGEST_SUBJECT: Final = 250
_POLICY: Final = SMTP.clone(cte_type="7bit")  # what arrives does not depend on what servers on the way take
_MEDIA_TYPE: Final = re.compile(r"([a-z0-9][a-z0-9.+-]*)/([a-z0-9][a-z0-9.+-]*)")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_BODY_ENDS: Final = re.compile(r"</body\s*>", re.IGNORECASE)
_DOCUMENT: Final = re.compile(r"<html[\s>]", re.IGNORECASE)


def compose(letter: Letter, sender: Address, sent_at: datetime) -> EmailMessage:
    """Return a letter as a message; the same letter has the same Message-ID, however often it is sent.

    Errors: ValueError if the recipient's address is none.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = Address(addr_spec=letter.recipient.address)
    message["Subject"] = cut(one_line(letter.title), _LONGEST_SUBJECT) or "ATF"
    message["Date"] = format_datetime(sent_at)
    message["Message-ID"] = message_id(letter.dedup_key, sender.domain)
    message["Auto-Submitted"] = "auto-generated"
    message["X-ATF-Dedup-Key"] = header_text(letter.dedup_key)
    if letter.priority is not Priority.NORMAL:
        message["Importance"] = "high"
    message.set_content(clean(letter.text))
    _add_html(message, letter)
    for one in letter.attachments:
        if not one.is_image:
            main, sub = _media_type(one)
            message.add_attachment(one.content, maintype=main, subtype=sub, filename=one_line(one.name))
    return message


def message_id(dedup_key: str, domain: str) -> str:
    """Return the Message-ID of a letter, which tells nothing of its key."""
    digest = hashlib.sha256(dedup_key.encode("utf-8", "replace")).hexdigest()[:40]
    return f"<{digest}@{domain}>"


def _add_html(message: EmailMessage, letter: Letter) -> None:
    images = [one for one in letter.attachments if one.is_image]
    if letter.formatted is None and not images:
        return
    shown = letter.formatted
    if shown is None:
        shown = f'<p style="white-space: pre-wrap">{html.escape(clean(letter.text))}</p>'
    names = _content_ids(images)
    message.add_alternative(_with_images(_document(clean(shown)), images, names), subtype="html")
    page = cast("list[EmailMessage]", message.get_payload())[-1]
    for image, name in zip(images, names, strict=True):
        main, sub = _media_type(image)
        page.add_related(
            image.content,
            maintype=main,
            subtype=sub,
            cid=f"<{name}>",
            filename=one_line(image.name),
            disposition="inline",
        )


def _document(shown: str) -> str:
    """Return a page; a fragment is put into one whose direction follows its text."""
    if _DOCUMENT.search(shown):
        return shown
    head = '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>'
    return f'{head}<body dir="auto">\n{shown}\n</body></html>'


def _content_ids(images: Iterable[Attachment]) -> list[str]:
    """Return a name for each image, by which the page refers to it: its own, made fit for a header and unique."""
    names: list[str] = []
    for image in images:
        name = _NOT_IN_A_NAME.sub("_", image.name) or "image"
        names.append(name if name not in names else f"{len(names)}-{name}")
    return names


def _with_images(page: str, images: Iterable[Attachment], names: Iterable[str]) -> str:
    missing = []
    for image, name in zip(images, names, strict=True):
        page = page.replace(f"cid:{image.name}", f"cid:{name}") if image.name else page
        if f"cid:{name}" not in page:
            missing.append(f'<p><img src="cid:{name}" alt="{html.escape(one_line(image.name))}"></p>')
    end = _last_end(page)
    return page[:end] + "".join(f"{one}\n" for one in missing) + page[end:]


def _last_end(page: str) -> int:
    ends = [found.start() for found in _BODY_ENDS.finditer(page)]
    return ends[-1] if ends else len(page)


def _media_type(attachment: Attachment) -> tuple[str, str]:
    found = _MEDIA_TYPE.match(attachment.media_type.lower())
    main, sub = (found[1], found[2]) if found else ("application", "octet-stream")
    return ("application", "octet-stream") if main in {"multipart", "message"} else (main, sub)
