"""The files that Telegram keeps, with names and addresses of its own making."""

from __future__ import annotations

import mimetypes
import struct
from dataclasses import dataclass
from typing import Final

from atf.testing.telegram_api.calls import Call, Upload
from atf.testing.telegram_api.refusals import bad_request

LARGEST_PHOTO: Final = 10 * 1024 * 1024
LARGEST_DOCUMENT: Final = 50 * 1024 * 1024
LARGEST_DOWNLOAD: Final = 20 * 1024 * 1024
_LARGEST_SIDES: Final = 10_000
_WIDEST_RATIO: Final = 20
_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file: ``name`` as it was sent, ``path`` for downloads, ``width`` and ``height`` of pictures in pixels."""

    file_id: str
    unique_id: str
    path: str
    name: str
    content: bytes
    width: int = 0
    height: int = 0

    @property
    def mime_type(self) -> str:
        """What kind of file it is, by its name."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"


class FileStore:
    """All files by their ``file_id``."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def of_call(self, call: Call, name: str, kind: str) -> StoredFile:
        """Return the ``photo`` or ``document`` of a call: a new upload or an old ``file_id``. Errors: Refusal."""
        return self.of_reference(call, call.text(name), call.upload(name), kind)

    def of_reference(self, call: Call, reference: str, upload: Upload | None, kind: str) -> StoredFile:
        """Return the file that an upload is, or that a reference names. Errors: Refusal (400)."""
        upload = upload or call.attached(reference)
        if upload is not None:
            return self.keep_photo(upload) if kind == "photo" else self.keep_document(upload)
        if not reference:
            raise bad_request(f"There is no {kind} in the request")
        if reference in self._files:
            return self._files[reference]
        if reference.startswith(("http://", "https://")):
            raise bad_request("failed to get HTTP URL content")  # nothing is fetched: no test reaches out
        raise bad_request("wrong file identifier/HTTP URL specified")

    def keep_photo(self, upload: Upload) -> StoredFile:
        """Keep a picture. Errors: Refusal (400) for what is none, and for sizes that Telegram does not take."""
        _check_size(upload, LARGEST_PHOTO)
        width, height = picture_size(upload.content)
        if not width or not height:
            raise bad_request("IMAGE_PROCESS_FAILED")
        if width + height > _LARGEST_SIDES or max(width, height) > _WIDEST_RATIO * min(width, height):
            raise bad_request("PHOTO_INVALID_DIMENSIONS")
        return self._keep(upload, "photos", width, height)

    def keep_document(self, upload: Upload) -> StoredFile:
        """Keep a file of any kind. Errors: Refusal (400, 413) for an empty or too large one."""
        _check_size(upload, LARGEST_DOCUMENT)
        return self._keep(upload, "documents", 0, 0)

    def find(self, file_id: str) -> StoredFile | None:
        """Return a file by its identifier."""
        return self._files.get(file_id)

    def at(self, path: str) -> StoredFile | None:
        """Return a file by its path."""
        return next((stored for stored in self._files.values() if stored.path == path), None)

    def _keep(self, upload: Upload, folder: str, width: int, height: int) -> StoredFile:
        number = len(self._files) + 1
        ending = upload.name.rpartition(".")[2] if "." in upload.name else "bin"
        path = f"{folder}/file_{number}.{ending}"
        kept = StoredFile(
            f"AgACAgIAAx-{number}", f"AQAD{number}", path, upload.name, upload.content, width, height
        )
        self._files[kept.file_id] = kept
        return kept


def picture_size(content: bytes) -> tuple[int, int]:
    """Return width and height of a PNG, JPEG or GIF in pixels, zeros if it is none of them."""
    if content.startswith(_PNG) and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])
        return width, height
    if content.startswith((b"GIF87a", b"GIF89a")) and len(content) >= 10:
        width, height = struct.unpack("<HH", content[6:10])
        return width, height
    return _jpeg_size(content) if content.startswith(b"\xff\xd8") else (0, 0)


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Walk from segment to segment until the one that begins the frame."""
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return 0, 0


def _check_size(upload: Upload, largest: int) -> None:
    if not upload.content:
        raise bad_request("file must be non-empty")
    if len(upload.content) > largest:
        raise bad_request(f"file is too big: at most {largest} bytes")
