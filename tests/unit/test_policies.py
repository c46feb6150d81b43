"""Policies: every row of a table stands beside the page of AWS's IAM User Guide that says so; † is our choice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.identities import Principal, root
from lambent.model.patterns import Context
from lambent.model.policies import (
    POLICY_CHARACTERS,
    AccessRequest,
    Decision,
    MalformedPolicy,
    Policy,
    evaluate,
    parse_policy,
)

OURS, THEIRS = "123456789012", "210987654321"
FUNCTION = f"arn:aws:lambda:us-east-1:{OURS}:function:f"
INVOKE = "lambda:InvokeFunction"
ANN = Principal(f"arn:aws:iam::{OURS}:user/ann", OURS, "User", "AIDAANN", username="ann")
EVE = Principal(f"arn:aws:iam::{THEIRS}:user/eve", THEIRS, "User", "AIDAEVE", username="eve")
ROLE = f"arn:aws:iam::{OURS}:role/worker"
SESSION = Principal(
    f"arn:aws:sts::{OURS}:assumed-role/worker/one", OURS, "AssumedRole", "AROAWORKER:one", role_arn=ROLE
)
SERVICE = Principal("s3.amazonaws.com", "", "Service", "")
NOBODY = Principal("", "", "Anonymous", "")

# Titles of pages of the IAM User Guide.
CONDITION_OPERATORS = "IAM JSON policy elements: Condition operators"
GRAMMAR = "Grammar of the IAM JSON policy language"
NOT_PRINCIPAL = "AWS JSON policy elements: NotPrincipal"
PRINCIPAL = "AWS JSON policy elements: Principal"
RESOURCE = "IAM JSON policy elements: Resource"
ACTION = "IAM JSON policy elements: Action"
SETS = "Set operators for multivalued context keys"
MULTIPLE = "Conditions with multiple context keys or values"
VARIABLES = "IAM policy elements: Variables and tags"
SINGLE_ACCOUNT = "Policy evaluation for requests within a single account"
CROSS_ACCOUNT = "Cross-account policy evaluation logic"
OUR_CHOICE = "docs/aws-behaviour.md, versions-permissions 5.8"

Json = dict[str, Any]


def statement(effect: str = "Allow", **elements: object) -> Json:
    return {"Effect": effect, "Action": INVOKE, "Resource": "*", **elements}


def compiled(*statements: Json, version: str | None = "2012-10-17", of_resource: bool = False) -> Policy:
    members = {} if version is None else {"Version": version}
    return parse_policy(json.dumps({**members, "Statement": statements}), resource_based=of_resource)


def decide(
    principal: Principal,
    identity: list[Json] | None = None,
    resource: list[Json] | None = None,
    **context: tuple[str, ...],
) -> Decision:
    policy = compiled(*resource, of_resource=True) if resource else None
    policies = [compiled(*identity)] if identity else []
    return evaluate(policies, policy, OURS, AccessRequest(INVOKE, FUNCTION, principal, context))


def allows(
    policy: Policy,
    action: str = INVOKE,
    resource: str = FUNCTION,
    context: Context | None = None,
) -> bool:
    request = AccessRequest(action, resource, ANN, context or {})
    return evaluate([policy], None, OURS, request) is Decision.ALLOWED


# -- Who decides -----------------------------------------------------------------

YES, NO = [statement()], [statement("Deny")]


def names(principal: object, effect: str = "Allow") -> list[Json]:
    return [statement(effect, Principal=principal)]


EVERYBODY = names("*")
OUR_ACCOUNT, THEIR_ACCOUNT = names({"AWS": OURS}), names({"AWS": f"arn:aws:iam::{THEIRS}:root"})


@pytest.mark.parametrize(
    ("principal", "identity", "resource", "decision", "page"),
    [
        (ANN, None, None, Decision.NO_IDENTITY_POLICY, SINGLE_ACCOUNT),
        (ANN, YES, None, Decision.ALLOWED, SINGLE_ACCOUNT),
        (ANN, None, names({"AWS": ANN.arn}), Decision.ALLOWED, SINGLE_ACCOUNT),
        (ANN, None, EVERYBODY, Decision.ALLOWED, PRINCIPAL),
        (ANN, None, names({"AWS": "*"}), Decision.ALLOWED, PRINCIPAL),
        (ANN, None, OUR_ACCOUNT, Decision.NO_IDENTITY_POLICY, OUR_CHOICE),
        (ANN, YES, OUR_ACCOUNT, Decision.ALLOWED, OUR_CHOICE),
        (ANN, None, names({"AWS": f"arn:aws:iam::{OURS}:user/Ann"}), Decision.NO_IDENTITY_POLICY, PRINCIPAL),
        (ANN, NO, EVERYBODY, Decision.DENIED_BY_IDENTITY_POLICY, SINGLE_ACCOUNT),
        (ANN, YES + NO, None, Decision.DENIED_BY_IDENTITY_POLICY, SINGLE_ACCOUNT),
        (ANN, YES, names("*", "Deny"), Decision.DENIED_BY_RESOURCE_POLICY, SINGLE_ACCOUNT),
        (ANN, YES, names({"AWS": OURS}, "Deny"), Decision.DENIED_BY_RESOURCE_POLICY, PRINCIPAL),
        (ANN, NO, names("*", "Deny"), Decision.DENIED_BY_IDENTITY_POLICY, OUR_CHOICE),
        (SESSION, None, names({"AWS": SESSION.arn}), Decision.ALLOWED, PRINCIPAL),
        (SESSION, None, names({"AWS": ROLE}), Decision.ALLOWED, PRINCIPAL),
        (SESSION, None, OUR_ACCOUNT, Decision.NO_IDENTITY_POLICY, OUR_CHOICE),
        (EVE, YES, THEIR_ACCOUNT, Decision.ALLOWED, CROSS_ACCOUNT),
        (EVE, YES, names({"AWS": EVE.arn}), Decision.ALLOWED, CROSS_ACCOUNT),
        (EVE, YES, EVERYBODY, Decision.ALLOWED, PRINCIPAL),
        (EVE, None, EVERYBODY, Decision.NO_IDENTITY_POLICY, PRINCIPAL),
        (EVE, None, names({"AWS": EVE.arn}), Decision.NO_IDENTITY_POLICY, CROSS_ACCOUNT),
        (EVE, YES, None, Decision.NO_RESOURCE_POLICY, CROSS_ACCOUNT),
        (EVE, YES, OUR_ACCOUNT, Decision.NO_RESOURCE_POLICY, CROSS_ACCOUNT),
        (EVE, None, None, Decision.NO_IDENTITY_POLICY, OUR_CHOICE),
        (root(OURS), None, None, Decision.ALLOWED, "How AWS enforcement code logic evaluates requests"),
        (root(OURS), None, names("*", "Deny"), Decision.DENIED_BY_RESOURCE_POLICY, OUR_CHOICE),
        (root(THEIRS), None, None, Decision.NO_RESOURCE_POLICY, CROSS_ACCOUNT),
        (root(THEIRS), None, THEIR_ACCOUNT, Decision.ALLOWED, CROSS_ACCOUNT),
        (SERVICE, None, names({"Service": "s3.amazonaws.com"}), Decision.ALLOWED, PRINCIPAL),
        (SERVICE, None, EVERYBODY, Decision.ALLOWED, PRINCIPAL),
        (SERVICE, None, names({"Service": "sns.amazonaws.com"}), Decision.NO_RESOURCE_POLICY, PRINCIPAL),
        (SERVICE, YES, None, Decision.NO_RESOURCE_POLICY, OUR_CHOICE),
        (ANN, None, names({"Service": "s3.amazonaws.com"}), Decision.NO_IDENTITY_POLICY, PRINCIPAL),
        (NOBODY, None, EVERYBODY, Decision.ALLOWED, PRINCIPAL),
        (NOBODY, None, OUR_ACCOUNT, Decision.NO_RESOURCE_POLICY, PRINCIPAL),
        (ANN, None, names({"AWS": [EVE.arn, ANN.arn]}), Decision.ALLOWED, PRINCIPAL),
        (ANN, None, names({"Federated": "accounts.google.com"}), Decision.NO_IDENTITY_POLICY, PRINCIPAL),
    ],
)
def test_identity_and_resource_policies_decide_together(
    principal: Principal,
    identity: list[Json] | None,
    resource: list[Json] | None,
    decision: Decision,
    page: str,
) -> None:
    assert decide(principal, identity, resource) is decision, page


@pytest.mark.parametrize(
    ("principal", "effect", "excepted", "decision", "page"),
    [
        (ANN, "Deny", [ANN.arn, OURS], Decision.ALLOWED, NOT_PRINCIPAL),
        (ANN, "Deny", [EVE.arn, THEIRS], Decision.DENIED_BY_RESOURCE_POLICY, NOT_PRINCIPAL),
        # Only Bob is spared where Bob and the account are named.
        (ANN, "Deny", [OURS], Decision.DENIED_BY_RESOURCE_POLICY, NOT_PRINCIPAL),
        (root(OURS), "Deny", [OURS], Decision.ALLOWED, NOT_PRINCIPAL),
        (SESSION, "Deny", [ROLE, OURS], Decision.ALLOWED, NOT_PRINCIPAL),
        (EVE, "Allow", [ANN.arn], Decision.ALLOWED, NOT_PRINCIPAL),
        (EVE, "Allow", [EVE.arn], Decision.NO_RESOURCE_POLICY, NOT_PRINCIPAL),
        (EVE, "Allow", [THEIRS], Decision.NO_RESOURCE_POLICY, NOT_PRINCIPAL),
    ],
)
def test_not_principal_is_about_everybody_else(
    principal: Principal, effect: str, excepted: list[str], decision: Decision, page: str
) -> None:
    resource = [statement(effect, NotPrincipal={"AWS": excepted})]

    assert decide(principal, YES, resource) is decision, page


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (Decision.NO_IDENTITY_POLICY, f"because no identity-based policy allows the {INVOKE} action"),
        (Decision.NO_RESOURCE_POLICY, f"because no resource-based policy allows the {INVOKE} action"),
        (Decision.DENIED_BY_IDENTITY_POLICY, "with an explicit deny in an identity-based policy"),
        (Decision.DENIED_BY_RESOURCE_POLICY, "with an explicit deny in a resource-based policy"),
    ],
)
def test_refusals_tell_their_reason(decision: Decision, reason: str) -> None:
    assert decision.reason(INVOKE) == reason


# -- Action and Resource -----------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "matches", "page"),
    [
        ({"Action": "lambda:InvokeFunction"}, True, ACTION),
        ({"Action": "LAMBDA:invokefunction"}, True, ACTION),
        ({"Action": "lambda:Invoke*"}, True, ACTION),
        ({"Action": "lambda:InvokeFunctio?"}, True, ACTION),
        ({"Action": "lambda:InvokeFunction?"}, False, ACTION),
        ({"Action": "lambda:*oke*tion"}, True, ACTION),
        ({"Action": "*"}, True, ACTION),
        ({"Action": ["s3:GetObject", "lambda:*"]}, True, ACTION),
        ({"Action": "s3:*"}, False, ACTION),
        ({"NotAction": "lambda:Delete*"}, True, "IAM JSON policy elements: NotAction"),
        ({"NotAction": "lambda:invoke*"}, False, "IAM JSON policy elements: NotAction"),
    ],
)
def test_actions_match_without_case(element: Json, matches: bool, page: str) -> None:
    policy = compiled({"Effect": "Allow", "Resource": "*", **element})

    assert allows(policy) is matches, page


@pytest.mark.parametrize(
    ("element", "resource", "matches", "page"),
    [
        ({"Resource": FUNCTION}, FUNCTION, True, RESOURCE),
        ({"Resource": FUNCTION}, f"{FUNCTION}:1", False, RESOURCE),
        ({"Resource": f"{FUNCTION}:*"}, f"{FUNCTION}:1", True, RESOURCE),
        ({"Resource": f"{FUNCTION}:*"}, FUNCTION, False, RESOURCE),
        ({"Resource": f"{FUNCTION}*"}, f"{FUNCTION}:live", True, RESOURCE),
        ({"Resource": FUNCTION.upper().replace("ARN", "arn")}, FUNCTION, False, RESOURCE),
        ({"Resource": f"arn:aws:lambda:*:{OURS}:function:?"}, FUNCTION, True, RESOURCE),
        ({"Resource": "arn:aws:lambda:*:f"}, FUNCTION, True, RESOURCE),
        ({"Resource": "arn:aws:lambda:*function*f"}, f"{FUNCTION}ff", True, RESOURCE),
        ({"Resource": ["arn:aws:s3:::b", FUNCTION]}, FUNCTION, True, RESOURCE),
        ({"NotResource": FUNCTION}, FUNCTION, False, "IAM JSON policy elements: NotResource"),
        ({"NotResource": FUNCTION}, f"{FUNCTION}:1", True, "IAM JSON policy elements: NotResource"),
    ],
)
def test_resources_match_with_case_and_across_colons(
    element: Json, resource: str, matches: bool, page: str
) -> None:
    policy = compiled({"Effect": "Allow", "Action": "*", **element})

    assert allows(policy, resource=resource) is matches, page


def test_a_resource_policy_without_resource_is_about_its_resource() -> None:
    policy = compiled({"Effect": "Allow", "Action": "*", "Principal": "*"}, of_resource=True)

    assert evaluate([], policy, OURS, AccessRequest(INVOKE, FUNCTION, ANN, {})) is Decision.ALLOWED


# -- Variables -----------------------------------------------------------------------

OWN = f"arn:aws:lambda:us-east-1:{OURS}:function:${{aws:username}}"
OF_ANN, OF_STAR = OWN.replace("${aws:username}", "ann"), OWN.replace("${aws:username}", "*")
ANNS = {"aws:username": ("ann",)}


@pytest.mark.parametrize(
    ("element", "resource", "context", "matches", "page"),
    [
        ({"Resource": OWN}, OF_ANN, ANNS, True, VARIABLES),
        ({"Resource": OWN}, FUNCTION, ANNS, False, VARIABLES),
        ({"Resource": OWN.replace("username", "UserName")}, OF_ANN, ANNS, True, VARIABLES),
        ({"Resource": f"{OWN}-*-${{aws:username}}?"}, f"{OF_ANN}-x-ann1", ANNS, True, VARIABLES),
        ({"Resource": f"{OWN}-*-${{aws:username}}?"}, f"{OF_ANN}-x-eve1", ANNS, False, VARIABLES),
        # A statement with a variable that has no value is not valid as a whole.
        ({"Resource": OWN}, OWN, {}, False, VARIABLES),
        ({"Resource": [OWN, FUNCTION]}, FUNCTION, {}, False, VARIABLES),
        ({"NotResource": OWN}, FUNCTION, {}, False, VARIABLES),
        (
            {"Resource": OWN},
            OF_ANN,
            {"aws:username": ("ann", "eve")},
            False,
            "Single-valued vs. multivalued context keys",
        ),
        (
            {"Resource": OWN.replace("}", ", 'none'}")},
            OWN.replace("${aws:username}", "none"),
            {},
            True,
            VARIABLES,
        ),
        ({"Resource": OWN.replace("}", ", 'none'}")}, OF_ANN, ANNS, True, VARIABLES),
        ({"Resource": OWN.replace("aws:username", "*")}, OF_STAR, {}, True, VARIABLES),
        ({"Resource": OWN.replace("aws:username", "*")}, FUNCTION, {}, False, VARIABLES),
        (
            {"Resource": OWN.replace("aws:username", "?")},
            OWN.replace("${aws:username}", "?"),
            {},
            True,
            VARIABLES,
        ),
        (
            {"Resource": OWN.replace("aws:username", "$")},
            OWN.replace("${aws:username}", "$"),
            {},
            True,
            VARIABLES,
        ),
        # A value's own characters are no wildcards†.
        ({"Resource": OWN}, FUNCTION, {"aws:username": ("*",)}, False, "†"),
        ({"Resource": OWN}, OF_STAR, {"aws:username": ("*",)}, True, "†"),
    ],
)
def test_variables_stand_for_the_requests_values(
    element: Json, resource: str, context: dict[str, tuple[str, ...]], matches: bool, page: str
) -> None:
    policy = compiled({"Effect": "Allow", "Action": "*", **element})

    assert allows(policy, resource=resource, context=context) is matches, page


@pytest.mark.parametrize("version", ["2008-10-17", None])
def test_variables_are_plain_text_before_2012(version: str | None) -> None:
    policy = compiled(statement(Resource=OWN), version=version)

    assert allows(policy, resource=OWN, context=ANNS), VARIABLES
    assert not allows(policy, resource=OF_ANN, context=ANNS), VARIABLES


# -- Conditions ----------------------------------------------------------------------

ARN = "arn:aws:someservice:*:111122223333:finance/*"
CROSSING = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"


@pytest.mark.parametrize(
    ("operator", "wanted", "given_values", "holds", "page"),
    [
        ("StringEquals", "a", ("a",), True, CONDITION_OPERATORS),
        ("StringEquals", "a", ("A",), False, CONDITION_OPERATORS),
        ("StringEquals", "a*", ("ab",), False, CONDITION_OPERATORS),
        ("StringEquals", "a", (), False, CONDITION_OPERATORS),
        ("StringEquals", ["a", "b"], ("b",), True, MULTIPLE),
        ("StringNotEquals", ["a", "b"], ("b",), False, MULTIPLE),
        ("StringNotEquals", ["a", "b"], ("c",), True, MULTIPLE),
        ("StringNotEquals", "a", (), True, CONDITION_OPERATORS),
        ("StringEqualsIgnoreCase", "aB", ("Ab",), True, CONDITION_OPERATORS),
        ("StringNotEqualsIgnoreCase", "aB", ("Ab",), False, CONDITION_OPERATORS),
        ("StringLike", ["", "home/"], ("",), True, CONDITION_OPERATORS),
        ("StringLike", "a?c*", ("abcd",), True, CONDITION_OPERATORS),
        ("StringLike", "A?c*", ("abcd",), False, CONDITION_OPERATORS),
        ("StringNotLike", "a*", ("abcd",), False, CONDITION_OPERATORS),
        ("StringLike", ARN, (CROSSING,), True, CONDITION_OPERATORS),
        ("ArnLike", ARN, (CROSSING,), False, CONDITION_OPERATORS),
        ("ArnEquals", ARN, ("arn:aws:someservice:x:111122223333:finance/a:b",), True, CONDITION_OPERATORS),
        ("ArnNotLike", ARN, (CROSSING,), True, CONDITION_OPERATORS),
        ("ArnNotEquals", ARN, ("arn:aws:someservice:x:111122223333:finance/a",), False, CONDITION_OPERATORS),
        ("ArnLike", "*", (CROSSING,), True, "†"),
        ("ArnLike", "*", ("no ARN",), False, "†"),
        ("ArnLike", "arn:aws:*", (CROSSING,), False, CONDITION_OPERATORS),
        ("NumericEquals", "10", ("10.0",), True, CONDITION_OPERATORS),
        ("NumericEquals", 10, ("10",), True, GRAMMAR),
        ("NumericNotEquals", "10", ("9",), True, CONDITION_OPERATORS),
        ("NumericLessThan", "10", ("9.5",), True, CONDITION_OPERATORS),
        ("NumericLessThanEquals", "10", ("10",), True, CONDITION_OPERATORS),
        ("NumericGreaterThan", "10", ("9",), False, CONDITION_OPERATORS),
        ("NumericGreaterThanEquals", "-1e1", ("-10",), True, CONDITION_OPERATORS),
        ("NumericLessThan", "10", ("nine",), False, "†"),
        ("DateEquals", "2020-01-01T00:00:01Z", ("1577836801",), True, CONDITION_OPERATORS),
        ("DateEquals", "2020-01-01", ("2020-01-01T01:00+01:00",), True, CONDITION_OPERATORS),
        ("DateNotEquals", "2020-01-01", ("2020-01-01T00:00:00.5Z",), True, CONDITION_OPERATORS),
        ("DateLessThan", "2020", ("2019-12-31T23:59:59.999Z",), True, CONDITION_OPERATORS),
        ("DateLessThanEquals", "2020-02", ("2020-02-01",), True, CONDITION_OPERATORS),
        ("DateGreaterThan", 1577836801, ("2020-01-01T00:00:02Z",), True, CONDITION_OPERATORS),
        (
            "DateGreaterThanEquals",
            "2020-01-01T00:00:00-01:00",
            ("2020-01-01T00:59:59Z",),
            False,
            CONDITION_OPERATORS,
        ),
        ("DateLessThan", "2020", ("yesterday",), False, "†"),
        ("Bool", "true", ("true",), True, CONDITION_OPERATORS),
        ("Bool", False, ("false",), True, GRAMMAR),
        ("Bool", "false", ("true",), False, CONDITION_OPERATORS),
        ("BinaryEquals", "QmluYXJ5", ("QmluYXJ5",), True, CONDITION_OPERATORS),
        ("BinaryEquals", "QmluYXJ5", ("QmluYXJ6",), False, CONDITION_OPERATORS),
        ("IpAddress", "203.0.113.0/24", ("203.0.113.255",), True, CONDITION_OPERATORS),
        ("IpAddress", "203.0.113.0/24", ("203.0.114.0",), False, CONDITION_OPERATORS),
        ("IpAddress", "203.0.113.7", ("203.0.113.7",), True, CONDITION_OPERATORS),
        (
            "IpAddress",
            ["203.0.113.0/24", "2001:DB8:1234:5678::/64"],
            ("2001:db8:1234:5678::1",),
            True,
            CONDITION_OPERATORS,
        ),
        ("NotIpAddress", "203.0.113.0/24", ("203.0.113.1",), False, CONDITION_OPERATORS),
        ("NotIpAddress", "203.0.113.0/24", ("2001:db8::1",), True, CONDITION_OPERATORS),
        ("IpAddress", "0.0.0.0/0", ("localhost",), False, "†"),
        ("Null", "true", (), True, CONDITION_OPERATORS),
        ("Null", "false", (), False, CONDITION_OPERATORS),
        ("Null", True, ("a",), False, CONDITION_OPERATORS),
        ("Null", "false", ("a",), True, CONDITION_OPERATORS),
        ("Null", "false", ("",), False, SETS),
        ("StringEqualsIfExists", "a", (), True, CONDITION_OPERATORS),
        ("StringEqualsIfExists", "a", ("b",), False, CONDITION_OPERATORS),
        ("StringNotEqualsIfExists", "a", (), True, CONDITION_OPERATORS),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "b"), True, SETS),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "c"), False, SETS),
        ("ForAllValues:StringEquals", "a", (), True, SETS),
        ("ForAllValues:StringEquals", "a", ("",), True, SETS),
        ("ForAllValues:StringNotEquals", "a", ("b", "c"), True, SETS),
        ("ForAllValues:StringNotEquals", "a", ("a", "c"), False, SETS),
        ("ForAnyValue:StringLike", "a*", ("b", "ab"), True, SETS),
        ("ForAnyValue:StringLike", "a*", ("b", "c"), False, SETS),
        ("ForAnyValue:StringEquals", "a", (), False, SETS),
        ("ForAnyValue:StringNotEquals", "a", (), False, SETS),
        ("ForAnyValue:StringNotEquals", "a", ("a", "b"), True, SETS),
        ("ForAnyValue:StringEqualsIfExists", "a", (), True, SETS),
    ],
)
def test_condition_operators(
    operator: str, wanted: object, given_values: tuple[str, ...], holds: bool, page: str
) -> None:
    policy = compiled(statement(Condition={operator: {"Aws:Key": wanted}}))
    context = {"aws:key": given_values} if given_values else {}

    assert allows(policy, context=context) is holds, page


@pytest.mark.parametrize(
    ("condition", "holds", "page"),
    [
        ({"StringEquals": {"aws:a": "1"}, "Bool": {"aws:b": "true"}}, True, MULTIPLE),
        ({"StringEquals": {"aws:a": "1"}, "Bool": {"aws:b": "false"}}, False, MULTIPLE),
        ({"StringEquals": {"aws:a": "1", "AWS:B": "true"}}, True, MULTIPLE),
        ({"StringEquals": {"aws:a": "1", "AWS:B": "false"}}, False, MULTIPLE),
        ({"StringEquals": {"aws:a": "${aws:a}"}}, True, VARIABLES),
        ({"StringLike": {"aws:b": "t*${aws:c, 'ue'}"}}, True, VARIABLES),
        ({"StringEqualsIgnoreCase": {"aws:b": "${AWS:b}"}}, True, VARIABLES),
        ({"ArnLike": {"aws:arn": "arn:aws:iam::*:user/${aws:a}"}}, True, VARIABLES),
        ({"ArnEquals": {"aws:arn": "${aws:arn}"}}, True, VARIABLES),
        ({"StringNotEquals": {"aws:a": "${aws:absent}"}}, False, VARIABLES),
        # What is not there is not compared, so the variable is not asked for.
        ({"StringEqualsIfExists": {"aws:absent": "${aws:absent}"}}, True, VARIABLES),
        ({}, True, GRAMMAR),
    ],
)
def test_conditions_hold_together(condition: Json, holds: bool, page: str) -> None:
    policy = compiled(statement(Condition=condition))
    context = {"aws:a": ("1",), "aws:b": ("true",), "aws:arn": (f"arn:aws:iam::{OURS}:user/1",)}

    assert allows(policy, context=context) is holds, page


def test_a_denial_whose_variable_has_no_value_does_not_apply() -> None:
    """IAM policy elements: Variables and tags: "this might cause the entire statement to be invalid"."""
    denial = statement("Deny", Condition={"StringNotEquals": {"aws:a": "${aws:username}"}})

    assert decide(ANN, [statement(), denial], None, **{"aws:a": ("1",)}) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("element", "depends"),
    [
        ({}, False),
        ({"Resource": OWN.replace("aws:username", "*")}, False),
        ({"Condition": {}}, False),
        ({"Resource": OWN}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
    ],
)
def test_policies_tell_whether_the_context_counts(element: Json, depends: bool) -> None:
    assert compiled(statement("Deny", **element)).depends_on_context is depends


# -- Malformed ------------------------------------------------------------------------

GOOD = statement()


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "The policy is no JSON object."),
        ({}, "The policy has no Statement."),
        ({"Statement": []}, "The policy has no Statement."),
        ({"Statement": "x"}, "Statement 1: It is no object."),
        ({"Version": "2012-10-18", "Statement": GOOD}, "Version is neither 2012-10-17 nor 2008-10-17."),
        ({"Version": [], "Statement": GOOD}, "Version is neither 2012-10-17 nor 2008-10-17."),
        ({"Id": "x", "Statement": GOOD}, "The policy may not have an element 'Id'."),
        ({"Statement": [GOOD, {"Sid": "x"}]}, "Statement 2: Effect is neither Allow nor Deny."),
        ({"Statement": statement("allow")}, "Statement 1: Effect is neither Allow nor Deny."),
        ({"Statement": statement(Sid=[])}, "Statement 1: Sid is no text."),
        ({"Statement": statement(Actions="*")}, "Statement 1: It may not have an element 'Actions'."),
        ({"Statement": statement(NotAction="*")}, "Statement 1: Action and NotAction exclude each other."),
        ({"Statement": statement(Action=None)}, "Statement 1: Action is null."),
        ({"Statement": statement(Action=[])}, "Statement 1: Action is neither a text nor a list of texts."),
        ({"Statement": statement(Action="Invoke")}, "Statement 1: Action 'Invoke' does not name its service."),
        ({"Statement": {"Effect": "Allow", "Action": "*"}}, "Statement 1: It has neither Resource nor NotResource."),
        ({"Statement": statement(Resource="f")}, "Statement 1: Resource 'f' is neither an ARN nor \"*\"."),
        ({"Statement": statement(Resource=[{}])}, "Statement 1: Resource is neither a text nor a list of texts."),
        ({"Statement": statement(Principal="*")}, "Statement 1: A policy of a user or role may not name principals."),
        ({"Statement": statement(Condition=[])}, "Statement 1: Condition is no object."),
        ({"Statement": statement(Condition={"Bool": "true"})}, "Statement 1: Bool is no object."),
        ({"Statement": statement(Condition={"Bool": {"k": []}})}, "Statement 1: Bool k has no value."),
        ({"Statement": statement(Condition={"Bool": {"": "true"}})}, "Statement 1: Bool has a key without a name."),
        ({"Statement": statement(Condition={"Bool": {"k": None}})}, "Statement 1: Bool k has a value that is no text, number or Boolean."),
        ({"Statement": statement(Condition={"Is": {"k": "v"}})}, "Statement 1: 'Is' is no condition operator."),
        ({"Statement": statement(Condition={"NullIfExists": {"k": "true"}})}, "Statement 1: 'NullIfExists' is no condition operator."),
        ({"Statement": statement(Condition={"ForNoValue:Bool": {"k": "true"}})}, "Statement 1: 'ForNoValue:Bool' is no condition operator."),
        ({"Statement": statement(Condition={"Bool": {"k": "yes"}})}, "Statement 1: Bool takes true or false, not 'yes'."),
        ({"Statement": statement(Condition={"Null": {"k": "yes"}})}, "Statement 1: Null takes true or false, not 'yes'."),
        ({"Statement": statement(Condition={"NumericEquals": {"k": "1_0"}})}, "Statement 1: NumericEquals takes numbers, not '1_0'."),
        ({"Statement": statement(Condition={"DateEquals": {"k": "2020-13-01"}})}, "Statement 1: DateEquals takes dates, not '2020-13-01'."),
        ({"Statement": statement(Condition={"IpAddress": {"k": "10.0.0.0/33"}})}, "Statement 1: IpAddress takes an IP address or range, not '10.0.0.0/33'."),
        ({"Statement": statement(Condition={"BinaryEquals": {"k": "-"}})}, "Statement 1: BinaryEquals takes base64, not '-'."),
    ],
)  # fmt: skip
def test_malformed_policies_are_refused_in_one_sentence(document: object, sentence: str) -> None:
    with pytest.raises(MalformedPolicy) as refusal:
        parse_policy(json.dumps(document))
    assert refusal.value.sentence == sentence


@pytest.mark.parametrize(
    ("principal", "sentence"),
    [
        (None, "Statement 1: Principal is null."),
        ("arn", 'Statement 1: Principal is neither "*" nor an object.'),
        ({}, 'Statement 1: Principal is neither "*" nor an object.'),
        ({"User": "x"}, "Statement 1: Principal may not have an element 'User'."),
        ({"AWS": "ann"}, "Statement 1: 'ann' names no principal."),
        ({"AWS": "arn:aws:s3:::b"}, "Statement 1: 'arn:aws:s3:::b' names no principal."),
        ({"AWS": f"arn:aws:iam::{OURS}:user/*"}, f"Statement 1: Principal 'arn:aws:iam::{OURS}:user/*' has a wildcard."),
        ({"Service": "*.amazonaws.com"}, "Statement 1: Principal '*.amazonaws.com' has a wildcard."),
        ({"Service": ""}, "Statement 1: '' names no principal."),
        ({"Service": ANN.arn}, f"Statement 1: '{ANN.arn}' names no principal."),
    ],
)  # fmt: skip
def test_malformed_principals_are_refused(principal: object, sentence: str) -> None:
    with pytest.raises(MalformedPolicy) as refusal:
        compiled(statement(Principal=principal), of_resource=True)
    assert refusal.value.sentence == sentence


def test_a_resource_policy_needs_a_principal() -> None:
    with pytest.raises(MalformedPolicy, match="neither Principal nor NotPrincipal"):
        compiled(statement(), of_resource=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The policy is not valid JSON: Expecting value: line 1 column 1 (char 0)."),
        ('{"Statement": NaN}', "The policy is not valid JSON: NaN is no number."),
        ("[" * 20_000, "The policy is not valid JSON: it is nested too deeply."),
        ('{"Id": "a", "Id": "b"}', "'Id' stands twice in one object."),
        ('"' + "a" * POLICY_CHARACTERS + '"', "The policy is longer than 20480 characters."),
        ('"' + "*" * 1_001 + '"', "The policy has more than 1000 wildcards and variables."),
    ],
)
def test_texts_that_are_no_policies_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(MalformedPolicy) as refusal:
        parse_policy(text, resource_based=True)
    assert refusal.value.sentence == sentence


@pytest.mark.parametrize(
    "variable", ["${", "${}", "${a", "${a, b}", "${a, 'b}", "${, 'b'}", "${a${b}}", "${a'b}"]
)
def test_malformed_variables_are_refused(variable: str) -> None:
    with pytest.raises(MalformedPolicy):
        compiled(statement(Condition={"StringEquals": {"aws:a": variable}}))
    compiled(statement(Condition={"StringEquals": {"aws:a": variable}}), version="2008-10-17")


def test_variables_before_the_fifth_colon_are_refused() -> None:
    with pytest.raises(MalformedPolicy, match="before its fifth colon"):
        compiled(statement(Resource="arn:aws:lambda:${aws:username}:1:function:f"))


def test_white_space_does_not_count_towards_the_length() -> None:
    parse_policy(json.dumps({"Statement": GOOD}) + " " * POLICY_CHARACTERS)


# -- Open-ended -------------------------------------------------------------------------


def matches_by_trying(pattern: str, text: str) -> bool:
    """The definition of a wildcard pattern, without any thought of speed."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches_by_trying(pattern[1:], text[skipped:]) for skipped in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and matches_by_trying(pattern[1:], text[1:])


@given(pattern=st.text("ab:.\n*?", max_size=8), text=st.text("ab:.\n", max_size=8))
def test_wildcards_match_as_defined(pattern: str, text: str) -> None:
    policy = compiled(statement(Condition={"StringLike": {"aws:a": pattern}}))

    assert allows(policy, context={"aws:a": (text,)}) is matches_by_trying(pattern, text)


@given(
    pattern=st.text("ab:*?", max_size=8),
    value=st.text("ab:*?\\", max_size=3),
    text=st.text("ab:*?\\", max_size=8),
)
def test_a_variable_is_its_value_letter_by_letter(pattern: str, value: str, text: str) -> None:
    with_variable = compiled(statement(Condition={"StringLike": {"aws:a": f"{pattern}${{aws:v}}{pattern}"}}))
    spelled = "".join(f"${{{each}}}" if each in "*?" else each for each in value)
    with_value = compiled(statement(Condition={"StringLike": {"aws:a": f"{pattern}{spelled}{pattern}"}}))
    context = {"aws:a": (text,), "aws:v": (value,)}

    assert allows(with_variable, context=context) is allows(with_value, context=context)


@given(
    pattern=st.lists(st.text("ab*?", max_size=3), min_size=6, max_size=7),
    text=st.lists(st.text("ab", max_size=3), min_size=5, max_size=7),
)
def test_arns_match_part_by_part(pattern: list[str], text: list[str]) -> None:
    policy = compiled(statement(Condition={"ArnLike": {"aws:a": ":".join(pattern)}}))
    parts, wanted = ":".join(text).split(":", 5), ":".join(pattern).split(":", 5)
    same = len(parts) == len(wanted) and all(map(matches_by_trying, wanted, parts))

    assert allows(policy, context={"aws:a": (":".join(text),)}) is same


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Allow", "*", "arn:"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Version",
                    "Statement",
                    "Effect",
                    "Principal",
                    "Action",
                    "Resource",
                    "Condition",
                    "Bool",
                    "AWS",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(document=_JSON, resource_based=st.booleans())
def test_whatever_is_no_policy_is_malformed(document: object, resource_based: bool) -> None:
    try:
        policy = parse_policy(json.dumps(document), resource_based=resource_based)
    except MalformedPolicy:
        return
    assert evaluate([], policy, OURS, AccessRequest(INVOKE, FUNCTION, ANN, {})) in Decision


@pytest.mark.parametrize(
    "pattern",
    ["arn:" + "*a" * 480 + "b", "arn:*" + "?a" * 900 + "b", ["arn:*" + "a" * 120 + "b*c"] * 140],
)
def test_no_pattern_takes_long(pattern: str | list[str]) -> None:
    # Backtracking would take ages here and run into the time limit of the suite.
    elements = {"Effect": "Allow", "Action": "*", "Resource": pattern}

    assert not allows(compiled(elements), resource="arn:" + "a" * 2_000)
