"""Calls of other services, without any."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from tests.contract.event_queue import letter

from lambent.invocation.delivery import services
from lambent.invocation.delivery.services import Outcome, Services


class Client:
    """Stands in the place of botocore's: takes everything."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_queue_url(self, QueueName: str, QueueOwnerAWSAccountId: str) -> dict[str, str]:  # noqa: N803
        self.asked.append(QueueName)
        return {"QueueUrl": f"http://queue/{QueueOwnerAWSAccountId}/{QueueName}"}

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl.startswith("http://queue/")
        assert len(Entries) == 1
        return {}


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[Client]:
    """The clients that were made and are not forgotten."""
    made = weakref.WeakSet[Client]()

    def connect(*_: Any, **__: Any) -> Client:
        client = Client()
        made.add(client)
        return client

    monkeypatch.setattr(services, "connect", connect)
    return made


def queue(account: int, name: str = "q") -> str:
    return f"arn:aws:sqs:eu-west-1:{account:012}:{name}"


def test_the_url_of_a_queue_is_asked_for_once(clients: weakref.WeakSet[Client]) -> None:
    delivering = Services("http://endpoint")
    for name in ("a", "b", "a", "b"):
        assert delivering.deliver(queue(1, name), [letter("1", error="")]) == [Outcome()]
    (client,) = clients
    assert client.asked == ["a", "b"]


def test_clients_of_many_accounts_are_forgotten(clients: weakref.WeakSet[Client]) -> None:
    delivering = Services("http://endpoint")
    for account in range(100):
        assert delivering.deliver(queue(account), [letter("1", error="")]) == [Outcome()]
    gc.collect()
    assert len(clients) == 32
