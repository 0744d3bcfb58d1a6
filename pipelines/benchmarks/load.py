"""A closed loop of HTTP clients in a process of its own: each sends its next search when it has the answer to its last.

python -m benchmarks.load PORT PATH CLIENTS SECONDS < bodies.jsonl
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator

import numpy as np

_WARM_UP_S = 2.0


async def client(port: int, requests: Iterator[bytes], start: float, end: float, taken: list[float]) -> int:
    """Send requests until ``end``; append the seconds of those begun after ``start``. Returns how many failed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    errors = 0
    while (began := time.perf_counter()) < end:
        writer.write(next(requests))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        if began >= start:
            if status == 200:
                taken.append(time.perf_counter() - began)
            else:
                errors += 1
    writer.close()
    return errors


async def measure(port: int, path: str, clients: int, seconds: float, bodies: list[bytes]) -> dict[str, float]:
    """Requests per second and latencies in milliseconds over ``seconds``, after a warm-up."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = itertools.cycle([head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies])
    start = time.perf_counter() + _WARM_UP_S
    taken: list[float] = []
    failed = await asyncio.gather(*(client(port, requests, start, start + seconds, taken) for _ in range(clients)))
    p50, p99 = np.percentile(np.array(taken or [np.nan]) * 1000, [50, 99])
    return {
        "requests_per_s": round(len(taken) / seconds, 1),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "errors": sum(failed),
    }


if __name__ == "__main__":
    port, path, clients, seconds = sys.argv[1:]
    lines = [line.strip().encode() for line in sys.stdin]
    print(json.dumps(asyncio.run(measure(int(port), path, int(clients), float(seconds), lines))))
