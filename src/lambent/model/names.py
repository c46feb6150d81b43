r"""How callers name functions: every form of a name, and which function it means.

Patterns stand here exactly as AWS prints them in its validation messages. They carry
no anchors: AWS applies them to the whole string, so they are full matches, and ``\d``
is an ASCII digit.

Source: docs/aws-behaviour.md, invoke 1.1 and functions 7.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lambent import limits
from lambent.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from lambent.model.functions import FunctionKey
from lambent.model.invocations import Caller

_REGION = r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?"
_PREFIX = rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?{_REGION}(\d{{12}}:)?(function:)?"

QUALIFIED_NAME = _PREFIX + r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
"""The wide pattern, of Invoke and of what reads and deletes functions."""

NARROW_NAME = _PREFIX + r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
"""The pattern of what creates and updates functions: no dot, no ``$LATEST.PUBLISHED``."""

UNQUALIFIED_NAME = _PREFIX + r"([a-zA-Z0-9-_]+)"
"""The narrow pattern without a qualifier."""

QUALIFIER = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
"""The ``Qualifier`` parameter."""

_WIDE = re.compile(QUALIFIED_NAME, re.ASCII)
_NARROW = re.compile(NARROW_NAME, re.ASCII)
_QUALIFIER = re.compile(QUALIFIER, re.ASCII)

# Groups of the three name patterns, counted by their opening brackets.
_PARTITION, _REGION_PART, _ACCOUNT, _NAME, _QUALIFIER_PART = 2, 3, 9, 11, 13

_MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """What a caller wrote to name a function; parts that were not written are None."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None
    partition: str | None = None


def parse_function_reference(text: str, *, narrow: bool = False) -> FunctionReference | None:
    """Take a function name of any form apart; None where AWS's pattern refuses it.

    ``name``, ``name:qualifier``, ``function:name``, ``<account>:name``,
    ``<account>:function:name``, ``<region>:…`` and full ARNs are all names. An ARN that
    ends in ``:function`` names a function called ``function``.

    Args:
        text: percent-decoded once.
        narrow: apply the pattern of create and update.

    Source: docs/aws-behaviour.md, invoke 1.1, "Name forms".
    """
    match = (_NARROW if narrow else _WIDE).fullmatch(text)
    if match is None:
        return None
    # Most calls name a function by its bare name, and then nothing else needs a look.
    if match[_NAME] == text:
        return FunctionReference(text)
    region, account = match[_REGION_PART], match[_ACCOUNT]
    return FunctionReference(
        name=match[_NAME],
        qualifier=match[_QUALIFIER_PART],
        account=account[:-1] if account else None,
        region=region[:-1] if region else None,
        partition=match[_PARTITION] or None,
    )


def matches_qualifier(text: str) -> bool:
    """Tell whether ``text`` is well-formed as a qualifier; its length is not looked at."""
    return _QUALIFIER.fullmatch(text) is not None


def derive_qualifier(reference: FunctionReference, qualifier: str | None) -> str | None:
    """Return the qualifier meant by the name and by the ``Qualifier`` parameter.

    Raises:
        InvalidParameterValueException: both are given and differ. AWS says so even
            when the function does not exist.

    Source: docs/aws-behaviour.md, invoke 1.1.
    """
    if qualifier is None:
        return reference.qualifier
    if reference.qualifier is not None and reference.qualifier != qualifier:
        raise InvalidParameterValueException(_MISMATCH)
    return qualifier


def check_new_name(reference: FunctionReference) -> None:
    """Refuse a bare name that CreateFunction finds too long.

    Raises:
        InvalidParameterValueException: in the words of a ValidationException, which is
            how AWS answers this one.

    Source: docs/aws-behaviour.md, functions 7.5.
    """
    if len(reference.name) > limits.BARE_NAME_CHARACTERS:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{reference.name}' at 'functionName' failed to satisfy "
            f"constraint: Member must have length less than or equal to {limits.BARE_NAME_CHARACTERS}"
        )


def resolve_key(reference: FunctionReference, caller_account: str, caller_region: str) -> FunctionKey:
    """Return the function that is meant, which may be another account's.

    Raises:
        ResourceNotFoundException: the name tells another region.

    Source: docs/aws-behaviour.md, invoke 1.1.
    """
    if reference.region is not None and reference.region != caller_region:
        raise ResourceNotFoundException(
            f"Functions from '{reference.region}' are not reachable in this region ('{caller_region}')"
        )
    return FunctionKey(reference.account or caller_account, caller_region, reference.name)


def locate(reference: FunctionReference, caller: Caller, *, action: str | None = None) -> FunctionKey:
    """Return the caller's own function that is meant.

    Args:
        reference: the name as parsed.
        caller: with the region of the credential scope.
        action: the IAM action without its prefix (``GetFunction``), for the text of a
            refusal; None where AWS sends no text (CreateFunction).

    Raises:
        ResourceNotFoundException: the name tells another region.
        AccessDeniedException: the name tells another account. Where that account's
            policies decide, use :func:`resolve_key` and ask them.

    Source: docs/aws-behaviour.md, functions 7.5 and versions-permissions 5.6.
    """
    key = resolve_key(reference, caller.account, caller.region)
    if key.account == caller.account:
        return key
    if action is None:
        raise AccessDeniedException(None)
    raise AccessDeniedException(
        f"User: {caller.principal.arn} is not authorized to perform: lambda:{action} on resource: "
        f"{key.arn(reference.qualifier)} because no resource-based policy allows the lambda:{action} action"
    )
