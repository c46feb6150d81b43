"""Create, read, update, delete and list functions.

The order of checks is AWS's as far as it is known, then ours: sizes of the request,
the name, region and account, existence, RevisionId, state, and the values last.

Source: docs/aws-behaviour.md, functions 7.3 to 7.9, 7.16 and 7.18.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

from lambent import limits
from lambent.control.activation import start_activation
from lambent.control.code import render_link
from lambent.control.code_source import S3Object
from lambent.control.configuration import (
    Reply,
    changed_version,
    new_version,
    render_configuration,
)
from lambent.control.kept import tell_kept
from lambent.control.operation import Call, Output, Services, Target, find_target
from lambent.control.states import begin_update, check_changeable, check_revision, new_head
from lambent.control.tags import check_tags
from lambent.model.errors import (
    CodeStorageExceededException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambent.model.functions import LATEST, CodePackage, FunctionHead, FunctionVersion
from lambent.model.names import check_new_name, parse_function_reference
from lambent.storage import packages
from lambent.storage.contracts import AlreadyExists, Conflict

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import FunctionConfigurationTypeDef

_MARKER_CHECK_BYTES = 9


async def create_function(services: Services, call: Call) -> Output:
    """Store a new function and answer that it is Pending; it becomes Active by itself.

    When this returns, code and configuration survive a crash of the machine.
    """
    given = call.input
    source = given.get("Code") or {}
    _check_sent(source)
    reference = parse_function_reference(given["FunctionName"], narrow=True)
    assert reference is not None, "the codec has applied the pattern"
    check_new_name(reference)
    target = find_target(call, None, narrow=True)
    if target.qualifier not in {None, LATEST}:
        raise InvalidParameterValueException(
            f"A function is created without a version or alias; its name must not end in :{target.qualifier}."
        )
    _check_package_type(given)
    if not given.get("Runtime") or not given.get("Handler"):
        raise InvalidParameterValueException(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    _check_runtime(services, call)
    data, code = await _read_package(services, call, source)
    await _check_storage(services, target, code.size)
    version = new_version(target.key, given, code, now=services.clock.now())
    tags = given.get("Tags") or {}
    check_tags(tags)
    call.warnings.extend(tell_kept({**given, **source}))
    if await services.functions.load(target.key) is not None:
        _refuse_taken(target)
    await services.code.put(data)
    head = new_head(version, tags)
    try:
        await services.functions.create(head)
    except AlreadyExists:
        _refuse_taken(target)
    start_activation(services, head)
    return _output(render_configuration(head, Reply.CREATE))


async def get_function(services: Services, call: Call) -> Output:
    """Return configuration, and where the code can be fetched for ten minutes."""
    target = find_target(call, "GetFunction")
    head = await _load(services, target)
    code = head.latest.code
    output: Output = {
        "Configuration": render_configuration(head, Reply.GET, qualifier=target.qualifier),
        "Code": {
            "RepositoryType": "S3",
            "Location": render_link(services, call.base_url, code.sha256),
        },
    }
    if code.kms_key_arn is not None:
        output["Code"]["SourceKMSKeyArn"] = code.kms_key_arn
    if head.tags:
        output["Tags"] = dict(head.tags)
    return output


async def get_function_configuration(services: Services, call: Call) -> Output:
    """Return the configuration alone."""
    target = find_target(call, "GetFunctionConfiguration")
    head = await _load(services, target)
    return _output(render_configuration(head, Reply.GET, qualifier=target.qualifier))


async def update_function_code(services: Services, call: Call) -> Output:
    """Give the function another package; the former one serves until the new one is ready."""
    given = call.input
    _check_sent(given)
    target = find_target(call, "UpdateFunctionCode", narrow=True)

    async def change(current: FunctionVersion) -> FunctionVersion:
        data, code = await _read_package(services, call, given)
        await _check_storage(services, target, code.size - current.code.size)
        if not given.get("DryRun"):
            await services.code.put(data)
        return _with_code(services, current, given, code)

    head = await _update(services, call, target, change)
    call.warnings.extend(tell_kept(given))
    return _output(render_configuration(head, Reply.UPDATE))


async def update_function_configuration(services: Services, call: Call) -> Output:
    """Change what is given; the former configuration serves until the new one is ready."""
    target = find_target(call, "UpdateFunctionConfiguration", narrow=True)

    async def change(current: FunctionVersion) -> FunctionVersion:
        if call.input.get("Runtime") is not None:
            _check_runtime(services, call)
        return changed_version(current, call.input, now=services.clock.now())

    head = await _update(services, call, target, change)
    call.warnings.extend(tell_kept(call.input))
    return _output(render_configuration(head, Reply.UPDATE))


async def delete_function(services: Services, call: Call) -> None:
    """Remove the function in whatever state; running invocations end normally.

    Source: docs/aws-behaviour.md, functions 7.8.
    """
    target = find_target(call, "DeleteFunction")
    qualifier = target.qualifier
    if qualifier == LATEST:
        raise InvalidParameterValueException(
            "$LATEST version cannot be deleted without deleting the function."
        )
    if qualifier is None:
        if not await services.functions.delete(target.key):
            raise ResourceNotFoundException(f"Function not found: {target.arn}")
        return
    if re.fullmatch(r"[0-9]+", qualifier) is None and "$" not in qualifier:
        raise InvalidParameterValueException("Deletion of aliases is not currently supported.")
    # A version that is not there is as good as deleted; a function that is not there is an error.
    if await services.functions.load(target.key) is None:
        raise ResourceNotFoundException(f"Function not found: {target.key.arn()}")


async def list_functions(services: Services, call: Call) -> Output:
    """Return a page of the account's functions, by name.

    Source: docs/aws-behaviour.md, functions 7.9.
    """
    given = call.input
    qualifier = LATEST if given.get("FunctionVersion") == "ALL" else None
    limit = min(given.get("MaxItems") or limits.LIST_FUNCTIONS_PAGE, limits.LIST_FUNCTIONS_PAGE)
    after = _parse_marker(call, given["Marker"]) if given.get("Marker") else ""
    account, region = call.caller.account, call.caller.region
    # One more than is shown tells whether there is another page.
    heads = await services.functions.page(account, region, after=after, limit=limit + 1)
    shown = heads[:limit]
    output: Output = {
        "Functions": [render_configuration(head, Reply.LIST, qualifier=qualifier) for head in shown]
    }
    if len(heads) > limit:
        output["NextMarker"] = _render_marker(call, shown[-1].key.name)
    return output


async def _load(services: Services, target: Target) -> FunctionHead:
    """Return the function whose ``$LATEST`` is asked for.

    Raises:
        ResourceNotFoundException: there is no such function, version or alias.
    """
    head = await services.functions.load(target.key)
    if head is None or target.qualifier not in {None, LATEST}:
        raise ResourceNotFoundException(f"Function not found: {target.arn}")
    return head


async def _update(
    services: Services,
    call: Call,
    target: Target,
    change: Callable[[FunctionVersion], Awaitable[FunctionVersion]],
) -> FunctionHead:
    """Store what ``change`` makes of the latest document and have it activated.

    With DryRun all checks are made and the head is returned as it would look, with
    its state as it is.

    Raises:
        ResourceNotFoundException: there is no such function.
        PreconditionFailedException: another RevisionId was expected.
        ResourceConflictException: the state does not allow it.
    """
    while True:
        head = await _load(services, target)
        check_revision(head, call.input.get("RevisionId"))
        check_changeable(head)
        version = await change(head.latest)
        if call.input.get("DryRun"):
            return head.evolve(latest=version)
        updated = begin_update(head, version)
        try:
            await services.functions.replace(updated, head.revision_id)
        except Conflict:
            # Somebody else was first: all checks hold for what is there now, or refuse it.
            continue
        start_activation(services, updated)
        return updated


def _with_code(
    services: Services, current: FunctionVersion, given: dict[str, Any], code: CodePackage
) -> FunctionVersion:
    """Return the document with another package; a dry run keeps the time of the last change."""
    now = current.modified_at if given.get("DryRun") else services.clock.now()
    changes = {"Architectures": given.get("Architectures")}
    return changed_version(current, changes, now=now, code=code)


def _check_sent(source: Mapping[str, Any]) -> None:
    """Refuse a package whose size alone is too much: that is told before anything else."""
    if (data := source.get("ZipFile")) is not None:
        packages.check_zipped_size(data)


async def _read_package(
    services: Services, call: Call, source: Mapping[str, Any]
) -> tuple[bytes, CodePackage]:
    """Return the package that the caller sent, or named in S3, and what is stored beside it.

    Args:
        services: whose ``fetch_code`` reads from S3.
        call: whose region S3 is asked for.
        source: the members of the model's ``FunctionCode``.

    Raises:
        InvalidParameterValueException: there is no source, or more than one; S3 does
            not give it; it cannot be unpacked.

    Source: docs/aws-behaviour.md, functions 7.6.
    """
    data: bytes | None = source.get("ZipFile")
    bucket, key, version = (source.get(member) for member in ("S3Bucket", "S3Key", "S3ObjectVersion"))
    if data is not None:
        if bucket or key or version:
            raise InvalidParameterValueException(
                "Please do not provide other FunctionCode parameters when providing a ZipFile."
            )
    elif bucket and key:
        data = await services.fetch_code(S3Object(bucket, key, version), call.caller.region)
    else:
        raise InvalidParameterValueException("Please provide a source for function code.")
    await packages.inspect(data)
    code = await packages.describe(data)
    return data, dataclasses.replace(code, kms_key_arn=source.get("SourceKMSKeyArn") or None)


async def _check_storage(services: Services, target: Target, added: int) -> None:
    """Refuse a package that the account has no room for.

    Raises:
        CodeStorageExceededException: all packages together would be over the quota.

    Source: docs/aws-behaviour.md, functions 7.4.
    """
    _, stored = await services.functions.usage(target.key.account, target.key.region)
    if added > 0 and stored + added > limits.ACCOUNT_CODE_BYTES:
        raise CodeStorageExceededException("Code storage limit exceeded.")


def _check_package_type(given: dict[str, Any]) -> None:
    if given.get("PackageType") not in {None, "Zip"}:
        raise InvalidParameterValueException(
            f"PackageType {given['PackageType']} is not served by this version of Lambent."
        )


def _check_runtime(services: Services, call: Call) -> None:
    warning = services.runtime_check(call.input["Runtime"])
    if warning is not None and warning not in call.warnings:
        call.warnings.append(warning)


def _refuse_taken(target: Target) -> NoReturn:
    raise ResourceConflictException(f"Function already exist: {target.key.name}")


def _render_marker(call: Call, name: str) -> str:
    """Return an opaque text that says where the next page begins."""
    return base64.urlsafe_b64encode(_marker_check(call, name) + name.encode()).decode()


def _parse_marker(call: Call, marker: str) -> str:
    """Return the name behind which a page begins.

    Raises:
        InvalidParameterValueException: this account was not given that marker.
    """
    try:
        text = base64.b64decode(marker.encode(), altchars=b"-_", validate=True)
        name = text[_MARKER_CHECK_BYTES:].decode()
    except (binascii.Error, UnicodeError):
        name = ""
    if not name or _render_marker(call, name) != marker:
        raise InvalidParameterValueException("Invalid marker")
    return name


def _marker_check(call: Call, name: str) -> bytes:
    # Not a secret, there is nothing to protect: it tells markers from mistakes.
    text = f"ListFunctions\n{call.caller.account}\n{call.caller.region}\n{name}"
    return hashlib.sha256(text.encode()).digest()[:_MARKER_CHECK_BYTES]


def _output(shown: FunctionConfigurationTypeDef) -> Output:
    return cast(Output, shown)


__all__ = [
    "create_function",
    "delete_function",
    "get_function",
    "get_function_configuration",
    "list_functions",
    "update_function_code",
    "update_function_configuration",
]
