"""Front and invoker hand each other values only: another process could stand between them."""

from __future__ import annotations

import dataclasses
import pickle
import typing

from tests.contract.rig import make_head

from lambent.invocation.invoker import Invoker
from lambent.model.errors import TooManyRequestsException
from lambent.model.invocations import Invocation, InvocationResult

INVOCATION = Invocation(
    "id", make_head("f", variables={"A": "b"}).latest, "arn", b"{}", '{"custom": {}}', "Root=1", tail=True
)
RESULT = InvocationResult(b"null", "Unhandled", "application/json", b"log", 1.5)
PLAIN = (str, bytes, int, float, bool, type(None))


def are_plain(value: object) -> bool:
    """Tell whether something is made of texts, bytes and numbers, however deep."""
    if isinstance(value, dict):
        return all(are_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, (tuple, list)):
        return all(map(are_plain, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(are_plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    return isinstance(value, PLAIN)


def test_what_the_front_hands_over_is_one_value_and_a_way_back() -> None:
    hints = typing.get_type_hints(Invoker.run)
    assert hints.pop("invocation") is Invocation
    arguments, answer = typing.get_args(hints.pop("done"))
    assert (arguments, answer) == ([InvocationResult], None)
    assert hints == {"return": type(None)}


def test_both_are_made_of_plain_values_that_can_be_sent() -> None:
    for value in (INVOCATION, RESULT):
        assert are_plain(value)
        assert pickle.loads(pickle.dumps(value)) == value


def test_a_refusal_is_told_by_values_too() -> None:
    refused = TooManyRequestsException("ConcurrentInvocationLimitExceeded", retry_after_ms=7)
    assert are_plain((refused.body(), refused.headers, refused.reason, refused.limit))
