"""Caller and policies: yes, or AccessDenied.

A caller without a credential that was checked is the root of its account. So at level
``none`` everything inside the account is free, and what belongs to another account follows
the policy of its resource.

Source: docs/aws-behaviour.md, versions-permissions 5.6 and 5.8.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from lambent.clock import Clock
from lambent.model.errors import AccessDeniedException
from lambent.model.identities import Credential
from lambent.model.invocations import Caller, Origin
from lambent.model.policies import AccessRequest, Decision, Policy, evaluate

_REMEMBERED = 16_384


class Access(NamedTuple):
    """What somebody wants to do.

    Attributes:
        action: ``lambda:InvokeFunction``.
        resource: ARN as asked, with its qualifier only where there was one; ``*`` where the
            action is on no resource.
        account: whose the resource is.
        context: condition keys of this action alone, in lower case, with their values.
    """

    action: str
    resource: str
    account: str
    context: Mapping[str, tuple[str, ...]] = {}


class _Remembered(NamedTuple):
    """A decision, and the two that alone have decided it: of others it says nothing."""

    credential: Credential | None
    policy: Policy | None
    decision: Decision


class Authorizer:
    """Asks the policies of callers and of resources."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._remembered: dict[tuple[str, ...], _Remembered] = {}

    def authorize(self, caller: Caller, access: Access, policy: Policy | None, origin: Origin) -> None:
        """Return when the caller may; ``policy`` is the resource's.

        Raises:
            AccessDeniedException: it may not.
        """
        credential = caller.credential
        # Without the policies: what is remembered of their former texts is replaced, and does not pile up.
        key = (
            "" if credential is None else credential.access_key_id,
            caller.account,
            access.action,
            access.resource,
        )
        remembered = self._remembered.get(key)
        if remembered is None or remembered.credential is not credential or remembered.policy is not policy:
            decision = self._decide(caller, access, policy, origin)
            policies = () if credential is None else credential.policies
            if not any(one.depends_on_context for one in (*policies, *([policy] if policy else ()))):
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = _Remembered(credential, policy, decision)
        else:
            decision = remembered.decision
        if decision is not Decision.ALLOWED:
            action = access.action
            raise AccessDeniedException(
                f"User: {caller.principal.arn} is not authorized to perform: {action} "
                f"on resource: {access.resource} {decision.reason(action)}"
            )

    def _decide(self, caller: Caller, access: Access, policy: Policy | None, origin: Origin) -> Decision:
        credential = caller.credential
        context = {**_describe(caller, origin, self._clock.now()), **access.context}
        request = AccessRequest(access.action, access.resource, caller.principal, context)
        policies = () if credential is None else credential.policies
        return evaluate(policies, policy, access.account, request)


def _describe(caller: Caller, origin: Origin, now: float) -> dict[str, tuple[str, ...]]:
    """Return the condition keys that every request has."""
    principal = caller.principal
    keys = {
        "aws:currenttime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:epochtime": str(int(now)),
        "aws:principalaccount": principal.account,
        "aws:principalarn": principal.role_arn or principal.arn,
        "aws:principaltype": principal.kind,
        "aws:requestedregion": caller.region,
        "aws:securetransport": "true" if origin.is_secure else "false",
        "aws:userid": principal.user_id,
    }
    if principal.username is not None:
        keys["aws:username"] = principal.username
    if origin.address:
        keys["aws:sourceip"] = _plain(origin.address)
    return {name: (value,) for name, value in keys.items()}


def _plain(address: str) -> str:
    """Return an address of IPv4 as such, also where a socket for both families tells it."""
    # Of a link-local address the zone is the machine's own word.
    given = ipaddress.ip_address(address.partition("%")[0])
    mapped = given.ipv4_mapped if isinstance(given, ipaddress.IPv6Address) else None
    return str(mapped or given)


__all__ = ["Access", "Authorizer"]
