"""Policies: what a text of IAM's policy language allows and denies, and what several decide together.

A policy is compiled when it is read; to evaluate it takes a few microseconds and never
more than its length times that of the request's texts. No I/O, no clock: whatever a
decision depends on is in the :class:`AccessRequest`.

Source: docs/aws-behaviour.md, versions-permissions 5.6 and 5.8, "Policies".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from lambent.model.conditions import AnyCondition, parse_conditions
from lambent.model.identities import Principal
from lambent.model.patterns import (
    Context,
    Kind,
    MalformedPolicy,
    Patterns,
    UnresolvedVariable,
    check_resource,
)

POLICY_CHARACTERS: Final = 20_480
"""A longer text is not read; white space does not count. What takes policies may have a lower limit."""

POLICY_WILDCARDS: Final = 1_000
"""A text with more ``*``, ``?`` and ``$`` is not read: each takes some 20 µs to compile."""


class Decision(Enum):
    """What policies say to a request. The value of a denial is its reason, as a format of ``action``."""

    ALLOWED = ""
    NO_IDENTITY_POLICY = "because no identity-based policy allows the {action} action"
    NO_RESOURCE_POLICY = "because no resource-based policy allows the {action} action"
    DENIED_BY_IDENTITY_POLICY = "with an explicit deny in an identity-based policy"
    DENIED_BY_RESOURCE_POLICY = "with an explicit deny in a resource-based policy"

    def reason(self, action: str) -> str:
        """Return the end of a refusal's text; "" when the request is allowed.

        Args:
            action: with its prefix, ``lambda:InvokeFunction``.

        Source: docs/aws-behaviour.md, versions-permissions 5.8.
        """
        return self.value.format(action=action)


class AccessRequest(NamedTuple):
    """What somebody wants to do.

    Attributes:
        action: ``lambda:InvokeFunction``; compared without case.
        resource: ARN, compared with case.
        principal: who asks.
        context: condition keys in lower case, ``aws:sourceip``, and their values; a key
            without a value is left out.
    """

    action: str
    resource: str
    principal: Principal
    context: Context


class Trust(IntEnum):
    """How far a statement of a resource policy names a principal."""

    NONE = 0
    ACCOUNT = 1
    """Its account is named: the account's own policies must still allow."""
    DIRECT = 2
    """It is named itself, or everybody is."""


@dataclass(frozen=True, slots=True)
class _Principals:
    """Whom a ``Principal`` or ``NotPrincipal`` element names: ARNs and services by name, and accounts."""

    everybody: bool
    accounts: frozenset[str]
    names: frozenset[str]

    def trust(self, principal: Principal) -> Trust:
        if self.everybody or principal.arn in self.names or principal.role_arn in self.names:
            return Trust.DIRECT
        if principal.account in self.accounts and principal.kind in _HAS_ACCOUNT:
            return Trust.DIRECT if principal.kind == "Account" else Trust.ACCOUNT
        return Trust.NONE


_HAS_ACCOUNT: Final = frozenset({"Account", "User", "AssumedRole"})
_HAS_IDENTITY_POLICIES: Final = frozenset({"User", "AssumedRole"})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled. ``except_…`` marks NotAction, NotResource and NotPrincipal.

    ``resources`` is None where the element is left out, which the policy of a resource
    may do: it applies to its resource then. ``principals`` is None in identity policies.
    """

    denies: bool
    actions: Callable[[str, Context], bool]
    except_actions: bool
    resources: Callable[[str, Context], bool] | None
    except_resources: bool
    principals: _Principals | None
    except_principals: bool
    conditions: tuple[AnyCondition, ...]
    depends_on_context: bool

    def applies(self, action: str, request: AccessRequest) -> bool:
        """Tell whether action (in lower case), resource and conditions are those of the request."""
        context = request.context
        if self.actions(action, context) is self.except_actions:
            return False
        resources = self.resources
        try:
            if resources is not None and resources(request.resource, context) is self.except_resources:
                return False
            for condition in self.conditions:
                if not condition.holds(context):
                    return False
        except UnresolvedVariable:
            return False
        return True

    def trust(self, principal: Principal) -> Trust:
        """Return how far the statement is about ``principal``."""
        if self.principals is None:
            return Trust.DIRECT
        trust = self.principals.trust(principal)
        if not self.except_principals:
            return trust
        # A denial spares those alone who are named themselves: to name a user's account is not enough.
        spared = trust is Trust.DIRECT if self.denies else trust is not Trust.NONE
        return Trust.NONE if spared else Trust.DIRECT


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, compiled; made by :func:`parse_policy`.

    Attributes:
        denials: statements whose Effect is Deny.
        permissions: those whose Effect is Allow.
        depends_on_context: whether a decision may differ between two requests of the
            same principal for the same action and resource.
    """

    denials: tuple[Statement, ...]
    permissions: tuple[Statement, ...]
    depends_on_context: bool

    def denies(self, action: str, request: AccessRequest) -> bool:
        """Tell whether a statement denies the request; ``action`` is the request's, in lower case."""
        for statement in self.denials:
            if statement.applies(action, request) and statement.trust(request.principal):
                return True
        return False

    def allows(self, action: str, request: AccessRequest) -> bool:
        """Tell whether a statement of an identity policy allows the request; ``action`` as above."""
        # Not any(): a generator costs more than the statements that it yields.
        for statement in self.permissions:  # noqa: SIM110
            if statement.applies(action, request):
                return True
        return False

    def trust(self, action: str, request: AccessRequest) -> Trust:
        """Return how far a resource policy allows the request; ``action`` as above."""
        found = Trust.NONE
        for statement in self.permissions:
            if statement.applies(action, request):
                found = max(found, statement.trust(request.principal))
                if found is Trust.DIRECT:
                    break
        return found


def evaluate(
    identity: Sequence[Policy], resource: Policy | None, resource_account: str, request: AccessRequest
) -> Decision:
    """Decide a request.

    A denial wins over everything; of two, the identity policy's is told. Then, in the
    resource's own account, one of the two kinds of policy has to allow, in another
    account both. A resource policy that names the caller itself or everybody suffices in
    its account; one that names the account leaves it to the identity policies. Roots
    need none, services and the anonymous have none.

    Args:
        identity: of the user, or of the role whose session it is.
        resource: the policy of what is asked for, if it has one.
        resource_account: 12 digits.
        request: who wants what.

    Source: docs/aws-behaviour.md, versions-permissions 5.6 and 5.8, "Policies".
    """
    action = request.action.lower()
    kind, account = request.principal.kind, request.principal.account
    if kind not in _HAS_IDENTITY_POLICIES:
        identity = ()
    for policy in identity:
        if policy.denies(action, request):
            return Decision.DENIED_BY_IDENTITY_POLICY
    trust = Trust.NONE
    if resource is not None:
        if resource.denies(action, request):
            return Decision.DENIED_BY_RESOURCE_POLICY
        trust = resource.trust(action, request)
    if kind not in _HAS_ACCOUNT:
        return Decision.ALLOWED if trust else Decision.NO_RESOURCE_POLICY
    is_own = account == resource_account
    if is_own and (trust is Trust.DIRECT or kind == "Account"):
        return Decision.ALLOWED
    if kind != "Account":
        for policy in identity:
            if policy.allows(action, request):
                break
        else:
            return Decision.NO_IDENTITY_POLICY
    return Decision.ALLOWED if is_own or trust else Decision.NO_RESOURCE_POLICY


# -- Reading -------------------------------------------------------------------

_ELEMENTS: Final = frozenset(
    {
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
        "Condition",
    }
)  # fmt: skip
_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
_SERVICE: Final = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)
_PRINCIPAL_ARN: Final = re.compile(r"arn:[^:*?]+:(?:iam|sts)::(\d{12}):([^*?]+)", re.ASCII)


def parse_policy(text: str, *, resource_based: bool = False) -> Policy:
    """Read and compile a policy.

    Args:
        text: JSON.
        resource_based: whether it belongs to a resource, and so names principals.

    Raises:
        MalformedPolicy: with one sentence that says what is wrong, and in which statement.

    Source: docs/aws-behaviour.md, versions-permissions 5.6, "Policies".
    """
    document = _read(text)
    allowed = {"Version", "Statement", "Id"} if resource_based else {"Version", "Statement"}
    _check_elements(document, allowed, "The policy")
    version = document.get("Version", "2008-10-17")
    if version not in ("2008-10-17", "2012-10-17"):
        raise MalformedPolicy("Version is neither 2012-10-17 nor 2008-10-17.")
    if not isinstance(document.get("Id", ""), str):
        raise MalformedPolicy("Id is no text.")
    given = document.get("Statement")
    elements = given if isinstance(given, list) else [given]
    if not elements or given is None:
        raise MalformedPolicy("The policy has no Statement.")
    statements = []
    for number, element in enumerate(elements, start=1):
        try:
            statements.append(
                _statement(element, variables=version == "2012-10-17", resource_based=resource_based)
            )
        except MalformedPolicy as problem:
            raise MalformedPolicy(f"Statement {number}: {problem.sentence}") from None
    return Policy(
        tuple(statement for statement in statements if statement.denies),
        tuple(statement for statement in statements if not statement.denies),
        any(statement.depends_on_context for statement in statements),
    )


def _read(text: str) -> dict[str, object]:
    if sum(map(len, text.split())) > POLICY_CHARACTERS:
        raise MalformedPolicy(f"The policy is longer than {POLICY_CHARACTERS} characters.")
    if sum(map(text.count, "*?$")) > POLICY_WILDCARDS:
        raise MalformedPolicy(f"The policy has more than {POLICY_WILDCARDS} wildcards and variables.")
    try:
        # Quotation marks are optional around numbers, so a number is its text.
        document = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=_no_number, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        why = error if isinstance(error, ValueError) else "it is nested too deeply"
        raise MalformedPolicy(f"The policy is not valid JSON: {why}.") from None
    if not isinstance(document, dict):
        raise MalformedPolicy("The policy is no JSON object.")
    return document


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise MalformedPolicy(f"{name!r} stands twice in one object.")
        members[name] = value
    return members


def _check_elements(members: dict[str, object], allowed: set[str] | frozenset[str], place: str) -> None:
    unknown = next((name for name in members if name not in allowed), None)
    if unknown is not None:
        raise MalformedPolicy(f"{place} may not have an element {unknown!r}.")


def _statement(element: object, *, variables: bool, resource_based: bool) -> Statement:
    if not isinstance(element, dict):
        raise MalformedPolicy("It is no object.")
    _check_elements(element, _ELEMENTS, "It")
    if not isinstance(element.get("Sid", ""), str):
        raise MalformedPolicy("Sid is no text.")
    effect = element.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise MalformedPolicy("Effect is neither Allow nor Deny.")
    principals, except_principals = _either(element, "Principal", needed=resource_based)
    if principals is not None and not resource_based:
        raise MalformedPolicy("A policy of a user or role may not name principals.")
    actions, except_actions = _either(element, "Action", needed=True)
    resources, except_resources = _either(element, "Resource", needed=not resource_based)
    resource_patterns = None if resources is None else _resources(resources, variables=variables)
    conditions = parse_conditions(element.get("Condition", {}), variables=variables)
    return Statement(
        denies=effect == "Deny",
        actions=_actions(actions).match,
        except_actions=except_actions,
        resources=None if resource_patterns is None else resource_patterns.match,
        except_resources=except_resources,
        principals=None if principals is None else _principals(principals),
        except_principals=except_principals,
        conditions=conditions,
        depends_on_context=bool(conditions)
        or (resource_patterns is not None and resource_patterns.depend_on_context),
    )


def _either(element: dict[str, object], name: str, *, needed: bool) -> tuple[object, bool]:
    """Return the element of that name or of its opposite, and whether it is the opposite."""
    opposite = f"Not{name}"
    if name in element and opposite in element:
        raise MalformedPolicy(f"{name} and {opposite} exclude each other.")
    if name not in element and opposite not in element:
        if needed:
            raise MalformedPolicy(f"It has neither {name} nor {opposite}.")
        return None, False
    is_opposite = opposite in element
    value = element[opposite if is_opposite else name]
    if value is None:
        raise MalformedPolicy(f"{opposite if is_opposite else name} is null.")
    return value, is_opposite


def _texts(value: object, name: str) -> list[str]:
    given = value if isinstance(value, list) else [value]
    texts = [text for text in given if isinstance(text, str)]
    if not texts or len(texts) < len(given):
        raise MalformedPolicy(f"{name} is neither a text nor a list of texts.")
    return texts


def _actions(value: object) -> Patterns:
    texts = _texts(value, "Action")
    for text in texts:
        if ":" not in text and "*" not in text:
            raise MalformedPolicy(f"Action {text!r} does not name its service.")
    return Patterns([text.lower() for text in texts], Kind.WILD, variables=False)


def _resources(value: object, *, variables: bool) -> Patterns:
    texts = _texts(value, "Resource")
    for text in texts:
        check_resource(text, variables=variables)
    return Patterns(texts, Kind.WILD, variables=variables)


def _principals(value: object) -> _Principals:
    everybody, accounts, names = value == "*", set[str](), set[str]()
    if not everybody:
        if not isinstance(value, dict) or not value:
            raise MalformedPolicy('Principal is neither "*" nor an object.')
        # Nobody comes here from a web identity provider or with a canonical user id.
        _check_elements(value, {"AWS", "Service", "Federated", "CanonicalUser"}, "Principal")
    for kind, given in value.items() if isinstance(value, dict) else ():
        for text in _texts(given, f"Principal {kind}"):
            arn = _PRINCIPAL_ARN.fullmatch(text)
            if kind == "AWS" and text == "*":
                everybody = True
            elif "*" in text or "?" in text:
                raise MalformedPolicy(f"Principal {text!r} has a wildcard.")
            elif kind == "Service" and _SERVICE.fullmatch(text):
                names.add(text)
            elif kind == "AWS" and _ACCOUNT.fullmatch(text):
                accounts.add(text)
            elif kind == "AWS" and arn is not None and arn[2] == "root":
                accounts.add(arn[1])
            elif kind == "AWS" and arn is not None:
                names.add(text)
            elif kind in {"AWS", "Service"}:
                raise MalformedPolicy(f"{text!r} names no principal.")
    return _Principals(everybody, frozenset(accounts), frozenset(names))


__all__ = [
    "AccessRequest",
    "Decision",
    "MalformedPolicy",
    "Policy",
    "Statement",
    "Trust",
    "evaluate",
    "parse_policy",
]
