"""How long the disk takes to sync at this moment: a shared disk that stalls spoils a measurement unseen."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_BLOCK: Final = bytes(8192)
_BLOCKS_IN_FILE: Final = 128


class DiskProbe:
    """Writes and syncs blocks in a file of its own, as PostgreSQL does with its log."""

    def __init__(self, folder: Path, *, syncs: int = 200) -> None:
        self._file = folder / "disk_probe"
        self._syncs = syncs

    def __call__(self) -> float:
        """Return the mean seconds of one fdatasync after 8 KiB; the mean, as stalls are rare and long."""
        descriptor = os.open(self._file, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            begin = time.perf_counter()
            for i in range(self._syncs):
                os.pwrite(descriptor, _BLOCK, i % _BLOCKS_IN_FILE * len(_BLOCK))
                os.fdatasync(descriptor)
            return (time.perf_counter() - begin) / self._syncs
        finally:
            os.close(descriptor)
