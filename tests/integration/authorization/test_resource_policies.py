"""What the policies of functions let others do: in the same account and from another one, which learns nothing.

Source: docs/aws-behaviour.md, versions-permissions 5.5, 5.6 and 5.8.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore import xform_name

from tests.integration.authorization.world import (
    ABSENT,
    EVERYTHING,
    FUNCTION,
    INVOKING,
    OTHER,
    OWN,
    Statement,
    World,
    allow,
    denied,
    deny,
    refusal,
)
from tests.integration.operation_calls import BY_ARN, CALLS
from tests.waiting import wait_for


@pytest.mark.parametrize(
    ("principal", "statements", "reason"),
    [
        ("user", [], None),
        ("user", [deny()], "identity denies"),
        ("another user", [], "identity"),
        ("account", [], "identity"),
        ("account", [allow()], None),
        ("*", [], None),
        ("*", [deny(resource=FUNCTION)], "identity denies"),
        ("other account", [], "identity"),
        ("service", [], "identity"),
    ],
)
def test_resource_policies_in_the_same_account(
    world: World,
    permit: Callable[..., None],
    principal: str,
    statements: list[Statement],
    reason: str | None,
) -> None:
    user = world.user(*statements)
    permit(
        {
            "user": user.arn,
            "another user": user.arn + "0",
            "account": OWN,
            "other account": OTHER,
            "*": "*",
            "service": "s3.amazonaws.com",
        }[principal]
    )
    if reason is None:
        assert user.invoke()
    else:
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, reason)


@pytest.mark.parametrize(
    ("principal", "statements", "reason"),
    [
        (None, [], "identity"),
        (None, [allow()], "resource"),
        ("user", [], "identity"),
        ("user", [allow()], None),
        ("user", [allow(resource=FUNCTION)], None),
        ("user", [allow(), deny(resource=FUNCTION)], "identity denies"),
        ("account", [], "identity"),
        ("account", [allow()], None),
        ("*", [], "identity"),
        ("*", [allow()], None),
        ("owner", [allow()], "resource"),
        ("another user", [allow()], "resource"),
    ],
)
def test_across_accounts_both_policies_are_needed(
    world: World,
    permit: Callable[..., None],
    principal: str | None,
    statements: list[Statement],
    reason: str | None,
) -> None:
    user = world.user(*statements, account=OTHER)
    if principal is not None:
        permit(
            {"user": user.arn, "another user": user.arn + "0", "account": OTHER, "owner": OWN, "*": "*"}[
                principal
            ]
        )
    before = world.runs
    if reason is not None:
        for members in (
            {},
            {"InvocationType": "Event"},
            {"InvocationType": "DryRun"},
            {"Payload": b'"' + b"x" * 70_000 + b'"'},
        ):
            assert refusal(user.client.invoke, FunctionName=FUNCTION, **members) == denied(user, reason)
        assert refusal(user.client.invoke_async, FunctionName=FUNCTION, InvokeArgs=b"1") == denied(
            user, reason
        )
        assert world.runs == before
        return
    assert user.client.invoke(FunctionName=FUNCTION, InvocationType="DryRun")["StatusCode"] == 204
    assert world.runs == before
    assert user.invoke(FUNCTION) == [FUNCTION.split(":", 4)[4], {}]
    assert user.client.invoke(FunctionName=FUNCTION, InvocationType="Event")["StatusCode"] == 202
    assert user.client.invoke_async(FunctionName=FUNCTION, InvokeArgs=b"1")["Status"] == 202
    wait_for(lambda: world.runs == before + 3)
    # A bare name is one of the caller's own.
    assert refusal(user.client.invoke, FunctionName="hello")[1] in {
        "ResourceNotFoundException",
        "AccessDeniedException",
    }


@pytest.mark.parametrize("permitted", [None, "1", "live"])
def test_function_version_and_alias_have_policies_of_their_own(
    world: World, permit: Callable[..., None], permitted: str | None
) -> None:
    user = world.user(allow(), account=OTHER)
    permit(OTHER, permitted)
    for qualifier in (None, "1", "live", "$LATEST"):
        name = FUNCTION if qualifier is None else f"{FUNCTION}:{qualifier}"
        if qualifier == permitted:
            assert user.invoke(name)[0] == name.split(":", 4)[4]
            assert user.invoke(FUNCTION, **({"Qualifier": qualifier} if qualifier else {}))
        else:
            expected = denied(user, "resource", resource=name)
            assert refusal(user.client.invoke, FunctionName=name) == expected


def test_a_permission_for_a_source_is_not_for_callers(world: World, permit: Callable[..., None]) -> None:
    user = world.user(allow(), account=OTHER)
    permit("*", SourceArn="arn:aws:s3:::bucket")
    permit(OTHER, SourceAccount=OTHER)
    permit("*", PrincipalOrgID="o-0123456789")
    permit("*", action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")
    assert refusal(user.client.invoke, FunctionName=FUNCTION) == denied(user, "resource")


def test_a_resource_policy_may_allow_more_than_invoke_in_its_account(
    world: World, permit: Callable[..., None]
) -> None:
    user = world.user()
    permit(user.arn, action="lambda:GetFunction")
    assert user.client.get_function(FunctionName="hello")["Configuration"]["FunctionName"] == "hello"
    action = "lambda:GetFunctionConfiguration"
    assert refusal(user.client.get_function_configuration, FunctionName="hello") == denied(
        user, "identity", action
    )


@pytest.mark.parametrize("operation", sorted({*CALLS, *BY_ARN} - {"Invoke"}))
def test_other_operations_are_refused_across_accounts_whatever_policies_say(
    world: World, permit: Callable[..., None], operation: str
) -> None:
    user = world.user(EVERYTHING, account=OTHER)
    permit(OTHER, action="lambda:*")
    member = "Resource" if operation in BY_ARN else "FunctionName"
    ask = getattr(user.client, xform_name(operation))
    members = {member: FUNCTION, **(CALLS | BY_ARN)[operation]}
    assert refusal(ask, **members) == denied(user, "resource", f"lambda:{operation}")


def test_a_permission_counts_from_the_moment_it_is_given_or_taken(world: World) -> None:
    user = world.user(allow(), account=OTHER)
    admin = world.admin.client
    place = {"FunctionName": "hello", "StatementId": "now"}
    for _ in range(3):
        assert refusal(user.client.invoke, FunctionName=FUNCTION) == denied(user, "resource")
        admin.add_permission(**place, Action=INVOKING, Principal=OTHER)
        assert user.invoke(FUNCTION)
        admin.remove_permission(**place)


def test_a_permission_that_nobody_could_evaluate_is_refused(world: World) -> None:
    admin = world.admin.client
    for source in ("*" * 1001, "${aws:username"):
        status, code, _ = refusal(
            admin.add_permission,
            FunctionName="hello",
            StatementId="broken",
            Action=INVOKING,
            Principal="*",
            SourceArn=f"arn:aws:s3:::{source}",
        )
        assert (status, code) == (400, "InvalidParameterValueException")
    assert world.admin.invoke()


# -- who may not know


@pytest.mark.parametrize("account", [OWN, OTHER])
@pytest.mark.parametrize("qualifier", ["", ":1", ":live", ":$LATEST"])
def test_strangers_do_not_learn_what_is_there(world: World, account: str, qualifier: str) -> None:
    user = world.user(*([allow()] if account == OTHER else []), account=account)
    reason = "resource" if account == OTHER else "identity"
    for function in (FUNCTION, ABSENT):
        name = function + qualifier
        for members in ({}, {"InvocationType": "DryRun"}, {"InvocationType": "Event"}):
            expected = denied(user, reason, resource=name)
            assert refusal(user.client.invoke, FunctionName=name, **members) == expected
        if account == OWN:
            expected = denied(user, "identity", "lambda:GetFunction", name)
            assert refusal(user.client.get_function, FunctionName=name) == expected


def test_who_may_is_told_what_is_not_there(world: World) -> None:
    user = world.user(allow("lambda:*"))
    assert refusal(user.client.invoke, FunctionName="absent") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ABSENT}:$LATEST",
    )
    # It is there in another account, of which nothing is said: see refusal.
    other = world.user(EVERYTHING, account=OTHER)
    assert refusal(other.client.invoke, FunctionName="hello")[0] == 404
    assert refusal(other.client.get_function, FunctionName="hello")[0] == 404
