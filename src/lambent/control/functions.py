"""Create, read, update, delete and list functions.

The order of checks is AWS's as far as it is known, then ours: sizes of the request,
the name, region and account, existence, RevisionId, state, and the values last.

Source: docs/aws-behaviour.md, functions 7.3 to 7.9, 7.16 and 7.18.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

from lambent import limits
from lambent.control.activation import start_activation
from lambent.control.code import render_link
from lambent.control.code_source import S3Object
from lambent.control.concurrency import render_reserved
from lambent.control.configuration import (
    Reply,
    changed_version,
    new_version,
    render_configuration,
)
from lambent.control.kept import tell_kept
from lambent.control.operation import Call, Output, Services, Target, find_target, load_function
from lambent.control.paging import cut_page, page_size, parse_marker, render_marker
from lambent.control.states import begin_update, check_changeable, check_revision, new_head
from lambent.control.tags import check_tags
from lambent.control.versions import find_published, freeze
from lambent.model.errors import (
    CodeStorageExceededException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambent.model.functions import LATEST, CodePackage, FunctionHead, FunctionVersion, is_version
from lambent.model.names import check_new_name, parse_function_reference
from lambent.storage import packages
from lambent.storage.contracts import AlreadyExists, Conflict, Referenced

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import FunctionConfigurationTypeDef


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
    call.warnings.extend(tell_kept({**given, **source}, can_deliver=services.can_deliver))
    if await services.functions.load(target.key) is not None:
        _refuse_taken(target)
    await services.code.put(data)
    head, published = new_head(version, tags), None
    if given.get("Publish"):
        head, published = freeze(head, description=None, now=version.modified_at, is_active=False)
    try:
        await services.functions.create(head, published)
    except AlreadyExists:
        _refuse_taken(target)
    for made in filter(None, (head, published)):
        start_activation(services, made)
    return _output(render_configuration(published or head, Reply.CREATE))


async def get_function(services: Services, call: Call) -> Output:
    """Return configuration, and where the code can be fetched for ten minutes."""
    target = find_target(call, "GetFunction")
    head = await _load(services, target)
    code = head.latest.code
    # What belongs to the function as a whole is shown of its versions, too.
    function = head if head.version == LATEST else await services.functions.load(head.key) or head
    output: Output = {
        "Configuration": render_configuration(head, Reply.GET, qualifier=target.qualifier),
        "Code": {
            "RepositoryType": "S3",
            "Location": render_link(services, call.base_url, code.sha256),
        },
    }
    if code.kms_key_arn is not None:
        output["Code"]["SourceKMSKeyArn"] = code.kms_key_arn
    if function.tags:
        output["Tags"] = dict(function.tags)
    if concurrency := render_reserved(function):
        output["Concurrency"] = concurrency
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
    call.warnings.extend(tell_kept(given, can_deliver=services.can_deliver))
    qualifier = None if head.version == LATEST else head.version
    return _output(render_configuration(head, Reply.UPDATE, qualifier=qualifier))


async def update_function_configuration(services: Services, call: Call) -> Output:
    """Change what is given; the former configuration serves until the new one is ready."""
    target = find_target(call, "UpdateFunctionConfiguration", narrow=True)

    async def change(current: FunctionVersion) -> FunctionVersion:
        if call.input.get("Runtime") is not None:
            _check_runtime(services, call)
        return changed_version(current, call.input, now=services.clock.now())

    head = await _update(services, call, target, change)
    call.warnings.extend(tell_kept(call.input, can_deliver=services.can_deliver))
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
    if not is_version(qualifier) and "$" not in qualifier:
        raise InvalidParameterValueException("Deletion of aliases is not currently supported.")
    # A version that is not there is as good as deleted; a function that is not there is an error.
    await load_function(services, target.key)
    try:
        await services.functions.delete_version(target.key, qualifier)
    except Referenced as referenced:
        raise ResourceConflictException(
            "Unable to delete version because the following aliases reference it: "
            f"[{', '.join(referenced.aliases)}]"
        ) from None


async def list_functions(services: Services, call: Call) -> Output:
    """Return a page of the account's functions, by name.

    Source: docs/aws-behaviour.md, functions 7.9.
    """
    account, region = call.caller.account, call.caller.region
    shows_all = call.input.get("FunctionVersion") == "ALL"
    scope = f"ListFunctions {call.input.get('FunctionVersion')}"
    after, limit = parse_marker(call, scope) or "", page_size(call) + 1
    if shows_all:
        name, _, number = after.partition(":")
        found = await services.functions.page_all(
            account, region, after=(name, int(number or "0")), limit=limit
        )
    else:
        found = await services.functions.page(account, region, after=after, limit=limit)
    shown, has_more = cut_page(call, found)
    output: Output = {
        "Functions": [
            render_configuration(head, Reply.LIST, qualifier=head.version if shows_all else None)
            for head in shown
        ]
    }
    if has_more:
        last = shown[-1]
        position = f"{last.key.name}:{last.number}" if shows_all else last.key.name
        output["NextMarker"] = render_marker(call, scope, position)
    return output


async def _load(services: Services, target: Target) -> FunctionHead:
    """Return the head that the qualifier means; of an alias, the version without a weight of its own.

    Raises:
        ResourceNotFoundException: there is no such function, version or alias.
    """
    version = target.qualifier or LATEST
    if not is_version(version):
        alias = await services.functions.load_alias(target.key, version)
        # A name that no version has is not found below.
        version = version if alias is None else alias.version
    head = await services.functions.load(target.key, version)
    if head is None:
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
    its state as it is. With Publish the head of the version is returned: a new one, or
    the newest when it froze just that.

    Raises:
        ResourceNotFoundException: there is no such function.
        PreconditionFailedException: another RevisionId was expected.
        ResourceConflictException: the state does not allow it.
    """
    while True:
        head = await _load(services, target)
        target.require_latest()
        check_revision(head, call.input.get("RevisionId"))
        check_changeable(head)
        version = await change(head.latest)
        if call.input.get("DryRun"):
            return head.evolve(latest=version)
        updated, published, made = begin_update(head, version), None, None
        if call.input.get("Publish"):
            published = await find_published(services, updated)
            if published is None:
                updated, made = freeze(updated, description=None, now=version.modified_at, is_active=False)
        try:
            await services.functions.replace(updated, head.revision_id, made)
        except Conflict:
            # Somebody else was first: all checks hold for what is there now, or refuse it.
            continue
        for begun in filter(None, (updated, made)):
            start_activation(services, begun)
        return made or published or updated


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
    usage = await services.functions.usage(target.key.account, target.key.region)
    if added > 0 and usage.code_bytes + added > limits.ACCOUNT_CODE_BYTES:
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
