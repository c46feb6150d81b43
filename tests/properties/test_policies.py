"""Policies, evaluated by the server and by a second evaluator which was written from AWS's pages alone.

Source: docs/aws-behaviour.md, versions-permissions 5.6 and 5.8.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.iam.access_control import IAMPolicy, PermissionResult
from tests import policy_documents as made
from tests.policy_documents import FUNCTIONS, HERE, THERE, Asker, Case, Request
from tests.policy_oracle import decide
from tests.properties.fuzzed import fuzzed

from lambent.model.identities import Principal
from lambent.model.policies import AccessRequest, Decision, MalformedPolicy, evaluate, parse_policy

Evaluator = Callable[[Case], list[str]]


def by_server(case: Case) -> list[str]:
    """Return the server's decision on every request of a case."""
    identity = [parse_policy(text) for text in case.identity_texts]
    text = case.resource_text
    resource = None if text is None else parse_policy(text, resource_based=True)
    return [
        evaluate(identity if has_policies(one.who) else [], resource, HERE, asked_of_server(one)).name
        for one in case.requests
    ]


def by_oracle(case: Case) -> list[str]:
    """Return the second evaluator's."""
    return [
        decide(
            case.identity if has_policies(one.who) else [],
            case.resource,
            HERE,
            one.who,
            one.action,
            one.arn,
            one.context,
        )
        for one in case.requests
    ]


def has_policies(who: Asker) -> bool:
    return who.kind in {"User", "AssumedRole"}


def asked_of_server(request: Request) -> AccessRequest:
    who = request.who
    principal = Principal(
        arn=who.arn,
        account=who.account,
        kind=who.kind,
        user_id=who.user_id,
        username=who.username,
        role_arn=who.role_arn,
    )
    return AccessRequest(
        action=request.action, resource=request.arn, principal=principal, context=request.context
    )


def assert_alike(case: Case) -> None:
    decisions = zip(case.requests, by_server(case), by_oracle(case), strict=True)

    # As (request, server's, oracle's).
    assert [one for one in decisions if one[1] != one[2]] == []


@fuzzed(250)
@given(made.CASES)
def test_both_evaluators_decide_alike_under_whole_policies(case: Case) -> None:
    assert_alike(case)


@fuzzed(600)
@given(made.COMPARED_CASES)
def test_both_evaluators_decide_alike_on_every_value_of_a_condition_key(case: Case) -> None:
    assert_alike(case)


@fuzzed(300)
@given(made.NAMED_CASES)
def test_both_evaluators_decide_alike_about_everybody(case: Case) -> None:
    assert_alike(case)


@fuzzed(150)
@given(made.TARGET_CASES)
def test_both_evaluators_decide_alike_on_every_action_and_resource(case: Case) -> None:
    assert_alike(case)


def test_generated_cases_reach_every_decision_often_enough() -> None:
    reached: Counter[str] = Counter()
    kinds: Counter[tuple[str, bool]] = Counter()

    @fuzzed(200)
    @given(made.CASES)
    def sample(case: Case) -> None:
        for request, decision in zip(case.requests, by_oracle(case), strict=True):
            reached[decision] += 1
            kinds[request.who.kind, decision == "ALLOWED"] += 1

    sample()
    share = {decision: count / reached.total() for decision, count in reached.items()}

    assert set(share) == {decision.name for decision in Decision}
    assert 0.15 < share["ALLOWED"] < 0.6
    assert min(share.values()) > 0.005
    assert set(kinds) == {
        (kind, allowed)
        for kind in ("Account", "User", "AssumedRole", "Service", "Anonymous")
        for allowed in (True, False)
    }


# ------------------------------------------------------------------------- what AWS's pages show

WHO = made.user(HERE, "f")
BUCKET = "arn:aws:s3:::bucket"


def allow(**elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "*", "Resource": "*", **elements}


def deny(**elements: Any) -> dict[str, Any]:
    return allow(**elements) | {"Effect": "Deny"}


def policy(*statements: dict[str, Any], version: str | None = "2012-10-17") -> dict[str, Any]:
    return ({"Version": version} if version else {}) | {"Statement": list(statements)}


@pytest.fixture(params=[by_server, by_oracle])
def evaluator(request: pytest.FixtureRequest) -> Evaluator:
    found: Evaluator = request.param
    return found


def one_decision(
    evaluator: Evaluator,
    *identity: dict[str, Any],
    resource: dict[str, Any] | None = None,
    who: Asker = WHO,
    key: tuple[str, ...] = (),
) -> str:
    """Return the decision on invoking a function, ``aws:key`` having these values."""
    context = made.known(who) | ({"aws:key": key} if key else {})
    request = Request(who, "lambda:InvokeFunction", FUNCTIONS + "f", context)
    (decision,) = evaluator(Case(identity, resource, [request]))
    return decision


# From "Condition operators" and "Single-valued vs. multivalued context keys".
LONG = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"
SHORT = "arn:aws:someservice:*:111122223333:finance/*"


@pytest.mark.parametrize(
    ("operator", "wanted", "given_values", "holds"),
    [
        ("StringLike", SHORT, (LONG,), True),
        ("ArnLike", SHORT, (LONG,), False),
        ("ArnEquals", "arn:aws:s3:::b*", (BUCKET,), True),
        ("ArnNotEquals", "arn:aws:s3:::b*", (BUCKET,), False),
        ("StringEquals", "buck*", ("bucket",), False),
        ("StringEquals", "Bucket", ("bucket",), False),
        ("StringEqualsIgnoreCase", "Bucket", ("bucket",), True),
        ("StringEquals", ["a", "b"], ("b",), True),
        ("StringNotEquals", ["a", "b"], ("b",), False),
        ("StringNotEquals", ["a", "b"], ("c",), True),
        ("StringLike", "b", (), False),
        ("StringNotLike", "b", (), True),
        ("ArnNotLike", "arn:aws:s3:::b", (), True),
        ("NumericLessThan", "10", (), False),
        ("StringLikeIfExists", "b", (), True),
        ("StringLikeIfExists", "b", ("c",), False),
        ("StringNotEqualsIfExists", "b", (), True),
        ("Null", "true", (), True),
        ("Null", "false", (), False),
        ("Null", "false", ("b",), True),
        ("NumericLessThanEquals", "10", ("10",), True),
        ("NumericLessThanEquals", 10, ("9.5",), True),
        ("DateGreaterThan", "2020-01-01T00:00:01Z", ("2020-01-01T00:00:01Z",), False),
        ("DateGreaterThan", "2020-01-01T00:00:01Z", ("1577836802",), True),
        ("Bool", "false", ("false",), True),
        ("IpAddress", "203.0.113.0/24", ("203.0.113.255",), True),
        ("IpAddress", ["203.0.113.0/24", "2001:DB8:1234:5678::/64"], ("2001:db8:1234:5678::1",), True),
        ("NotIpAddress", "203.0.113.0", ("203.0.113.1",), True),
        ("ForAllValues:StringLike", ["PostDateTime", "Message", "Tags"], ("PostDateTime", "Message"), True),
        ("ForAllValues:StringLike", ["PostDateTime", "Message", "Tags"], ("PostDateTime", "ID"), False),
        ("ForAnyValue:StringLike", ["ID", "PostDateTime"], ("PostDateTime", "Message"), True),
        ("ForAnyValue:StringLike", ["ID", "PostDateTime"], ("UserName",), False),
        ("ForAllValues:StringEquals", "a", (), True),
        ("ForAnyValue:StringEquals", "a", (), False),
        ("ForAnyValue:StringNotEquals", "a", (), False),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ("a", "c"), True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ("a", "b"), False),
        ("ForAllValues:StringNotEquals", ["a", "b"], ("a", "c"), False),
    ],
)
def test_conditions_hold_as_published(
    evaluator: Evaluator, operator: str, wanted: Any, given_values: tuple[str, ...], *, holds: bool
) -> None:
    conditional = policy(allow(Condition={operator: {"aws:Key": wanted}}))

    assert (one_decision(evaluator, conditional, key=given_values) == "ALLOWED") is holds


@pytest.mark.parametrize(
    ("resource", "version", "applies"),
    [
        (FUNCTIONS + "${aws:username}", "2012-10-17", True),
        (FUNCTIONS + "${AWS:UserName}", "2012-10-17", True),
        (FUNCTIONS + "${aws:username}", "2008-10-17", False),
        (FUNCTIONS + "${aws:username}", None, False),
        (FUNCTIONS + "${aws:TokenIssueTime}", "2012-10-17", False),
        (FUNCTIONS + "${aws:TokenIssueTime, 'f'}", "2012-10-17", True),
        (FUNCTIONS + "${aws:username, 'g'}", "2012-10-17", True),
        (FUNCTIONS + "${*}", "2012-10-17", False),
        (FUNCTIONS + "?", "2012-10-17", True),
        (FUNCTIONS + "f:*", "2012-10-17", False),
        ("arn:aws:lambda:us-east-1:*", "2012-10-17", True),
    ],
)
def test_resources_and_variables_are_read_as_published(
    evaluator: Evaluator, resource: str, version: str | None, *, applies: bool
) -> None:
    decision = one_decision(evaluator, policy(allow(Resource=resource), version=version))

    assert (decision == "ALLOWED") is applies


def test_a_name_that_is_an_asterisk_widens_nothing(evaluator: Evaluator) -> None:
    own = policy(allow(Resource=FUNCTIONS + "${aws:username}"))

    assert one_decision(evaluator, own, who=made.user(HERE, "*")) == "NO_IDENTITY_POLICY"


USER, ROLE, SESSION = WHO, made.session(HERE, "r", "s").role_arn, made.session(HERE, "r", "s")


@pytest.mark.parametrize(
    ("who", "principal", "decision"),
    [
        (USER, USER.arn, "ALLOWED"),
        (USER, "*", "ALLOWED"),
        (USER, HERE, "NO_IDENTITY_POLICY"),
        (USER, made.root(HERE).arn, "NO_IDENTITY_POLICY"),
        (SESSION, ROLE, "ALLOWED"),
        (SESSION, SESSION.arn, "ALLOWED"),
        (SESSION, made.session(HERE, "r", "t").arn, "NO_IDENTITY_POLICY"),
        (made.user(THERE, "f"), "*", "NO_IDENTITY_POLICY"),
        (made.root(HERE), USER.arn, "ALLOWED"),
        (made.root(THERE), THERE, "ALLOWED"),
        (made.root(THERE), USER.arn, "NO_RESOURCE_POLICY"),
        (made.SERVICES[0], "*", "ALLOWED"),
        (made.SERVICES[0], HERE, "NO_RESOURCE_POLICY"),
        (made.ANONYMOUS, "*", "ALLOWED"),
        (made.ANONYMOUS, HERE, "NO_RESOURCE_POLICY"),
    ],
)
def test_a_resource_policy_alone_suffices_for_whom_it_names(
    evaluator: Evaluator, who: Asker, principal: str, decision: str
) -> None:
    assert one_decision(evaluator, resource=policy(allow(Principal={"AWS": principal})), who=who) == decision


@pytest.mark.parametrize("principal", [THERE, made.user(THERE, "f").arn, made.root(THERE).arn, "*"])
def test_another_account_needs_both_policies(evaluator: Evaluator, principal: str) -> None:
    stranger = made.user(THERE, "f")
    shared = policy(allow(Principal={"AWS": principal}))

    assert one_decision(evaluator, policy(allow()), resource=shared, who=stranger) == "ALLOWED"
    assert one_decision(evaluator, policy(allow()), who=stranger) == "NO_RESOURCE_POLICY"
    assert one_decision(evaluator, resource=shared, who=stranger) == "NO_IDENTITY_POLICY"


def test_an_explicit_deny_overrides_every_allow_and_the_identitys_is_told_first(evaluator: Evaluator) -> None:
    open_to_all = policy(allow(Principal="*"))
    closed = policy(allow(Principal="*"), deny(Principal={"AWS": HERE}))

    assert one_decision(evaluator, policy(allow(), deny()), resource=closed) == "DENIED_BY_IDENTITY_POLICY"
    assert one_decision(evaluator, policy(deny()), resource=open_to_all) == "DENIED_BY_IDENTITY_POLICY"
    assert one_decision(evaluator, policy(allow()), resource=closed) == "DENIED_BY_RESOURCE_POLICY"
    assert one_decision(evaluator, resource=closed, who=made.root(HERE)) == "DENIED_BY_RESOURCE_POLICY"


@pytest.mark.parametrize(
    ("wanted", "key", "holds"),
    [
        ({"StringNotEquals": {"aws:Key": "${aws:username}"}}, ("k",), False),
        ({"StringEquals": {"aws:Key": ["k", "${aws:username}"]}}, ("k",), False),
        ({"StringEquals": {"aws:Key": ["k", "${aws:username, 'k'}"]}}, ("k",), True),
        ({"StringEqualsIfExists": {"aws:Key": "${aws:username}"}}, (), True),
    ],
)
def test_a_variable_without_a_value_makes_the_statement_invalid(
    evaluator: Evaluator, wanted: dict[str, Any], key: tuple[str, ...], *, holds: bool
) -> None:
    decision = one_decision(evaluator, policy(allow(Condition=wanted)), who=SESSION, key=key)

    assert (decision == "ALLOWED") is holds


@pytest.mark.parametrize(
    ("spared", "who", "decision"),
    [
        ([USER.arn, HERE], USER, "ALLOWED"),
        ([USER.arn, HERE], made.user(HERE, "g"), "DENIED_BY_RESOURCE_POLICY"),
        ([USER.arn, HERE], made.root(HERE), "ALLOWED"),
        ([SESSION.arn, ROLE, made.root(HERE).arn], SESSION, "ALLOWED"),
    ],
)
def test_a_deny_spares_those_that_its_notprincipal_names_themselves(
    evaluator: Evaluator, spared: list[str], who: Asker, decision: str
) -> None:
    guarded = policy(deny(NotPrincipal={"AWS": spared}))

    assert one_decision(evaluator, policy(allow()), resource=guarded, who=who) == decision


# ------------------------------------------------------------------------- what no page tells

ANYTHING = [value for kind in (*made.FREE, *made.WHO, made.SET) for value in kind.wanted]
ODD = [
    "",
    "${",
    "${}",
    "${aws:username",
    "${aws:username,'x'}",
    "arn:",
    "10.0.0.1/8",
    "NaN",
    "1e999",
    "9" * 30,
    "2026-13",
]
COMPARED = st.tuples(
    st.sampled_from(
        sorted({name for kind in (*made.FREE, made.SET) for name in made.operators(kind)} | {"Null"})
    ),
    st.sampled_from([key for kind in (*made.FREE, *made.WHO, made.SET) for key in kind.keys]),
    made.some([*ANYTHING, *ODD]),
)


@fuzzed(300)
@given(
    st.lists(COMPARED, min_size=1, max_size=3).map(made.condition),
    made.some([*made.ARN_PATTERNS, *ODD]),
    made.REQUESTS,
    st.lists(st.sampled_from(list(map(str, [*ANYTHING, *ODD]))), max_size=3).map(tuple),
)
def test_whatever_is_compared_with_whatever_there_is_a_decision(
    condition: dict[str, Any], resource: Any, requests: list[Request], values: tuple[str, ...]
) -> None:
    text = json.dumps(policy(allow(Condition=condition, Resource=resource)))
    try:
        parsed = parse_policy(text)
    except MalformedPolicy:
        return
    for request in requests:
        keys = ("aws:sourcearn", "s3:max-keys", "aws:currenttime", "aws:sourceip", "aws:securetransport")
        odd = Request(
            request.who, request.action, request.arn, {**request.context, **dict.fromkeys(keys, values)}
        )
        assert evaluate([parsed], None, HERE, asked_of_server(odd)) in Decision


# ------------------------------------------------------------------------- a third evaluator

# What moto reads as IAM does: actions, resources and effects. It compares actions with their case, takes
# `?` and variables for regular expressions, knows no NotResource, and denies where a condition fails.
PLAIN = [pattern for pattern in made.ACTION_PATTERNS if "?" not in pattern and pattern[:6] != "LAMBDA"]
PLAIN_ARNS = [pattern for pattern in made.ARN_PATTERNS if not set("?$") & set(pattern)]
MOTO_STATEMENTS = st.builds(
    lambda effect, action, resource: {"Effect": effect, **action, "Resource": resource},
    st.sampled_from(["Allow", "Allow", "Deny"]),
    made.element("Action", made.some(PLAIN)),
    made.some(PLAIN_ARNS),
)
MOTO_POLICIES = (MOTO_STATEMENTS | st.lists(MOTO_STATEMENTS, min_size=1, max_size=3)).map(
    lambda drawn: {"Version": "2012-10-17", "Statement": drawn}
)


@fuzzed(200)
@given(
    st.lists(MOTO_POLICIES, max_size=2),
    st.lists(st.tuples(made.ACTIONS, made.ARNS), min_size=6, max_size=6),
)
def test_moto_decides_alike_where_it_reads_all(
    identity: list[dict[str, Any]], asked: list[tuple[str, str]]
) -> None:
    case = Case(identity, None, [Request(WHO, action, arn, made.known(WHO)) for action, arn in asked])

    assert by_server(case) == [by_moto(identity, action, arn) for action, arn in asked]


def by_moto(identity: list[dict[str, Any]], action: str, arn: str) -> str:
    results = {IAMPolicy(json.dumps(one)).is_action_permitted(action, arn) for one in identity}
    if PermissionResult.DENIED in results:
        return "DENIED_BY_IDENTITY_POLICY"
    return "ALLOWED" if PermissionResult.PERMITTED in results else "NO_IDENTITY_POLICY"
