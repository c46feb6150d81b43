"""What the policies of users let them do: every operation, and every kind of statement and condition.

Source: docs/aws-behaviour.md, versions-permissions 5.5, 5.6 and 5.8.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore import xform_name

from lambent.api.operations import OPERATIONS
from tests.integration.authorization.world import (
    ABSENT,
    EVERYTHING,
    FUNCTION,
    INVOKING,
    OTHER,
    OTHER_ROLE,
    OWN,
    OWN_ROLE,
    REGION,
    SOURCE,
    Statement,
    User,
    World,
    allow,
    denied,
    deny,
    document,
    refusal,
    signed_request,
)
from tests.integration.conftest import RUNTIME, Functions, pack, running_server
from tests.integration.events_harness import control
from tests.integration.operation_calls import BY_ARN, CALLS, call
from tests.integration.wire import Peer
from tests.waiting import wait_for


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ([], "identity"),
        ([allow("lambda:GetFunction")], "identity"),
        ([allow(resource=f"{FUNCTION}:*")], "identity"),
        ([allow(resource=FUNCTION.replace("hello", "other"))], "identity"),
        ([allow(resource=FUNCTION.replace(OWN, OTHER))], "identity"),
        ([allow(resource=FUNCTION.replace("hello", "HELLO"))], "identity"),
        ([allow()], None),
        ([allow("lambda:*")], None),
        ([allow("LAMBDA:invoke*")], None),
        ([allow(resource=FUNCTION)], None),
        ([allow(resource=f"{FUNCTION}?*")], "identity"),
        ([allow(resource=f"{FUNCTION[:-2]}*")], None),
        ([allow(), deny()], "identity denies"),
        ([allow(), deny(resource=FUNCTION)], "identity denies"),
        ([allow(), deny(resource=f"{FUNCTION}:live")], None),
        ([{"Effect": "Allow", "NotAction": "lambda:Delete*", "Resource": "*"}], None),
        ([{"Effect": "Allow", "NotAction": "lambda:Invoke*", "Resource": "*"}], "identity"),
        ([{"Effect": "Allow", "Action": "*", "NotResource": FUNCTION}], "identity"),
        ([{"Effect": "Allow", "Action": "*", "NotResource": f"{FUNCTION}:*"}], None),
        ([allow(), {"Effect": "Deny", "NotAction": "lambda:Get*", "Resource": "*"}], "identity denies"),
    ],
)
def test_identity_policies(world: World, statements: list[Statement], reason: str | None) -> None:
    user = world.user(*statements)
    before = world.runs
    if reason is None:
        assert user.invoke() == [FUNCTION.split(":", 4)[4], {}]
        assert world.runs == before + 1
        return
    # Twice: what is remembered refuses as well.
    for _ in range(2):
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, reason)
    assert world.runs == before


NOW = datetime.now(UTC)
PAST, FUTURE = ((NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in (-1, 1))


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1/128"]}}, False),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.1"}}, False),
        ({"StringLike": {"aws:username": "user-*"}}, True),
        ({"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/${aws:username}"}}, True),
        ({"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::444455556666:user/${aws:username}"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": PAST}, "DateLessThan": {"aws:CurrentTime": FUTURE}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": FUTURE}}, False),
        ({"NumericGreaterThan": {"aws:EpochTime": "1700000000"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"ArnLike": {"lambda:FunctionArn": FUNCTION}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, False),
        ({"Null": {"aws:PrincipalOrgID": "true"}}, True),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}, False),
        ({"StringEqualsIfExists": {"aws:SourceAccount": OTHER}}, True),
        ({"ForAnyValue:StringEquals": {"aws:PrincipalType": ["User", "Account"]}}, True),
    ],
)
def test_conditions(world: World, conditions: dict[str, Any], holds: bool) -> None:
    user = world.user(allow(Condition=conditions))
    if holds:
        assert user.invoke()
    else:
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, "identity")
    user.may(allow(), deny(Condition=conditions))
    if holds:
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, "identity denies")
    else:
        assert user.invoke()


def test_a_user_may_be_given_the_function_of_its_name(world: World) -> None:
    statement = allow(resource=f"arn:aws:lambda:*:{OWN}:function:${{aws:username}}")
    assert world.user(statement, name="hello").invoke()
    other = world.user(statement, name="hell")
    assert refusal(other.client.invoke, FunctionName="hello") == denied(other, "identity")


def test_https_is_secure_transport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key, trusted = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "authority.pem"
    issued.cert_chain_pems[0].write_to_path(str(chain))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(trusted))
    settings = {"LAMBENT_SERVER_TLS_CERT": str(chain), "LAMBENT_SERVER_TLS_KEY": str(key)}
    with running_server(tmp_path, LAMBENT_AUTH_LEVEL="sigv4", **settings) as server:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
        insecure = {"Bool": {"aws:SecureTransport": "false"}}
        local = {"IpAddress": {"aws:SourceIp": "127.0.0.1"}}
        asked = {
            "name": "ann",
            "account": OWN,
            "policy": document(allow("*", Condition=local), deny("*", Condition=insecure)),
        }
        made = control(server, "POST", "/add-user", json.dumps(asked).encode(), name="iam").json
        client = server.client(account=made["AccessKeyId"], secret=made["SecretAccessKey"])
        assert client.list_functions()["Functions"] == []
        client.close()


def test_who_cuts_the_connection_is_still_who_it_is(world: World) -> None:
    # An event runs whether or not its caller waits for the answer.
    conditions = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    user = world.user(allow(), deny(Condition=conditions))
    before = world.runs
    for _ in range(30):
        peer = Peer(world.server.port)
        peer.send(signed_request(user, X_Amz_Invocation_Type="Event"))
        peer.reset()
    user.may(allow())
    assert user.client.invoke(FunctionName="hello", InvocationType="Event")["StatusCode"] == 202
    wait_for(lambda: world.runs > before)
    assert user.invoke()
    assert world.runs == before + 2


def test_dry_runs_ask_policies_and_run_nothing(world: World) -> None:
    before = world.runs
    user = world.user(allow(resource=f"{FUNCTION}:live"))
    dry = {"FunctionName": "hello", "InvocationType": "DryRun"}
    assert user.client.invoke(**dry, Qualifier="live")["StatusCode"] == 204
    assert refusal(user.client.invoke, **dry) == denied(user, "identity")
    assert refusal(user.client.invoke, **dry, Qualifier="1") == denied(
        user, "identity", resource=f"{FUNCTION}:1"
    )
    assert world.runs == before


# -- every operation


def call_of(operation: str) -> tuple[str, dict[str, Any]]:
    """Return the resource and the members of a call that changes nothing."""
    if operation in {"ListFunctions", "GetAccountSettings"}:
        return "*", {}
    if operation in BY_ARN:
        return ABSENT, {"Resource": ABSENT, **BY_ARN[operation]}
    members = {
        **CALLS,
        "InvokeAsync": {"InvokeArgs": b"1"},
        # Refused, but only after policies have been asked.
        "CreateFunction": {
            "Role": OWN_ROLE,
            "Runtime": "python2.7",
            "Handler": "a.b",
            "Code": {"ZipFile": b"x"},
        },
    }[operation]
    qualifier = f":{members['Qualifier']}" if "Qualifier" in members else ""
    return ABSENT + qualifier, {"FunctionName": "absent", **members}


@pytest.fixture(scope="module")
def everybody(world: World) -> tuple[User, User]:
    """Two users whose policies each test sets."""
    return world.user(), world.user()


@pytest.mark.parametrize("operation", sorted({"Invoke", "InvokeAsync", *OPERATIONS}))
def test_one_action_is_needed_and_enough(world: World, everybody: tuple[User, User], operation: str) -> None:
    without, alone = everybody
    action = INVOKING if operation in {"Invoke", "InvokeAsync"} else f"lambda:{operation}"
    resource, members = call_of(operation)

    without.may(EVERYTHING, deny(action))
    expected = denied(without, "identity denies", action, resource)
    assert refusal(getattr(without.client, xform_name(operation)), **members) == expected
    without.may({"Effect": "Allow", "NotAction": action, "Resource": "*"})
    expected = denied(without, "identity", action, resource)
    assert refusal(getattr(without.client, xform_name(operation)), **members) == expected

    passing = [allow("iam:PassRole", OWN_ROLE)] if operation == "CreateFunction" else []
    alone.may(allow(action, resource), *passing)
    assert call(alone.client, operation, **members)[1] in {200, 204, 400, 404}


@pytest.mark.parametrize("operation", ["CreateFunction", "UpdateFunctionConfiguration"])
def test_a_role_must_be_ones_to_pass(world: World, operation: str) -> None:
    members: dict[str, Any] = {"FunctionName": "hello", "Role": OWN_ROLE}
    if operation == "CreateFunction":
        members |= {"Runtime": RUNTIME, "Handler": "a.b", "Code": {"ZipFile": pack(a="")}}
    user = world.user(allow(f"lambda:{operation}"))
    ask = getattr(user.client, xform_name(operation))
    expected = denied(user, "identity", "iam:PassRole", members["Role"])
    assert refusal(ask, **members) == expected
    to_lambda = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    to_others = {"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}}
    user.may(allow(f"lambda:{operation}"), allow("iam:PassRole", Condition=to_others))
    assert refusal(ask, **members) == expected
    user.may(allow(f"lambda:{operation}"), allow("iam:PassRole", Condition=to_lambda))
    # A role of another account is nobody's to pass.
    foreign = OTHER_ROLE
    expected = denied(user, "resource", "iam:PassRole", foreign)
    assert refusal(ask, **{**members, "Role": foreign}) == expected
    if operation == "CreateFunction":
        # The name is taken.
        assert refusal(ask, **members)[0] == 409
    else:
        assert ask(**members)["Role"] == members["Role"]
        world.admin.client.get_waiter("function_updated_v2").wait(FunctionName="hello")


def test_tags_at_create_are_a_permission_of_their_own(world: World) -> None:
    user = world.user(allow("lambda:CreateFunction"), allow("iam:PassRole"))
    _, members = call_of("CreateFunction")
    expected = denied(user, "identity", "lambda:TagResource", ABSENT)
    assert refusal(user.client.create_function, **members, Tags={"a": "b"}) == expected
    user.may(allow("lambda:CreateFunction"), allow("iam:PassRole"), allow("lambda:TagResource"))
    assert refusal(user.client.create_function, **members, Tags={"a": "b"})[0] == 400


def test_the_policy_of_the_documentation_does_what_it_says(world: World) -> None:
    page = (Path(__file__).parents[3] / "docs" / "start.md").read_text(encoding="utf-8")
    (policy,) = [block for block in page.split("```json\n")[1:] if '"Statement"' in block]
    statements = json.loads(policy.partition("```")[0])["Statement"]
    alice = world.user(*statements, name="alice")
    Functions(alice.client)(SOURCE, FunctionName="alice-hello", Role=OWN_ROLE)
    assert [each["FunctionName"] for each in alice.client.list_functions()["Functions"]] == [
        "alice-hello",
        "hello",
    ]
    assert refusal(alice.client.invoke, FunctionName="hello") == denied(alice, "identity")
    assert refusal(alice.client.delete_function, FunctionName="hello")[1] == "AccessDeniedException"
    shared = f"arn:aws:lambda:{REGION}:{OTHER}:function:shared"
    # Not from here; see the condition.
    assert refusal(alice.client.invoke, FunctionName=shared) == denied(alice, "identity", resource=shared)
    alice.client.delete_function(FunctionName="alice-hello")
