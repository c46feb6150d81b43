"""A request that waits for its answer, with what is known about it so far."""

from __future__ import annotations

from lambent.api.exchange import Exchange
from lambent.api.request import Request
from lambent.model.invocations import Caller


class Call:
    """One call from its arrival to its answer.

    Attributes:
        operation: name of the API action, or the path of one of our own controls.
        function: name of the function that is meant, "" until it is known.
    """

    __slots__ = ("caller", "exchange", "function", "operation", "request", "request_id")

    def __init__(self, request: Request, exchange: Exchange, request_id: str, caller: Caller) -> None:
        self.request = request
        self.exchange = exchange
        self.request_id = request_id
        self.caller = caller
        self.operation = ""
        self.function = ""
