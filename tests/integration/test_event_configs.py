"""How events are tried, over the API: what is stored for whom, and every refusal.

Source: docs/aws-behaviour.md, async 2.2, 2.3 and 2.7.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Functions, publish_live, running_server
from tests.integration.functions_harness import ARN, members_of, place, refusal, status_of, warning_of
from tests.integration.wire import Peer

Deploy = Callable[..., str]

QUICK = "def handler(event, context):\n    return event\n"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:queue"
TOPIC = "arn:aws:sns:us-east-1:000000000000:topic"
BUCKET = "arn:aws:s3:::failed-events"
NOTHING_SET = "You must specify at least one of error handling or destination setting."
QUALIFIERS = [None, "$LATEST", "1", "live"]
SHOWN = {"LastModified", "FunctionArn", "DestinationConfig"}


@pytest.fixture
def name(client: Any, deploy: Deploy) -> str:
    """A function with the version 1 and the alias live."""
    return publish_live(client, deploy(QUICK))


def destinations(on_success: str | None = None, on_failure: str | None = None) -> dict[str, Any]:
    """Return a DestinationConfig as answers show it."""
    return {
        side: {} if arn is None else {"Destination": arn}
        for side, arn in (("OnSuccess", on_success), ("OnFailure", on_failure))
    }


def to_failure(arn: str) -> dict[str, Any]:
    """Return the members that have failed events sent to ``arn``."""
    return {"DestinationConfig": {"OnFailure": {"Destination": arn}}}


def invalid(text: str) -> tuple[int, str, str]:
    return 400, "InvalidParameterValueException", text


def not_found(text: str) -> tuple[int, str, str]:
    return 404, "ResourceNotFoundException", text


def without_config(name: str, qualifier: str) -> tuple[int, str, str]:
    return not_found(f"The function {ARN}{name}:{qualifier} doesn't have an EventInvokeConfig")


@pytest.mark.parametrize("qualifier", QUALIFIERS)
def test_a_config_is_put_shown_and_deleted(client: Any, name: str, qualifier: str | None) -> None:
    where = place(name, qualifier)
    put = client.put_function_event_invoke_config(
        **where, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60, DestinationConfig=to_failure(QUEUE)["DestinationConfig"]
    )  # fmt: skip
    assert status_of(put) == 200
    assert put["FunctionArn"] == f"{ARN}{name}:{qualifier or '$LATEST'}"
    assert (put["MaximumRetryAttempts"], put["MaximumEventAgeInSeconds"]) == (0, 60)
    assert put["DestinationConfig"] == destinations(on_failure=QUEUE)
    assert isinstance(put["LastModified"], dt.datetime)

    got = client.get_function_event_invoke_config(**where)
    assert {member: got[member] for member in members_of(got)} == {
        member: put[member] for member in members_of(put)
    }
    assert status_of(client.delete_function_event_invoke_config(**where)) == 204
    assert refusal(client.get_function_event_invoke_config, **where) == without_config(
        name, qualifier or "$LATEST"
    )


def test_a_name_may_end_in_the_qualifier(client: Any, name: str) -> None:
    put = client.put_function_event_invoke_config(FunctionName=f"{ARN}{name}:live", MaximumRetryAttempts=1)
    assert put["FunctionArn"] == f"{ARN}{name}:live"
    got = client.get_function_event_invoke_config(FunctionName=name, Qualifier="live")
    assert got["MaximumRetryAttempts"] == 1


def test_put_replaces_all_and_update_what_is_given(client: Any, name: str) -> None:
    put, update = client.put_function_event_invoke_config, client.update_function_event_invoke_config
    put(FunctionName=name, MaximumRetryAttempts=0, **to_failure(QUEUE))
    reply = put(FunctionName=name, MaximumEventAgeInSeconds=21600)
    assert members_of(reply) == SHOWN | {"MaximumEventAgeInSeconds"}
    assert reply["DestinationConfig"] == destinations()

    reply = update(FunctionName=name, MaximumRetryAttempts=1)
    assert (reply["MaximumRetryAttempts"], reply["MaximumEventAgeInSeconds"]) == (1, 21600)
    reply = update(FunctionName=name, **to_failure(QUEUE))
    reply = update(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": TOPIC}})
    assert (reply["MaximumRetryAttempts"], reply["MaximumEventAgeInSeconds"]) == (1, 21600)
    assert reply["DestinationConfig"] == destinations(TOPIC, QUEUE)
    # Given empty, a destination is cleared.
    reply = update(FunctionName=name, DestinationConfig={"OnSuccess": {}})
    assert reply["DestinationConfig"] == destinations(None, QUEUE)
    reply = update(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": ""}})
    assert reply["DestinationConfig"] == destinations()
    assert members_of(reply) == SHOWN | {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"}


def test_on_the_wire_the_time_is_seconds_and_unset_members_are_absent(
    client: Any, peer: Peer, name: str
) -> None:
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    path = f"/2019-09-25/functions/{name}/event-invoke-config"
    peer.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    shown = peer.receive().json
    modified = shown.pop("LastModified")
    assert isinstance(modified, float)
    assert shown == {
        "FunctionArn": f"{ARN}{name}:$LATEST",
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
    }


def test_a_published_version_does_not_inherit(client: Any, name: str) -> None:
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    client.update_function_configuration(FunctionName=name, Timeout=9)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02})
    version = client.publish_version(FunctionName=name)["Version"]

    got = refusal(client.get_function_event_invoke_config, FunctionName=name, Qualifier=version)
    assert got == without_config(name, version)


def test_a_config_goes_with_what_it_belongs_to(client: Any, name: str) -> None:
    put, get = client.put_function_event_invoke_config, client.get_function_event_invoke_config
    put(FunctionName=name, Qualifier="live", MaximumRetryAttempts=0)
    client.delete_alias(FunctionName=name, Name="live")
    assert refusal(get, FunctionName=name, Qualifier="live") == without_config(name, "live")
    put(FunctionName=name, Qualifier="1", MaximumRetryAttempts=0)
    client.delete_function(FunctionName=name, Qualifier="1")
    assert refusal(get, FunctionName=name, Qualifier="1") == without_config(name, "1")
    put(FunctionName=name, MaximumRetryAttempts=0)
    client.delete_function(FunctionName=name)
    assert refusal(get, FunctionName=name) == without_config(name, "$LATEST")


def test_configs_are_listed_in_pages(client: Any, name: str) -> None:
    for qualifier in QUALIFIERS[1:]:
        client.put_function_event_invoke_config(**place(name, qualifier), MaximumRetryAttempts=0)
    everything = client.list_function_event_invoke_configs(FunctionName=name)
    assert "NextMarker" not in everything
    arns = [f"{ARN}{name}:{qualifier}" for qualifier in ("$LATEST", "1", "live")]
    assert [one["FunctionArn"] for one in everything["FunctionEventInvokeConfigs"]] == arns
    assert everything["FunctionEventInvokeConfigs"][0]["DestinationConfig"] == destinations()

    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2}
    )
    sizes, seen = [], []
    for page in pages:
        sizes.append(len(page["FunctionEventInvokeConfigs"]))
        seen += [one["FunctionArn"] for one in page["FunctionEventInvokeConfigs"]]
    assert (sizes, seen) == ([2, 1], arns)
    list_configs = client.list_function_event_invoke_configs
    assert refusal(list_configs, FunctionName=name, Marker="nonsense") == invalid("Invalid marker")


def test_a_function_without_any_lists_none(client: Any, name: str) -> None:
    assert client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"] == []


@pytest.mark.parametrize("qualifier", [None, "$LATEST", "7", "live"])
@pytest.mark.parametrize("operation", ["put", "update"])
def test_an_unknown_function_comes_before_the_values(
    client: Any, operation: str, qualifier: str | None
) -> None:
    call = getattr(client, f"{operation}_function_event_invoke_config")
    attempts: list[dict[str, int]] = [{}, {"MaximumRetryAttempts": 1}]
    for given in attempts:
        assert refusal(call, **place("nothing", qualifier), **given) == not_found(
            "The function doesn't exist."
        )
    for call in (client.get_function_event_invoke_config, client.delete_function_event_invoke_config):
        assert refusal(call, **place("nothing", qualifier)) == without_config(
            "nothing", qualifier or "$LATEST"
        )


@pytest.mark.parametrize("qualifier", ["7", "other", "$LATEST.PUBLISHED"])
def test_an_unknown_version_or_alias_is_not_found(client: Any, name: str, qualifier: str) -> None:
    for call in (client.put_function_event_invoke_config, client.update_function_event_invoke_config):
        assert refusal(call, FunctionName=name, Qualifier=qualifier, MaximumRetryAttempts=1) == not_found(
            "The function doesn't exist."
        )


def test_a_list_of_what_is_not_there_is_not_found(client: Any, name: str) -> None:
    for unknown in ("nothing", f"{name}:other", f"{name}:7"):
        assert refusal(client.list_function_event_invoke_configs, FunctionName=unknown) == not_found(
            "The function doesn't exist."
        )


@pytest.mark.parametrize("qualifier", QUALIFIERS)
def test_without_a_config_nothing_is_read_updated_or_deleted(
    client: Any, name: str, qualifier: str | None
) -> None:
    where, missing = place(name, qualifier), without_config(name, qualifier or "$LATEST")
    assert refusal(client.get_function_event_invoke_config, **where) == missing
    assert refusal(client.delete_function_event_invoke_config, **where) == missing
    assert refusal(client.update_function_event_invoke_config, **where, MaximumRetryAttempts=1) == missing


def test_nothing_to_set_is_refused(client: Any, name: str) -> None:
    put, update = client.put_function_event_invoke_config, client.update_function_event_invoke_config
    nothing: list[dict[str, Any]] = [{}, {"DestinationConfig": {}}, {"DestinationConfig": destinations()}]
    for given in nothing:
        assert refusal(put, FunctionName=name, **given) == invalid(NOTHING_SET)
    put(FunctionName=name, MaximumRetryAttempts=1)
    for given in nothing[:2]:
        assert refusal(update, FunctionName=name, **given) == invalid(NOTHING_SET)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"MaximumRetryAttempts": 3}, "Value '3' at 'maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or equal to 2"),
        ({"MaximumRetryAttempts": -1}, "Value '-1' at 'maximumRetryAttempts' failed to satisfy constraint: Member must have value greater than or equal to 0"),
        ({"MaximumEventAgeInSeconds": 59}, "Value '59' at 'maximumEventAgeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60"),
        ({"MaximumEventAgeInSeconds": 21601}, "Value '21601' at 'maximumEventAgeInSeconds' failed to satisfy constraint: Member must have value less than or equal to 21600"),
        (to_failure("no arn"), "Value 'no arn' at 'destinationConfig.onFailure.destination' failed to satisfy constraint: Member must satisfy regular expression pattern: "),
        (to_failure("arn:aws:sqs:" + "x" * 350), "Value 'arn:aws:sqs:"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operation", ["put", "update"])
def test_what_the_model_forbids_is_a_validation_error(
    trusting: Any, name: str, operation: str, given: dict[str, Any], problem: str
) -> None:
    call = getattr(trusting, f"{operation}_function_event_invoke_config")
    status, code, text = refusal(call, FunctionName=name, **given)
    assert (status, code) == (400, "ValidationException")
    assert problem in text


@pytest.mark.parametrize(
    ("on_success", "on_failure"),
    [
        (QUEUE, TOPIC),
        ("arn:aws:events:us-east-1:000000000000:event-bus/default", BUCKET),
        ("arn:aws-cn:sqs:cn-north-1:111122223333:elsewhere", None),
    ],
)
def test_destinations_are_taken_by_their_form_and_it_is_told_that_nothing_is_sent(
    client: Any, name: str, on_success: str | None, on_failure: str | None
) -> None:
    wanted = destinations(on_success, on_failure)
    reply = client.put_function_event_invoke_config(FunctionName=name, DestinationConfig=wanted)
    assert reply["DestinationConfig"] == wanted
    assert warning_of(reply) == (
        "DestinationConfig is kept and shown, "
        "but nothing leaves this machine unless aws.endpoint_url says where to"
    )
    reply = client.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    assert reply["DestinationConfig"] == wanted
    assert warning_of(reply) == ""


def test_a_function_that_is_there_is_a_destination(client: Any, deploy: Deploy, name: str) -> None:
    other = publish_live(client, deploy(QUICK))
    for suffix in ("", ":$LATEST", ":1", ":live"):
        arn = f"{ARN}{other}{suffix}"
        reply = client.put_function_event_invoke_config(FunctionName=name, **to_failure(arn))
        assert reply["DestinationConfig"] == destinations(on_failure=arn)
    # Both ways round is allowed.
    client.put_function_event_invoke_config(FunctionName=other, **to_failure(f"{ARN}{name}"))
    for suffix in (":7", ":other"):
        arn = f"{ARN}{other}{suffix}"
        assert refusal(
            client.put_function_event_invoke_config, FunctionName=name, **to_failure(arn)
        ) == invalid(f"The destination ARN {arn} is invalid.")


@pytest.mark.parametrize("operation", ["put", "update"])
@pytest.mark.parametrize(
    "arn",
    [
        f"{ARN}nothing",
        "arn:aws:lambda:eu-west-1:000000000000:function:{name}",
        "arn:aws:lambda:us-east-1:111122223333:function:{name}",
        "arn:aws-cn:lambda:us-east-1:000000000000:function:{name}",
        "arn:aws:lambda:us-east-1:000000000000:layer:{name}",
        "arn:aws:lambda:us-east-1:000000000000:{name}",
        "arn:aws:lambda:us-east-1:000000000000:",
        "arn:aws:lambda:::function:{name}",
    ],
)
def test_a_destination_function_that_is_not_there_is_refused(
    client: Any, name: str, arn: str, operation: str
) -> None:
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    arn = arn.format(name=name)
    call = getattr(client, f"{operation}_function_event_invoke_config")
    assert refusal(call, FunctionName=name, **to_failure(arn)) == invalid(
        f"The destination ARN {arn} is invalid."
    )
    assert client.get_function_event_invoke_config(FunctionName=name)["DestinationConfig"] == destinations()


@pytest.mark.parametrize("qualifier", QUALIFIERS)
@pytest.mark.parametrize("suffix", ["", ":$LATEST", ":live"])
def test_a_function_is_no_destination_of_itself(
    client: Any, name: str, qualifier: str | None, suffix: str
) -> None:
    given = {"DestinationConfig": {"OnSuccess": {"Destination": f"{ARN}{name}{suffix}"}}}
    assert refusal(client.put_function_event_invoke_config, **place(name, qualifier), **given) == invalid(
        "You can't specify the function as a destination for itself."
    )


DYNAMO = "arn:aws:dynamodb:us-east-1:000000000000:table/t"


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ({"OnSuccess": {"Destination": DYNAMO}}, f"onSuccess=OnSuccess(destination={DYNAMO}), onFailure=null"),
        ({"OnFailure": {"Destination": DYNAMO}}, f"onSuccess=null, onFailure=OnFailure(destination={DYNAMO})"),
        (
            {"OnSuccess": {"Destination": QUEUE}, "OnFailure": {"Destination": DYNAMO}},
            f"onSuccess=OnSuccess(destination={QUEUE}), onFailure=OnFailure(destination={DYNAMO})",
        ),
        (
            {"OnSuccess": {"Destination": BUCKET}, "OnFailure": {}},
            f"onSuccess=OnSuccess(destination={BUCKET}), onFailure=OnFailure(destination=null)",
        ),
        ({"OnFailure": {"Destination": "kafka://topic"}}, "onSuccess=null, onFailure=OnFailure(destination=kafka://topic)"),
        ({"OnFailure": {"Destination": "arn:aws:sqs:us-east-1::q"}}, "onSuccess=null, onFailure=OnFailure(destination=arn:aws:sqs:us-east-1::q)"),
        ({"OnFailure": {"Destination": "arn:aws:sqs:::q"}}, "onSuccess=null, onFailure=OnFailure(destination=arn:aws:sqs:::q)"),
        ({"OnFailure": {"Destination": "arn:aws:s3:us-east-1:000000000000:bucket"}}, "onSuccess=null, onFailure=OnFailure(destination=arn:aws:s3:us-east-1:000000000000:bucket)"),
        ({"OnFailure": {"Destination": "arn:aws:events:us-east-1:000000000000:rule/r"}}, "onSuccess=null, onFailure=OnFailure(destination=arn:aws:events:us-east-1:000000000000:rule/r)"),
    ],
)  # fmt: skip
def test_other_kinds_of_resources_are_no_destinations(
    client: Any, name: str, given: dict[str, Any], printed: str
) -> None:
    assert refusal(
        client.put_function_event_invoke_config, FunctionName=name, DestinationConfig=given
    ) == invalid(f"The provided destination config DestinationConfig({printed}) is invalid.")


@pytest.mark.parametrize("arn", [f"{QUEUE}.fifo", f"{TOPIC}.fifo"])
def test_fifo_queues_and_topics_are_refused(client: Any, name: str, arn: str) -> None:
    assert refusal(client.put_function_event_invoke_config, FunctionName=name, **to_failure(arn)) == invalid(
        f"The destination {arn} is FIFO; only standard queues and topics can be destinations."
    )


def test_configs_survive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as first:
        name = Functions(first.client())(QUICK)
        put = first.client().put_function_event_invoke_config(FunctionName=name, **to_failure(QUEUE))
    with running_server(tmp_path) as second:
        got = second.client().get_function_event_invoke_config(FunctionName=name)
        assert {member: got[member] for member in members_of(got)} == {
            member: put[member] for member in members_of(put)
        }
