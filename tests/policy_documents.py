"""Policies, and requests that they may be about, made by hypothesis.

Alphabets are small, so that what is asked is often what is named: two accounts, a few functions, users and
roles, and of every condition key a handful of values. All elements of the policy language are there; left
out is what AWS does not document: malformed variables and values, values of another type than the
operator's, several values under an operator that is not of a set, wildcards before the colon of an action.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

HERE, THERE = "111111111111", "222222222222"
FUNCTIONS = f"arn:aws:lambda:us-east-1:{HERE}:function:"


@dataclass(frozen=True)
class Asker:
    """Who asks, with what a principal is made of."""

    arn: str
    account: str
    kind: str
    user_id: str = ""
    username: str | None = None
    role_arn: str | None = None


@dataclass(frozen=True)
class Request:
    """One question; the keys of its context are lower-case."""

    who: Asker
    action: str
    arn: str
    context: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Case:
    """Policies of one identity and one resource, and what is asked under them."""

    identity: Sequence[dict[str, Any]]
    resource: dict[str, Any] | None
    requests: Sequence[Request]

    @property
    def identity_texts(self) -> list[str]:
        return [json.dumps(policy) for policy in self.identity]

    @property
    def resource_text(self) -> str | None:
        return None if self.resource is None else json.dumps(self.resource)


# ------------------------------------------------------------------------- who, and what they ask for


def user(account: str, name: str) -> Asker:
    return Asker(f"arn:aws:iam::{account}:user/{name}", account, "User", f"AIDA{name}", name)


def session(account: str, role: str, name: str) -> Asker:
    return Asker(
        f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
        account,
        "AssumedRole",
        f"AROA{role}:{name}",
        role_arn=f"arn:aws:iam::{account}:role/{role}",
    )


def root(account: str) -> Asker:
    return Asker(f"arn:aws:iam::{account}:root", account, "Account", account)


# A name that is an asterisk must widen no policy that it is put into.
USERS = [user(HERE, "f"), user(HERE, "g"), user(HERE, "*"), user(THERE, "f"), user(THERE, "g")]
SESSIONS = [
    session(HERE, "r", "f"),
    session(HERE, "r", "s"),
    session(THERE, "r", "f"),
    session(THERE, "q", "s"),
]
ROOTS = [root(HERE), root(THERE)]
SERVICES = [Asker(name, "", "Service") for name in ("s3.amazonaws.com", "events.amazonaws.com")]
ANONYMOUS = Asker("*", "", "Anonymous")
ASKERS = [*USERS, *SESSIONS, *ROOTS, *SERVICES, ANONYMOUS]

ASKED_ACTIONS = ["lambda:InvokeFunction", "lambda:GetFunction", "lambda:GetPolicy"]
ACTIONS = st.sampled_from([ASKED_ACTIONS[0], *ASKED_ACTIONS])
ACTION_PATTERNS = [
    "*",
    "lambda:*",
    "lambda:InvokeFunction",
    "lambda:*",
    "lambda:InvokeFunction",
    "LAMBDA:invokefunction",
    "lambda:Get*",
    "lambda:get??????",
    "lambda:?nvoke*",
    "lambda:*Function",
    "lambda:GetFunction",
    "lambda:Invoke",
    "s3:*",
    "s3:GetObject",
]

ASKED_ARNS = [FUNCTIONS + name for name in ("f", "f:live", "f:1", "g", "fg", "AIDAf")]
ARNS = st.sampled_from([ASKED_ARNS[0], *ASKED_ARNS])
ARN_PATTERNS = [
    *["*"] * 4,
    "arn:aws:lambda:us-east-1:*",
    "arn:aws:lambda:*:*:function:*",
    f"arn:aws:lambda:*:{HERE}:function:f*",
    f"arn:aws:lambda:us-????-1:{THERE}:function:*",
    "arn:aws:s3:::*",
    *(FUNCTIONS + name for name in ("f", "g", "F", "f:live", "f:*", "?", "??", "*:live", "*f", "")),
    # In the last part of an ARN alone: elsewhere variables are not allowed.
    *(FUNCTIONS + name for name in ("${aws:username}", "${AWS:UserName}*", "${aws:userid}", "f${*}")),
    *(FUNCTIONS + name for name in ("${aws:username, 'g'}", "${aws:TagKeys, 'f'}:live", "${?}", "${$}")),
]
PRINCIPALS = [
    # But for the asterisk: a principal is named whole.
    *(one.arn for one in (*USERS, *SESSIONS, *ROOTS) if one.username != "*"),
    *{one.role_arn for one in SESSIONS if one.role_arn},
    HERE,
    THERE,
    *["*"] * 4,
]
SERVICE_NAMES = [one.arn for one in SERVICES]

# ------------------------------------------------------------------------- conditions

STRINGS = ["f", "g", "F", "fg", "*", "$", "f*", "${aws:username}", "f, 'g'", HERE]
STRING_PATTERNS = [
    *STRINGS,
    "?",
    "*g",
    "?*",
    "",
    "${*}",
    "${?}",
    "${$}",
    "f${*}",
    "${AWS:userName}",
    "${aws:username, 'g'}",
]
STRING_PATTERNS += [
    "${aws:principalorgid}*",
    "${aws:PrincipalOrgID, ''}",
    "${aws:username}${aws:username, '?'}",
]
SOURCES = [
    "arn:aws:s3:::bucket",
    "arn:aws:events:us-east-1:111111111111:rule/f",
    "arn:aws:sns:us-east-1:222222222222:a:b:c",
]
SOURCE_PATTERNS = [
    *SOURCES,
    "arn:aws:s3:::*",
    "arn:aws:s3:::b?cket",
    "arn:*:*:*:*:*",
    "arn:aws:*:*:111111111111:*",
    "arn:aws:sns:*:b:c",
    "arn:*:222222222222:a:b:c",
    "arn:aws:sns:*:*:a*",
    "arn:aws:*:us-east-1:??????????22:a:?:c",
    "arn:aws:events:*:*:rule/${aws:username}",
    "arn:aws:events:*:*:rule/${aws:username, '*'}",
    "ARN:AWS:s3:::bucket",
]
INSTANTS = ["2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z", "1769904000", "1769904001"]
INSTANT_VALUES = [
    *INSTANTS,
    "2026-02-01",
    "2026-02",
    "2026-01-31T14:00:00+02:00",
    "2026-01-31T12:00:00.5Z",
    "2026-02-01T00:00Z",
]
ADDRESSES = ["10.0.0.1", "10.0.1.1", "192.168.0.1", "2001:db8::1", "2001:db8:1::1"]
NETWORKS = [
    *ADDRESSES,
    "10.0.0.0/24",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "10.0.0.1/32",
    "2001:db8::/32",
    "2001:DB8::/48",
    "::/0",
]
NUMBERS = ["0", "1", "2", "10", "-1", "1.5"]
NUMBER_VALUES = [*NUMBERS, "1.0", "10.00", 1, 10, 1.5]
COMPARISONS = ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")


@dataclass(frozen=True)
class Kind:
    """Condition keys of one type, the values that they may have, and what may be said about them."""

    keys: Sequence[str]
    given: Sequence[str]
    operators: Sequence[str]
    wanted: Sequence[Any]


_STRING = [
    f"String{x}"
    for x in ("Equals", "NotEquals", "Like", "NotLike", "EqualsIgnoreCase", "NotEqualsIgnoreCase")
]
_ARN = ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"]
FREE = [
    Kind(["aws:PrincipalOrgID", "lambda:EventSourceToken"], STRINGS, _STRING, STRING_PATTERNS),
    Kind(["aws:SourceArn"], SOURCES, _ARN * 3 + _STRING, SOURCE_PATTERNS),
    Kind(["s3:max-keys"], NUMBERS, [f"Numeric{x}" for x in COMPARISONS], NUMBER_VALUES),
    Kind(
        ["aws:CurrentTime", "aws:TokenIssueTime"], INSTANTS, [f"Date{x}" for x in COMPARISONS], INSTANT_VALUES
    ),
    Kind(["aws:SecureTransport"], ["true", "false"], ["Bool"], ["true", "false", True, False]),
    Kind(["aws:SourceIp"], ADDRESSES, ["IpAddress", "NotIpAddress"], NETWORKS),
]
# What is known of who asks: it follows from them.
WHO = [
    Kind(["aws:username"], [], _STRING, ["f", "g", "F", "*", "${aws:userid}"]),
    Kind(["aws:userid"], [], _STRING, ["AIDA${aws:username}", "AIDAf", "*:s", "AROA?:f"]),
    Kind(
        ["aws:PrincipalArn"],
        [],
        _ARN,
        [one.arn for one in USERS] + ["arn:aws:*::*:*", "arn:aws:iam::*:role/*"],
    ),
    Kind(["aws:PrincipalAccount"], [], _STRING, [HERE, THERE]),
    Kind(["aws:PrincipalType"], [], _STRING, ["User", "AssumedRole", "Account", "a*"]),
]
# Several values at once may be compared as a set alone, and stand for no variable.
SET = Kind(["aws:TagKeys"], STRINGS[:5], _STRING, STRING_PATTERNS)


def some(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Draw one value with or without brackets, or a few."""
    one = st.sampled_from(values)
    return one | one | st.lists(one, min_size=1, max_size=3)


def operators(kind: Kind) -> list[str]:
    """Return the operators for a kind of keys, with all that may stand before and after their names."""
    of_set = ["ForAllValues:", "ForAnyValue:"]
    before = of_set if kind is SET else [*of_set, *[""] * 6]
    return [
        first + name + last for first in before for name in kind.operators for last in ("", "", "IfExists")
    ]


# One comparison, as (operator, key, values).
NULLS = some(["true", "false", True, False])
COMPARED = st.one_of(
    *(
        st.tuples(
            st.sampled_from(operators(kind)),
            st.sampled_from([spelling for key in kind.keys for spelling in (key, key.lower(), key.upper())]),
            some(kind.wanted),
        )
        for kind in (*FREE, *FREE, *WHO, SET, SET)
    ),
    *(
        st.tuples(st.just("Null"), st.sampled_from([k for one in kinds for k in one.keys]), NULLS)
        for kinds in (FREE, WHO)
    ),
)


def condition(compared: Sequence[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the Condition element of some comparisons."""
    element: dict[str, dict[str, Any]] = {}
    for operator, key, values in compared:
        keys = element.setdefault(operator, {})
        # A key stands once in an operator, however it is written.
        if key.lower() not in {other.lower() for other in keys}:
            keys[key] = values
    return element


CONDITIONS = st.lists(COMPARED, min_size=1, max_size=3).map(condition)

# What is known of a request; most keys may be absent.
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        **{
            key.lower(): st.sampled_from([(value,) for value in kind.given])
            for kind in FREE
            for key in kind.keys
        },
        **{
            key.lower(): st.lists(st.sampled_from(SET.given), min_size=1, max_size=3).map(tuple)
            for key in SET.keys
        },
    },
)


def known(who: Asker) -> dict[str, tuple[str, ...]]:
    """Return what a request's context says of who asks."""
    if not who.user_id:
        return {}
    context: dict[str, tuple[str, ...]] = {
        "aws:userid": (who.user_id,),
        "aws:principalarn": (who.role_arn or who.arn,),
        "aws:principalaccount": (who.account,),
        "aws:principaltype": (who.kind,),
    }
    return context | ({"aws:username": (who.username,)} if who.username else {})


def asked(questions: Sequence[tuple[str, str, Mapping[str, tuple[str, ...]]]]) -> list[Request]:
    """Return everybody's requests of some actions, ARNs and contexts."""
    return [
        Request(who, action, arn, {**context, **known(who)})
        for action, arn, context in questions
        for who in ASKERS
    ]


# Everybody asks: a draw costs more than a decision.
REQUESTS = st.lists(st.tuples(ACTIONS, ARNS, CONTEXTS), min_size=2, max_size=2).map(asked)


# ------------------------------------------------------------------------- policies

_ARN_NAMES = some(PRINCIPALS)
_SERVICE_NAMES = some(SERVICE_NAMES)
WHOM = (
    st.just("*")
    | st.just("*")
    | st.fixed_dictionaries({"AWS": _ARN_NAMES})
    | st.fixed_dictionaries({"AWS": _ARN_NAMES}, optional={"Service": _SERVICE_NAMES})
    | st.fixed_dictionaries({"Service": _SERVICE_NAMES})
)


def element(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an element, or its negation."""
    return st.tuples(st.sampled_from([name] * 5 + [f"Not{name}"]), values).map(lambda item: dict([item]))


def statement(*, resource_based: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a statement."""
    parts = [
        st.fixed_dictionaries(
            {"Effect": st.sampled_from(["Allow", "Allow", "Deny"])},
            optional={"Condition": CONDITIONS},
        ),
        element("Action", some(ACTION_PATTERNS)),
        element("Resource", some(ARN_PATTERNS)),
    ]
    if resource_based:
        parts.insert(1, element("Principal", WHOM))
    return st.tuples(*parts).map(
        lambda drawn: {name: value for part in drawn for name, value in part.items()}
    )


def policies(*, resource_based: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a whole policy of up to three statements; one alone may have no brackets."""
    one = statement(resource_based=resource_based)
    head = st.sampled_from([*[{"Version": "2012-10-17"}] * 6, {"Version": "2008-10-17"}, {}])
    body = (one | st.lists(one, min_size=1, max_size=3)).map(lambda drawn: {"Statement": drawn})
    return st.tuples(head, body).map(lambda drawn: {**drawn[0], **drawn[1]})


IDENTITY_POLICIES = st.sampled_from([0, 1, 1, 2]).flatmap(
    lambda count: st.lists(policies(resource_based=False), min_size=count, max_size=count)
)
RESOURCE_POLICIES = policies(resource_based=True)


# Policies, and requests that are all evaluated under them.
CASES = st.builds(Case, IDENTITY_POLICIES, st.one_of(st.none(), *[RESOURCE_POLICIES] * 5), REQUESTS)

# ------------------------------------------------------------------------- one element at a time
#
# In a whole policy one element's fault often hides behind another element. Here nothing else decides.

_HEADS = st.sampled_from([{"Version": "2012-10-17"}] * 4 + [{"Version": "2008-10-17"}, {}])
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def compared_case(head: dict[str, Any], compared: tuple[str, str, Any]) -> Case:
    """Return one comparison, asked for with every value that its key may have, and without."""
    key = compared[1].lower()
    (kind,) = {
        id(kind): kind for kind in (*FREE, *WHO, SET) for name in kind.keys if name.lower() == key
    }.values()
    given: list[tuple[str, ...]] = [(value,) for value in kind.given]
    if kind is SET:
        given += itertools.combinations(kind.given, 2)
    contexts: list[dict[str, tuple[str, ...]]] = [{}, *({key: values} for values in given)]
    policy = {**head, "Statement": {**EVERYTHING, "Condition": condition([compared])}}
    others = {"aws:principalorgid": ("F",)} if key != "aws:principalorgid" else {}
    return Case(
        [policy],
        None,
        [
            Request(who, "lambda:InvokeFunction", FUNCTIONS + "f", {**others, **context, **known(who)})
            for who in (USERS[0], USERS[2], SESSIONS[0])
            for context in contexts
        ],
    )


def named_case(effect: str, named: dict[str, Any], identity: list[dict[str, Any]]) -> Case:
    """Return one Principal or NotPrincipal, asked by everybody."""
    policy = {"Version": "2012-10-17", "Statement": {**EVERYTHING, "Effect": effect, **named}}
    return Case(identity, policy, asked([("lambda:InvokeFunction", FUNCTIONS + "f", {})]))


def target_case(head: dict[str, Any], action: dict[str, Any], resource: dict[str, Any]) -> Case:
    """Return one pair of action and resource, asked for with every action and ARN."""
    policy = {**head, "Statement": [{"Effect": "Allow", **action, **resource}]}
    return Case(
        [policy],
        None,
        [
            Request(who, action, arn, {**known(who), "aws:tagkeys": ("f", "g")})
            for who in (USERS[0], USERS[2], SESSIONS[0])
            for action in sorted(ASKED_ACTIONS)
            for arn in sorted(ASKED_ARNS)
        ],
    )


COMPARED_CASES = st.builds(compared_case, _HEADS, COMPARED)
NAMED_CASES = st.builds(
    named_case,
    st.sampled_from(["Allow", "Deny"]),
    st.tuples(st.sampled_from(["Principal", "NotPrincipal"]), WHOM).map(lambda item: dict([item])),
    st.sampled_from(["Allow", "Deny", None]).map(
        lambda effect: [{"Statement": {**EVERYTHING, "Effect": effect}}] if effect else []
    ),
)
TARGET_CASES = st.builds(
    target_case,
    _HEADS,
    element("Action", some(ACTION_PATTERNS)),
    element("Resource", some([pattern for pattern in ARN_PATTERNS if pattern != "*"])),
)
