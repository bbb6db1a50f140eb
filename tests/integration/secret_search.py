"""Looks for a secret wherever it might have been left: in a dump of a database, in files, in output."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterable
from pathlib import Path

from atf.storage.database import plain_url
from atf.storage.embedded import ClusterHandle


def dump(cluster: ClusterHandle, url: str) -> str:
    """The whole database as SQL, as a thief would have it."""
    finished = subprocess.run(
        [cluster.bindir / "pg_dump", "--inserts", plain_url(url)], capture_output=True, text=True, check=True
    )
    return finished.stdout


def spellings(value: str) -> list[str]:
    """A value in the clear, and as bytes are written."""
    raw = value.encode()
    return [
        value,
        raw.hex(),
        raw.hex().upper(),
        *(base64.b64encode(raw[cut:-3]).decode()[:-4] for cut in range(3)),
    ]


def found_in(value: str, texts: Iterable[str]) -> list[str]:
    """The spellings of a value that are in any of the texts."""
    whole = "\n".join(texts)
    return [spelling for spelling in spellings(value) if spelling in whole]


def files_below(folder: Path) -> list[str]:
    """What is in the files of a folder, as text."""
    return [file.read_bytes().decode("utf-8", "replace") for file in folder.rglob("*") if file.is_file()]
