"""Calls of the services that letters are delivered to, as many letters at once as each of them takes.

Runs in the sender's process: a call of botocore costs a millisecond.
"""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lambent.aws import connect
from lambent.invocation.delivery.messages import (
    body_of,
    object_key,
    to_event_bus,
    to_sns,
    to_sqs,
)
from lambent.model.arns import parse_arn
from lambent.model.events import DeadLetter

LETTERS_MAX = 10
"""So many messages does each of the services take at once that take several."""

READ_TIMEOUT_S = 10.0
"""How long a service may take for its answer."""

_CLIENTS_KEPT = 32

# Errors for which the message itself is to blame: no target would ever take it.
_OF_THE_MESSAGE = frozenset(
    (
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "BatchRequestTooLong",
        "BatchRequestTooLongException",
        "EntityTooLarge",
        "InvalidArgument",
        "InvalidMessageContents",
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidParameterValue",
        "KeyTooLongError",
        "MalformedDetail",
        "MissingParameter",
        "ParameterValueInvalid",
        "RequestEntityTooLarge",
        "ValidationError",
        "ValidationException",
    )
)

_logger = logging.getLogger("lambent.delivery")


class Outcome(NamedTuple):
    """What became of a letter.

    Attributes:
        error: why it was not taken; "" if it was.
        is_final: whether it never will be.
    """

    error: str = ""
    is_final: bool = False


class Services:
    """Delivers letters through botocore. May be used by several threads.

    Args:
        endpoint_url: a URL for all services, or ``aws``.
    """

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._connecting = threading.Lock()
        self._client = functools.lru_cache(_CLIENTS_KEPT)(self._connect)

    def deliver(self, destination: str, letters: Sequence[DeadLetter]) -> list[Outcome]:
        """Send letters to where an ARN says; return what became of each.

        Args:
            destination: of a queue, a topic, an event bus or a bucket.
            letters: at most ``LETTERS_MAX``.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            _, service, region, account, _ = parse_arn(destination)
            # A bucket's ARN says neither.
            function = letters[0].function
            with self._connecting:
                client = self._client(service, region or function.region, account or function.account)
            refused = _SENDERS[service](client, destination, letters)
            return [refused.get(index, Outcome()) for index in range(len(letters))]
        except ClientError as error:
            of_the_message = error.response["Error"].get("Code") in _OF_THE_MESSAGE
            if of_the_message and len(letters) > 1:
                return [self.deliver(destination, [letter])[0] for letter in letters]
            return [Outcome(str(error), of_the_message)] * len(letters)
        except (BotoCoreError, OSError, ValueError) as error:
            return [Outcome(str(error) or type(error).__name__)] * len(letters)
        except Exception as error:
            _logger.exception("a delivery to %s failed", destination)
            return [Outcome(f"{type(error).__name__}: {error}")] * len(letters)

    def _connect(self, service: str, region: str, account: str) -> Any:
        return connect(
            service,
            region,
            self._endpoint_url,
            account=account,
            read_timeout=READ_TIMEOUT_S,
            # What fails is tried again by who has the letters.
            retries={"mode": "standard", "total_max_attempts": 1},
            # The service does it too; it is a fifth of a call's cost.
            parameter_validation=False,
            max_pool_connections=32,
        )


# By client and queue; clients that are not kept any more go with their queues.
_queue_urls = weakref.WeakKeyDictionary[Any, dict[str, str]]()


def _queue_url(client: Any, queue: str) -> str:
    urls = _queue_urls.setdefault(client, {})
    if queue not in urls:
        arn = parse_arn(queue)
        answer = client.get_queue_url(QueueName=arn.resource, QueueOwnerAWSAccountId=arn.account)
        urls[queue] = answer["QueueUrl"]
    return urls[queue]


def _send_to_queue(client: Any, queue: str, letters: Sequence[DeadLetter]) -> Mapping[int, Outcome]:
    entries = [{"Id": str(index), **to_sqs(letter)} for index, letter in enumerate(letters)]
    return _refused(client.send_message_batch(QueueUrl=_queue_url(client, queue), Entries=entries))


def _send_to_topic(client: Any, topic: str, letters: Sequence[DeadLetter]) -> Mapping[int, Outcome]:
    entries = [{"Id": str(index), **to_sns(letter)} for index, letter in enumerate(letters)]
    return _refused(client.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries))


def _send_to_bus(client: Any, bus: str, letters: Sequence[DeadLetter]) -> Mapping[int, Outcome]:
    answer = client.put_events(Entries=[to_event_bus(letter, bus) for letter in letters])
    return {
        index: Outcome(_told(code, one.get("ErrorMessage")), code in _OF_THE_MESSAGE)
        for index, one in enumerate(answer["Entries"])
        if (code := one.get("ErrorCode"))
    }


def _send_to_bucket(client: Any, bucket: str, letters: Sequence[DeadLetter]) -> Mapping[int, Outcome]:
    name = parse_arn(bucket).resource
    for letter in letters:
        client.put_object(
            Bucket=name,
            Key=object_key(letter),
            Body=body_of(letter),
            ContentType="application/json",
        )
    return {}


_SENDERS = {"sqs": _send_to_queue, "sns": _send_to_topic, "events": _send_to_bus, "s3": _send_to_bucket}


def _refused(answer: Mapping[str, Any]) -> dict[int, Outcome]:
    return {
        int(one["Id"]): Outcome(_told(one["Code"], one.get("Message")), one.get("SenderFault", False))
        for one in answer.get("Failed", ())
    }


def _told(code: str, message: str | None) -> str:
    return f"{code}: {message}" if message else code


__all__ = ["LETTERS_MAX", "Outcome", "Services"]
