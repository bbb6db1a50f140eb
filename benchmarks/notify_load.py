"""Many connections that hand messages over, each the next one as soon as the last is acknowledged."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import quantiles

from benchmarks.measure import BenchmarkError, Observation

CONNECTIONS = 32
_BODY = json.dumps({"user_id": 1, "message": "AAPL above 150", "channels": ["inbox"]}).encode()


@asynccontextmanager
async def notify_server(url: str | None) -> AsyncIterator[int]:
    """Run the server's process as long as this lasts; yield its port."""
    arguments = [] if url is None else [url]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.notify_server",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


async def hand_over(port: int, token: str, count: int) -> Observation:
    """Hand ``count`` messages over; return requests a second, and how long one takes in ms."""
    seconds: list[float] = []
    began_at = time.perf_counter()
    await asyncio.gather(*(_connection(port, token, count // CONNECTIONS, seconds) for _ in range(CONNECTIONS)))
    elapsed = time.perf_counter() - began_at
    cuts = quantiles(seconds, n=100)
    return {"per_second": len(seconds) / elapsed, "p50": 1000 * cuts[49], "p99": 1000 * cuts[98]}


async def _connection(port: int, token: str, count: int, seconds: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /api/notify HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
    )
    request = head.encode() + _BODY
    try:
        for _ in range(count):
            began_at = time.perf_counter()
            writer.write(request)
            await _acknowledged(reader)
            seconds.append(time.perf_counter() - began_at)
    finally:
        writer.close()
        await writer.wait_closed()


async def _acknowledged(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchmarkError(f"a message was not taken: {body[:200]!r}")
