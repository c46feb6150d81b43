"""Who may and who may not: the words of every refusal, what a decision is made of, when it is made anew.

Source: docs/aws-behaviour.md, versions-permissions 5.6 and 5.8.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lambent.clock import ManualClock
from lambent.invocation import authorize
from lambent.invocation.authorize import Access, Authorizer
from lambent.model.errors import AccessDeniedException
from lambent.model.identities import Credential, Principal
from lambent.model.invocations import Caller, Origin
from lambent.model.policies import AccessRequest, Decision, Policy, evaluate, parse_policy

OWN, OTHER = "111122223333", "444455556666"
USER = f"arn:aws:iam::{OWN}:user/ann"
ACTION = "lambda:InvokeFunction"
FUNCTION = f"arn:aws:lambda:us-east-1:{OWN}:function:f"
FOREIGN = f"arn:aws:lambda:us-east-1:{OTHER}:function:f"
# 2023-11-14T22:13:20Z
NOW = 1_700_000_000.0
HERE = Origin("203.0.113.7", is_secure=False)

IDENTITY_SILENT = f"because no identity-based policy allows the {ACTION} action"
RESOURCE_SILENT = f"because no resource-based policy allows the {ACTION} action"
IDENTITY_DENIES = "with an explicit deny in an identity-based policy"
RESOURCE_DENIES = "with an explicit deny in a resource-based policy"


def identity_policy(
    effect: str = "Allow", conditions: Mapping[str, Any] | None = None, resource: str = "*"
) -> Policy:
    statement = {"Effect": effect, "Action": ACTION, "Resource": resource, "Condition": conditions or {}}
    return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": statement}))


def resource_policy(
    principal: object = "*", effect: str = "Allow", conditions: Mapping[str, Any] | None = None
) -> Policy:
    statement = {"Effect": effect, "Action": ACTION, "Principal": principal, "Condition": conditions or {}}
    return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": statement}), resource_based=True)


def user(*policies: Policy) -> Caller:
    """A caller whose signature was checked."""
    principal = Principal(USER, OWN, "User", "AIDAEXAMPLE", "ann")
    return Caller(OWN, "us-east-1", "AKIDEXAMPLE", Credential("AKIDEXAMPLE", "secret", principal, policies))


def access(resource: str = FUNCTION, action: str = ACTION, **context: str) -> Access:
    return Access(
        action,
        resource,
        resource.split(":")[4],
        {key.replace("_", ":"): (value,) for key, value in context.items()},
    )


def verdict(
    authorizer: Authorizer,
    caller: Caller,
    asked: Access | None = None,
    policy: Policy | None = None,
    origin: Origin = HERE,
) -> str:
    """Return the text of the refusal, "" when there is none."""
    try:
        authorizer.authorize(caller, asked or access(), policy, origin)
    except AccessDeniedException as error:
        return str(error.message)
    return ""


@pytest.fixture
def authorizer(clock: ManualClock) -> Authorizer:
    return Authorizer(clock)


# -- the words


ALLOW, DENY, NONE = identity_policy(), identity_policy("Deny"), None
OPEN, CLOSED = resource_policy(), resource_policy(effect="Deny")
USERS, ACCOUNTS = resource_policy({"AWS": USER}), resource_policy({"AWS": OWN})
STRANGERS = resource_policy({"AWS": OTHER})


@pytest.mark.parametrize(
    ("resource", "identity", "policy", "reason"),
    [
        # In one's own account either policy is enough.
        (FUNCTION, (), None, IDENTITY_SILENT),
        (FUNCTION, (ALLOW,), None, ""),
        (FUNCTION, (), OPEN, ""),
        (FUNCTION, (), USERS, ""),
        # The account is trusted, and has to trust the user itself.
        (FUNCTION, (), ACCOUNTS, IDENTITY_SILENT),
        (FUNCTION, (ALLOW,), ACCOUNTS, ""),
        (FUNCTION, (ALLOW,), STRANGERS, ""),
        (FUNCTION, (), STRANGERS, IDENTITY_SILENT),
        # A denial is stronger than all that allows.
        (FUNCTION, (DENY,), OPEN, IDENTITY_DENIES),
        (FUNCTION, (ALLOW, DENY), None, IDENTITY_DENIES),
        (FUNCTION, (ALLOW,), CLOSED, RESOURCE_DENIES),
        (FUNCTION, (DENY,), CLOSED, IDENTITY_DENIES),
        # In another account both are needed.
        (FOREIGN, (), None, IDENTITY_SILENT),
        (FOREIGN, (ALLOW,), None, RESOURCE_SILENT),
        (FOREIGN, (), OPEN, IDENTITY_SILENT),
        (FOREIGN, (), USERS, IDENTITY_SILENT),
        (FOREIGN, (ALLOW,), OPEN, ""),
        (FOREIGN, (ALLOW,), USERS, ""),
        (FOREIGN, (ALLOW,), ACCOUNTS, ""),
        (FOREIGN, (ALLOW,), STRANGERS, RESOURCE_SILENT),
        (FOREIGN, (ALLOW, DENY), OPEN, IDENTITY_DENIES),
        (FOREIGN, (ALLOW,), CLOSED, RESOURCE_DENIES),
    ],
)
def test_a_user_is_told_what_is_missing(
    authorizer: Authorizer, resource: str, identity: Sequence[Policy], policy: Policy | None, reason: str
) -> None:
    caller = user(*identity)
    for _ in range(2):
        text = verdict(authorizer, caller, access(resource), policy)
        assert text == (
            f"User: {USER} is not authorized to perform: {ACTION} on resource: {resource} {reason}"
            if reason
            else ""
        )


@pytest.mark.parametrize(
    ("resource", "policy", "reason"),
    [
        (FUNCTION, None, ""),
        (FUNCTION, STRANGERS, ""),
        (FUNCTION, CLOSED, RESOURCE_DENIES),
        (FOREIGN, None, RESOURCE_SILENT),
        (FOREIGN, STRANGERS, RESOURCE_SILENT),
        (FOREIGN, USERS, RESOURCE_SILENT),
        (FOREIGN, ACCOUNTS, ""),
        (FOREIGN, OPEN, ""),
        (FOREIGN, CLOSED, RESOURCE_DENIES),
    ],
)
@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
def test_who_did_not_sign_is_the_root_of_the_account(
    authorizer: Authorizer, region: str, resource: str, policy: Policy | None, reason: str
) -> None:
    # An access key id that is said and not proved says nothing beyond the account.
    for key in (None, OWN, "AKIDEXAMPLE"):
        text = verdict(authorizer, Caller(OWN, region, key), access(resource), policy)
        root = f"arn:{'aws-cn' if region[:2] == 'cn' else 'aws'}:iam::{OWN}:root"
        assert text == (
            f"User: {root} is not authorized to perform: {ACTION} on resource: {resource} {reason}"
            if reason
            else ""
        )


def test_a_session_is_named_with_its_role(authorizer: Authorizer) -> None:
    session = f"arn:aws:sts::{OWN}:assumed-role/worker/now"
    role = f"arn:aws:iam::{OWN}:role/worker"
    principal = Principal(session, OWN, "AssumedRole", "AROAEXAMPLE:now", role_arn=role)
    by_role = identity_policy(conditions={"ArnEquals": {"aws:PrincipalArn": role}})
    for policies, text in (
        (
            (),
            f"User: {session} is not authorized to perform: {ACTION} on resource: {FUNCTION} {IDENTITY_SILENT}",
        ),
        ((by_role,), ""),
    ):
        credential = Credential("ASIDEXAMPLE", "secret", principal, policies, "token", NOW + 60)
        assert verdict(authorizer, Caller(OWN, "us-east-1", "ASIDEXAMPLE", credential)) == text


# -- what a decision is made of


@pytest.mark.parametrize(
    "conditions",
    [
        {"DateEquals": {"aws:CurrentTime": "2023-11-14T22:13:20Z"}},
        {"NumericEquals": {"aws:EpochTime": "1700000000"}},
        {"StringEquals": {"aws:PrincipalAccount": OWN}},
        {"ArnEquals": {"aws:PrincipalArn": USER}},
        {"StringEquals": {"aws:PrincipalType": "User"}},
        {"StringEquals": {"aws:RequestedRegion": "us-east-1"}},
        {"Bool": {"aws:SecureTransport": "false"}},
        {"StringEquals": {"aws:userid": "AIDAEXAMPLE"}},
        {"StringEquals": {"aws:username": "ann"}},
        {"StringLike": {"AWS:UserName": "a${*}*"}, "Null": {"aws:PrincipalOrgID": "true"}},
        {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        {"Null": {"aws:PrincipalOrgID": "true", "aws:SourceArn": "true", "aws:SourceAccount": "true"}},
    ],
)
def test_conditions_see_the_request(authorizer: Authorizer, conditions: dict[str, dict[str, str]]) -> None:
    asked = access(lambda_functionurlauthtype="NONE")
    holds = "${*}" not in str(conditions)
    policy = identity_policy(conditions=conditions)
    assert (verdict(authorizer, user(policy), asked) == "") is holds
    denial = identity_policy("Deny", conditions)
    assert (verdict(authorizer, user(ALLOW, denial), asked) == "") is not holds


@pytest.mark.parametrize(
    ("address", "network", "is_in"),
    [
        ("203.0.113.7", "203.0.113.0/24", True),
        ("203.0.114.7", "203.0.113.0/24", False),
        # As a socket for both families tells an address of IPv4.
        ("::ffff:203.0.113.7", "203.0.113.0/24", True),
        ("::ffff:203.0.113.7", "::/0", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("fe80::1%eth0", "fe80::/10", True),
        # Over a socket of this machine there is no address.
        ("", "0.0.0.0/0", False),
        ("", "::/0", False),
    ],
)
def test_source_addresses(authorizer: Authorizer, address: str, network: str, is_in: bool) -> None:
    origin = Origin(address, is_secure=True)
    inside = identity_policy(conditions={"IpAddress": {"aws:SourceIp": network}})
    outside = identity_policy(conditions={"NotIpAddress": {"aws:SourceIp": network}})
    assert (verdict(authorizer, user(inside), origin=origin) == "") is is_in
    assert (verdict(authorizer, user(outside), origin=origin) == "") is not is_in


# -- what is remembered


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[AccessRequest]:
    """What the policies have been asked."""
    requests: list[AccessRequest] = []

    def ask(
        identity: Sequence[Policy], resource: Policy | None, account: str, request: AccessRequest
    ) -> Decision:
        requests.append(request)
        return evaluate(identity, resource, account, request)

    monkeypatch.setattr(authorize, "evaluate", ask)
    return requests


@pytest.mark.parametrize("policies", [(), (ALLOW,), (ALLOW, DENY)])
@pytest.mark.parametrize("policy", [None, OPEN, ACCOUNTS, CLOSED])
def test_a_decision_of_policies_alone_is_made_once(
    authorizer: Authorizer, asked: list[AccessRequest], policies: Sequence[Policy], policy: Policy | None
) -> None:
    caller = user(*policies)
    first = verdict(authorizer, caller, policy=policy)
    assert verdict(authorizer, caller, policy=policy, origin=Origin("", is_secure=True)) == first
    assert len(asked) == 1
    verdict(authorizer, caller, access(FUNCTION + ":1"), policy)
    verdict(authorizer, caller, access(action="lambda:GetFunction"), policy)
    assert len(asked) == 3


@pytest.mark.parametrize("by_resource", [False, True])
def test_a_decision_that_depends_on_the_request_is_made_each_time(
    authorizer: Authorizer, clock: ManualClock, by_resource: bool
) -> None:
    until = {"DateLessThan": {"aws:CurrentTime": "2023-11-14T22:13:21Z"}}
    caller = user() if by_resource else user(identity_policy(conditions=until))
    policy = resource_policy({"AWS": USER}, conditions=until) if by_resource else None
    assert verdict(authorizer, caller, policy=policy) == ""
    clock.advance(1)
    assert IDENTITY_SILENT in verdict(authorizer, caller, policy=policy)


def test_a_variable_depends_on_the_request_too(authorizer: Authorizer, clock: ManualClock) -> None:
    named = identity_policy(resource="arn:aws:lambda:*:*:function:${aws:EpochTime}")
    caller = user(named)
    function = access(f"arn:aws:lambda:us-east-1:{OWN}:function:{int(NOW)}")
    assert verdict(authorizer, caller, function) == ""
    clock.advance(1)
    assert IDENTITY_SILENT in verdict(authorizer, caller, function)


def test_another_policy_of_the_same_key_counts_at_once(authorizer: Authorizer) -> None:
    for _ in range(2):
        assert verdict(authorizer, user(ALLOW)) == ""
        assert IDENTITY_DENIES in verdict(authorizer, user(ALLOW, DENY))
        assert IDENTITY_SILENT in verdict(authorizer, user())


def test_another_policy_of_the_resource_counts_at_once(authorizer: Authorizer) -> None:
    caller = user()
    for _ in range(2):
        assert verdict(authorizer, caller, policy=OPEN) == ""
        assert IDENTITY_SILENT in verdict(authorizer, caller)
        assert RESOURCE_DENIES in verdict(authorizer, caller, policy=CLOSED)
        # Of the same text, and read anew.
        assert verdict(authorizer, caller, policy=resource_policy()) == ""


def test_callers_are_apart(authorizer: Authorizer) -> None:
    caller = user(ALLOW)
    assert caller.credential is not None
    other = Principal(USER + "a", OWN, "User", "AIDAOTHER", "anna")
    stranger = dataclasses.replace(caller.credential, access_key_id="AKIDOTHER", principal=other, policies=())
    for _ in range(2):
        assert verdict(authorizer, caller) == ""
        assert IDENTITY_SILENT in verdict(authorizer, Caller(OWN, "us-east-1", "AKIDOTHER", stranger))
        assert verdict(authorizer, Caller(OWN, "us-east-1", "AKIDEXAMPLE")) == ""
        assert RESOURCE_SILENT in verdict(authorizer, Caller(OTHER, "us-east-1", "AKIDEXAMPLE"))


def test_what_is_remembered_is_bounded(authorizer: Authorizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize, "_REMEMBERED", 8)
    caller = user(ALLOW)
    for number in range(100):
        assert verdict(authorizer, caller, access(f"{FUNCTION}{number}")) == ""
        assert len(authorizer._remembered) <= 8
    # Nor do former policies pile up.
    monkeypatch.undo()
    authorizer = Authorizer(ManualClock())
    for _ in range(100):
        verdict(authorizer, user(identity_policy()), policy=resource_policy())
    assert len(authorizer._remembered) == 1
