"""How large what comes from outside may be: the figures. Whoever reads something says which one it broke.

What a room alone decides, such as how many conditions a rule may have, stays in that room.
"""

from __future__ import annotations

from typing import Final

LARGEST_DOCUMENT: Final = 256 * 1024
"""Bytes of a JSON document that a command is given."""
LARGEST_CASES: Final = 64 * 1024**2
"""Bytes of a document that brings bars along, such as cases to replay."""
LARGEST_TABLE: Final = 64 * 1024**2
"""Characters of a file of symbols or fundamentals, unpacked."""
MOST_TABLE_ROWS: Final = 1_000_000
"""Rows of such a file if it is Parquet, which packs any number of equal ones into nothing."""
LARGEST_BAR_FILE: Final = 2 * 1024**3
"""Characters of a file of bars as text, unpacked: forty years of minutes have about 1.3 * 1024**3."""
MOST_BAR_ROWS: Final = 50_000_000
"""Rows of a file of bars if it is Parquet."""
LONGEST_LINE: Final = 1024**2
"""Characters of a line in a CSV file."""
LARGEST_PARAMS: Final = 64 * 1024
"""Characters of a job's parameters as JSON: every run keeps a copy of its own."""
DEEPEST_DOCUMENT: Final = 200
"""Objects and lists within each other."""
LONGEST_TEXT: Final = 4000
"""Characters of one text in a document."""
LONGEST_NAME: Final = 255
"""Characters of the name of a schedule, a run or a target."""
LONGEST_SYMBOL: Final = 64
LARGEST_PAYLOAD: Final = 16 * 1024
"""Bytes of an action's own payload as JSON."""
LONGEST_URL: Final = 2000
LARGEST_REQUEST_HEAD: Final = 16 * 1024
"""Bytes of a request's line and headers at an HTTP server of ATF's."""
LONGEST_MESSAGE: Final = 64 * 1024
"""Characters of one message to a person."""
LONGEST_DEDUP_KEY: Final = 200
MOST_ATTACHMENTS: Final = 10
LARGEST_ATTACHMENTS: Final = 5 * 1024**2
"""Bytes of a message's attachments together."""
LARGEST_REQUEST: Final = 8 * 1024**2
"""Bytes of a request's body where bodies are taken; attachments travel as base64."""
