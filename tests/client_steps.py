"""The client's core without any I/O: what it asks for is answered from a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.client import UNSET, Credentials, HttpResponse
from lambent.client.core import Core
from lambent.client.exchanges import Exchange, Steps
from lambent.client.messages import Headers
from lambent.clock import ManualClock

# 2026-11-20T19:39:07Z
NOW = 1_795_203_547.0
KEYS = Credentials("AKIDEXAMPLE", "secret")
REQUEST_ID = "11111111-2222-3333-4444-555555555555"


def core(clock: ManualClock | None = None, environ: Mapping[str, str] | None = None, **options: Any) -> Core:
    """Return a core with keys, a region and an endpoint, whose random number is always 1."""
    given = {
        "endpoint_url": "http://127.0.0.1:3001",
        "region_name": "us-east-1",
        "credentials": KEYS,
        **options,
    }
    made = Core(given, environ=environ or {}, clock=clock or ManualClock(NOW))  # type: ignore[arg-type]
    made.random = lambda: 1.0
    return made


def answer(status: int = 200, body: bytes = b"null", **headers: str) -> HttpResponse:
    """Return an answer of the service; underscores in names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(
        status,
        Headers({"content-length": str(len(body)), "x-amzn-requestid": REQUEST_ID, **named}),
        body,
    )


class World:
    """Carries steps out: gives the answers in order, and keeps what was sent and slept.

    Attributes:
        sent: the attempts.
        slept: the delays, by which the clock was moved.
    """

    def __init__(self, made: Core, *answers: HttpResponse | Exception, takes_s: float = 0.0) -> None:
        self.core = made
        self.sent: list[Exchange] = []
        self.slept: list[float] = []
        self._answers = list(answers)
        self._takes_s = takes_s

    def run(self, steps: Steps[Any]) -> Any:
        """Return what the steps come to."""
        clock = self.core.clock
        assert isinstance(clock, ManualClock)
        resume, reply = steps.send, None
        while True:
            try:
                step = resume(reply)
            except StopIteration as stop:
                return stop.value
            resume, reply = steps.send, None
            if isinstance(step, float):
                self.slept.append(step)
                clock.advance(step)
            elif isinstance(step, Exchange):
                self.sent.append(step)
                clock.advance(self._takes_s)
                reply = self._answers.pop(0)
                if isinstance(reply, Exception):
                    resume = steps.throw
            else:
                try:
                    reply = step()
                except Exception as error:
                    resume, reply = steps.throw, error

    def invoke(self, function: Any = "hello", payload: object = UNSET, **options: Any) -> Any:
        """Invoke."""
        return self.run(self.core.invoke(function, payload, options))
