"""The sender's process: letters come in, calls of other services go out, outcomes go back.

This module is run as a program by :mod:`lambent.invocation.delivery.sender`, which is its only
peer. It ends with its input, so that it never outlives the server.

::

    to it     u32 length | pickle of (number, destination, letters)      (little-endian)
    from it   u32 length | pickle of (number, outcomes)
"""

from __future__ import annotations

import logging
import pickle
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from lambent.invocation.delivery.services import Services

LENGTH = struct.Struct("<I")

_CALLS_AT_ONCE = 32


def encode(message: object) -> bytes:
    """Return the bytes of a message, its length before it.

    Pickled, because texts that a function made may hold what no other encoding takes.
    """
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(data)) + data


def decode(data: bytes) -> Any:
    """Return the message whose bytes these are, its length left out; the peer is ourselves."""
    return pickle.loads(data)  # noqa: S301


def _serve(orders: IO[bytes], outcomes: IO[bytes], services: Services) -> None:
    """Deliver until the input ends; what is under way is not waited for: nobody would hear of it."""
    writing = threading.Lock()

    def carry_out(number: int, destination: str, letters: Any) -> None:
        reply = encode((number, services.deliver(destination, letters)))
        with writing:
            outcomes.write(reply)
            outcomes.flush()

    workers = ThreadPoolExecutor(_CALLS_AT_ONCE)
    while len(head := orders.read(LENGTH.size)) == LENGTH.size:
        workers.submit(carry_out, *decode(orders.read(LENGTH.unpack(head)[0])))
    workers.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _serve(sys.stdin.buffer, sys.stdout.buffer, Services(sys.argv[1]))
