"""A queue service that only counts: it takes what SQS's clients send, and keeps none of it.

A program, for tests and benchmarks that want a quick endpoint or one to kill::

    python tests/queue_endpoint.py PORT [LEDGER]

The first line of its output is its address; PORT 0 picks one. Before a batch is answered, each
message's body is a line of LEDGER.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)


class Endpoint(asyncio.Protocol):
    """One connection."""

    def __init__(self, port: int, ledger: int) -> None:
        self._url = f"http://127.0.0.1:{port}/queue"
        self._ledger = ledger
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            found = _LENGTH.search(head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._received) < whole:
                return
            body = json.loads(self._received[end + 4 : whole])
            self._received = self._received[whole:]
            answer = json.dumps(self._answer(body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
            )

    def _answer(self, body: dict[str, object]) -> dict[str, object]:
        entries = body.get("Entries")
        if not isinstance(entries, list):
            return {"QueueUrl": self._url}
        if self._ledger >= 0:
            lines = "".join(entry["MessageBody"] + "\n" for entry in entries)
            os.write(self._ledger, lines.encode())
        return {
            "Successful": [
                {
                    "Id": entry["Id"],
                    "MessageId": entry["Id"],
                    "MD5OfMessageBody": hashlib.md5(entry["MessageBody"].encode()).hexdigest(),
                }
                for entry in entries
            ],
            "Failed": [],
        }


async def main(port: int, path: str | None) -> None:
    """Serve for ever."""
    ledger = -1 if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    bound: list[int] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(bound[0], ledger), "127.0.0.1", port)
    bound.append(server.sockets[0].getsockname()[1])
    print(f"http://127.0.0.1:{bound[0]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
