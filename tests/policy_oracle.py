"""A second evaluator of IAM policies, to compare the server's with: slow, plain, and sharing no code with it.

Written from the published pages of AWS's IAM user guide alone: "Policy evaluation logic", "Cross-account
policy evaluation logic", "IAM JSON policy elements" (Principal, NotPrincipal, Action, Resource, Condition,
condition operators, variables) and "Conditions with multiple context keys or values"; where these are
silent, docs/aws-behaviour.md, versions-permissions 5.6 and 5.8.

It takes documents as they come out of ``json.loads``, well formed, and reads them anew for every question.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

Context = Mapping[str, tuple[str, ...]]


class Who(Protocol):
    """Who asks; ``lambent.model.identities.Principal`` is one."""

    @property
    def arn(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def role_arn(self) -> str | None: ...


class Wildcard(Enum):
    """A place in a pattern that stands for other characters."""

    MANY = "*"
    ONE = "?"


# Each item is one character that stands for itself, or a wildcard.
Pattern = list["str | Wildcard"]


class WithoutValue(Exception):
    """A variable that the request has no value for: the statement that compares with it is invalid."""


# ------------------------------------------------------------------------- the decision


def decide(
    identity: Sequence[Mapping[str, Any]],
    resource: Mapping[str, Any] | None,
    resource_account: str,
    who: Who,
    action: str,
    arn: str,
    context: Context,
) -> str:
    """Return the name of the decision, as ``lambent.model.policies.Decision`` has it.

    Args:
        identity: the policies attached to whoever asks.
        resource: the policy attached to what is asked for, if there is one.
        resource_account: whose that is.
        who: who asks.
        action: such as ``lambda:InvokeFunction``.
        arn: of what is asked for.
        context: values by lower-case condition key.
    """

    def identity_says(effect: str) -> bool:
        return any(
            statement["Effect"] == effect and statement_applies(policy, statement, action, arn, context)
            for policy in identity
            for statement in statements(policy)
        )

    def resource_says(effect: str, *, by_name: bool = False) -> bool:
        return resource is not None and any(
            statement["Effect"] == effect
            and statement_applies(resource, statement, action, arn, context)
            and names_principal(statement, who, by_name=by_name)
            for statement in statements(resource)
        )

    # An explicit deny in any policy overrides every allow.
    if identity_says("Deny"):
        return "DENIED_BY_IDENTITY_POLICY"
    if resource_says("Deny"):
        return "DENIED_BY_RESOURCE_POLICY"

    # Neither has an account here, and so no identity policy.
    if who.kind in {"Service", "Anonymous"}:
        return "ALLOWED" if resource_says("Allow") else "NO_RESOURCE_POLICY"

    is_root = who.kind == "Account"
    if who.account == resource_account:
        allowed = is_root or identity_says("Allow") or resource_says("Allow", by_name=True)
        return "ALLOWED" if allowed else "NO_IDENTITY_POLICY"
    if not (is_root or identity_says("Allow")):
        return "NO_IDENTITY_POLICY"
    return "ALLOWED" if resource_says("Allow") else "NO_RESOURCE_POLICY"


def statements(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return listed(policy["Statement"])


def listed(value: Any) -> list[Any]:
    """Return a list: of one value the brackets are optional everywhere."""
    return value if isinstance(value, list) else [value]


def statement_applies(
    policy: Mapping[str, Any], statement: Mapping[str, Any], action: str, arn: str, context: Context
) -> bool:
    """Tell whether action, resource and all conditions are the statement's."""
    # Variables came with this version; to earlier ones they are text as any other.
    variables = context if policy.get("Version") == "2012-10-17" else None
    try:
        return (
            covers_action(statement, action)
            and covers_resource(statement, arn, variables)
            and all(
                condition_holds(operator, key, values, context, variables)
                for operator, keys in statement.get("Condition", {}).items()
                for key, values in keys.items()
            )
        )
    except WithoutValue:
        return False


def covers_action(statement: Mapping[str, Any], action: str) -> bool:
    def is_one_of(texts: Any) -> bool:
        return any(like(pattern_of(text.lower(), None), action.lower()) for text in listed(texts))

    if "NotAction" in statement:
        return not is_one_of(statement["NotAction"])
    return is_one_of(statement["Action"])


def covers_resource(statement: Mapping[str, Any], arn: str, variables: Context | None) -> bool:
    def is_one_of(texts: Any) -> bool:
        patterns = [pattern_of(text, variables) for text in listed(texts)]
        return any(like(pattern, arn) for pattern in patterns)

    if "NotResource" in statement:
        return not is_one_of(statement["NotResource"])
    return is_one_of(statement["Resource"])


# ------------------------------------------------------------------------- principals


def names_principal(statement: Mapping[str, Any], who: Who, *, by_name: bool) -> bool:
    """Tell whether a resource policy's statement is about who asks.

    Args:
        statement: with a Principal or a NotPrincipal.
        who: who asks.
        by_name: leave out those that name no more than the account: it is trusted to
            decide itself, by its identity policies.
    """
    if "NotPrincipal" in statement:
        # What a deny spares is named itself: that the account stands there too spares nobody else in it,
        # as the page's examples say. What is left out of an allow may be named by the account.
        return not is_among(statement["NotPrincipal"], who, by_name=statement["Effect"] == "Deny")
    return is_among(statement["Principal"], who, by_name=by_name)


def is_among(principals: Any, who: Who, *, by_name: bool) -> bool:
    if principals == "*":
        return True
    names = listed(principals.get("AWS", []))
    if "*" in names:
        return True
    if who.kind == "Service":
        return who.arn in listed(principals.get("Service", []))
    if who.kind == "Anonymous":
        return False
    if who.arn in names or who.role_arn in names:
        return True
    if by_name and who.kind != "Account":
        return False
    return any(re.fullmatch(rf"{who.account}|arn:[^:]*:iam::{who.account}:root", name) for name in names)


# ------------------------------------------------------------------------- texts


def pattern_of(text: str, variables: Context | None, *, wildcards: bool = True) -> Pattern:
    """Return what a text of a policy stands for.

    Args:
        text: as written.
        variables: whose values stand for ``${key}``; None if it has no variables.
        wildcards: whether ``*`` and ``?`` are any.

    Raises:
        WithoutValue: a variable has none.
    """
    pattern: Pattern = []
    while text:
        variable = re.match(r"\$\{([^}]*)\}", text)
        if variables is not None and variable is not None:
            value = value_of(variable[1], variables)
            if value is None:
                raise WithoutValue(variable[1])
            # The value's own asterisks are characters: a name must not widen the policy.
            pattern.extend(value)
            text = text[variable.end() :]
        else:
            pattern.append(Wildcard(text[0]) if wildcards and text[0] in "*?" else text[0])
            text = text[1:]
    return pattern


def value_of(variable: str, context: Context) -> str | None:
    if variable in {"*", "?", "$"}:
        return variable
    with_default = re.fullmatch(r"(.*), '(.*)'", variable)
    key = with_default[1] if with_default else variable
    values = context.get(key.lower(), ())
    if len(values) == 1:
        return values[0]
    return with_default[2] if with_default else None


def like(pattern: Pattern, text: str) -> bool:
    """Tell whether a pattern is the whole text."""
    # Where in the text one may stand after each item of the pattern.
    places = {0}
    for item in pattern:
        if item is Wildcard.MANY:
            places = set(range(min(places), len(text) + 1))
        elif item is Wildcard.ONE:
            places = {place + 1 for place in places if place < len(text)}
        else:
            places = {place + 1 for place in places if text[place : place + 1] == item}
        if not places:
            return False
    return len(text) in places


# ------------------------------------------------------------------------- conditions


def condition_holds(
    operator: str, key: str, values: Any, context: Context, variables: Context | None
) -> bool:
    """Tell whether one key's values satisfy one operator of a Condition."""
    wanted = [spelled(value) for value in listed(values)]
    given = context.get(key.lower(), ())
    if operator == "Null":
        return ("true" if not given else "false") in wanted

    of_many, _, name = operator.rpartition(":")
    if name.endswith("IfExists"):
        if not given:
            return True
        name = name.removesuffix("IfExists")
    negated = "Not" in name
    test = TESTS[name.replace("Not", "", 1)]

    def holds(value: str) -> bool:
        """Several values of a condition are joined by OR, under a negated operator by NOR."""
        results = [test(one, value, variables) for one in wanted]
        return any(results) != negated

    if of_many == "ForAllValues":
        return all(holds(value) for value in given)
    if of_many == "ForAnyValue":
        return any(holds(value) for value in given)
    if not given:
        return negated
    (value,) = given
    return holds(value)


def spelled(value: Any) -> str:
    """Return a condition's value as text: quotes are optional about numbers and booleans."""
    return str(value).lower() if isinstance(value, bool) else str(value)


Test = Callable[[str, str, "Context | None"], bool]


def string_equals(wanted: str, given: str, variables: Context | None) -> bool:
    return like(pattern_of(wanted, variables, wildcards=False), given)


def string_equals_ignore_case(wanted: str, given: str, variables: Context | None) -> bool:
    pattern = pattern_of(wanted, variables, wildcards=False)
    return "".join(map(str, pattern)).lower() == given.lower()


def string_like(wanted: str, given: str, variables: Context | None) -> bool:
    return like(pattern_of(wanted, variables), given)


def arn_like(wanted: str, given: str, variables: Context | None) -> bool:
    """Each of the six parts between colons is compared with its own; the last has the other colons."""
    parts: list[Pattern] = [[]]
    for item in pattern_of(wanted, variables):
        if item == ":" and len(parts) < 6:
            parts.append([])
        else:
            parts[-1].append(item)
    values = given.split(":", 5)
    return len(parts) == len(values) == 6 and all(map(like, parts, values))


def numeric(compare: Callable[[Decimal, Decimal], bool]) -> Test:
    return lambda wanted, given, _: compare(Decimal(given), Decimal(wanted))


def date(compare: Callable[[dt.datetime, dt.datetime], bool]) -> Test:
    return lambda wanted, given, _: compare(instant(given), instant(wanted))


def instant(text: str) -> dt.datetime:
    """Read seconds since 1970, or a W3C date: to the month, the day or finer, with its offset."""
    if text.isdigit():
        return dt.datetime.fromtimestamp(int(text), dt.UTC)
    if re.fullmatch(r"\d{4}-\d{2}", text):
        text += "-01"
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def boolean(wanted: str, given: str, _: Context | None) -> bool:
    return wanted == given


def ip_address(wanted: str, given: str, _: Context | None) -> bool:
    """An address without a prefix is itself alone."""
    network, address = ipaddress.ip_network(wanted), ipaddress.ip_address(given)
    return network.version == address.version and address in network


TESTS: Mapping[str, Test] = {
    "StringEquals": string_equals,
    "StringEqualsIgnoreCase": string_equals_ignore_case,
    "StringLike": string_like,
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "NumericEquals": numeric(lambda given, wanted: given == wanted),
    "NumericLessThan": numeric(lambda given, wanted: given < wanted),
    "NumericLessThanEquals": numeric(lambda given, wanted: given <= wanted),
    "NumericGreaterThan": numeric(lambda given, wanted: given > wanted),
    "NumericGreaterThanEquals": numeric(lambda given, wanted: given >= wanted),
    "DateEquals": date(lambda given, wanted: given == wanted),
    "DateLessThan": date(lambda given, wanted: given < wanted),
    "DateLessThanEquals": date(lambda given, wanted: given <= wanted),
    "DateGreaterThan": date(lambda given, wanted: given > wanted),
    "DateGreaterThanEquals": date(lambda given, wanted: given >= wanted),
    "Bool": boolean,
    "IpAddress": ip_address,
}
