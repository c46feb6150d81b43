"""Functions are shown, listed and deleted, over a real store.

Expected values carry the section of docs/aws-behaviour.md they come from.
"""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.contract.rig import (
    ARN,
    KEY,
    Operation,
    Rig,
    Run,
    created,
    refused,
    shown,
    zip_of,
)

from lambent.control.account import get_account_settings
from lambent.control.code import open_link
from lambent.control.functions import (
    create_function,
    delete_function,
    get_function,
    get_function_configuration,
    list_functions,
)
from lambent.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
    ServiceError,
)
from lambent.model.functions import State

# -- get


def test_get_has_configuration_and_a_link_to_the_code(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        reply = await get_function(rig.services, rig.call(FunctionName="f"))
        assert reply["Configuration"] == await shown(rig)
        assert reply["Code"].keys() == {"RepositoryType", "Location"}
        assert reply["Code"]["RepositoryType"] == "S3"
        url = urlsplit(reply["Code"]["Location"])
        assert f"{url.scheme}://{url.netloc}" == "http://127.0.0.1:3001"
        sha256 = url.path.removeprefix("/_lambent/code/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        rig.clock.advance(600)
        assert await open_link(rig.services, sha256, query) == zip_of()
        for changed in (
            {"signature": "0" * 64},
            {"signature": "é"},
            {"expires": "9999999999"},
            {"expires": ""},
        ):
            with pytest.raises(AccessDeniedException):
                await open_link(rig.services, sha256, {**query, **changed})
        with pytest.raises(AccessDeniedException):
            await open_link(rig.services, "ab" * 32, query)
        with pytest.raises(AccessDeniedException):
            await open_link(rig.services, sha256, {})
        rig.clock.advance(1)
        with pytest.raises(AccessDeniedException, match="expired"):
            await open_link(rig.services, sha256, query)

    run(scenario)


@pytest.mark.parametrize("operation", [get_function, get_function_configuration])
def test_get_shows_the_arn_as_asked(run: Run, operation: Operation) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        for name, qualifier, suffix in (
            ("f", None, ""),
            ("f", "$LATEST", ":$LATEST"),
            ("f:$LATEST", None, ":$LATEST"),
            (ARN, None, ""),
        ):
            members = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
            reply = await operation(rig.services, rig.call(**members))
            assert reply.get("Configuration", reply)["FunctionArn"] == ARN + suffix

    run(scenario)


@pytest.mark.parametrize("operation", [get_function, get_function_configuration])
@pytest.mark.parametrize("qualifier", [None, "1221", "$LATEST", "live", "$latest"])
def test_get_of_what_is_not_there_names_it_as_asked(
    run: Run, operation: Operation, qualifier: str | None
) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.call(FunctionName="f", **({"Qualifier": qualifier} if qualifier else {}))
        text = f"Function not found: {ARN}" + (f":{qualifier}" if qualifier else "")
        await refused(rig, operation, call, ResourceNotFoundException, text)
        await created(rig)
        if qualifier not in {None, "$LATEST"}:
            await refused(rig, operation, call, ResourceNotFoundException, text)

    run(scenario)


def test_qualifiers_that_differ_are_refused_before_existence(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        text = "The derived qualifier from the function name does not match the specified qualifier."
        for operation in (get_function, delete_function):
            call = rig.call(FunctionName="f:$LATEST", Qualifier="1")
            await refused(rig, operation, call, InvalidParameterValueException, text)

    run(scenario)


# -- delete

LATEST_STAYS = "$LATEST version cannot be deleted without deleting the function."
NO_ALIASES = "Deletion of aliases is not currently supported."


def test_deleted_function_is_gone_and_its_name_is_free(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        first = await created(rig)
        await delete_function(rig.services, rig.call(FunctionName=ARN))
        text = f"Function not found: {ARN}"
        for operation in (get_function, delete_function):
            await refused(rig, operation, rig.call(FunctionName="f"), ResourceNotFoundException, text)
        second = await created(rig)
        assert second["RevisionId"] != first["RevisionId"]
        head = await rig.functions.load(KEY)
        assert head is not None
        assert head.state is State.ACTIVE

    run(scenario)


@pytest.mark.parametrize(
    ("qualifier", "exists", "error", "text"),
    [
        # functions 7.8 [R]
        ("$LATEST", True, InvalidParameterValueException, LATEST_STAYS),
        ("$LATEST", False, InvalidParameterValueException, LATEST_STAYS),
        ("live", True, InvalidParameterValueException, NO_ALIASES),
        ("live", False, InvalidParameterValueException, NO_ALIASES),
        ("2024-01-02", False, InvalidParameterValueException, NO_ALIASES),
        ("7", False, ResourceNotFoundException, f"Function not found: {ARN}"),
        ("$latest", False, ResourceNotFoundException, f"Function not found: {ARN}"),
        ("7", True, None, ""),
    ],
)
def test_delete_with_a_qualifier(
    run: Run, qualifier: str, exists: bool, error: type[ServiceError] | None, text: str
) -> None:
    async def scenario(rig: Rig) -> None:
        if exists:
            await created(rig)
        call = rig.call(FunctionName="f", Qualifier=qualifier)
        if error is None:
            await delete_function(rig.services, call)
        else:
            await refused(rig, delete_function, call, error, text)
        assert (await rig.functions.load(KEY) is not None) == exists

    run(scenario)


# -- list and account


def test_list_is_by_name_fifty_a_page_and_without_state(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        names = sorted(f"f{number}" for number in range(120))
        await asyncio.gather(*(create_function(rig.services, rig.create_call(name)) for name in names))
        await rig.settled()
        seen: list[str] = []
        pages = []
        marker: dict[str, str] = {}
        while True:
            reply = await list_functions(rig.services, rig.call(MaxItems=10_000, **marker))
            pages.append(len(reply["Functions"]))
            seen += [entry["FunctionName"] for entry in reply["Functions"]]
            if "NextMarker" not in reply:
                break
            marker = {"Marker": reply["NextMarker"]}
        assert pages == [50, 50, 20]
        assert seen == names
        # functions 7.2: lists drop exactly these.
        full, entry = await shown(rig, "f0"), reply["Functions"][-1]
        assert full.keys() - entry.keys() == {"State", "LastUpdateStatus", "RuntimeVersionConfig"}
        reply = await list_functions(rig.services, rig.call(MaxItems=2, FunctionVersion="ALL"))
        assert [entry["FunctionArn"][-10:] for entry in reply["Functions"]] == ["f0:$LATEST", "f1:$LATEST"]

    run(scenario)


def test_list_of_another_account_is_empty(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        for place in ({"account": "000000000000"}, {"region": "us-east-1"}):
            assert await list_functions(rig.services, rig.call(**place)) == {"Functions": []}

    run(scenario)


def test_marker_that_was_not_given_is_refused(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        for name in ("a", "b"):
            await created(rig, name)
        marker = (await list_functions(rig.services, rig.call(MaxItems=1)))["NextMarker"]
        for wrong in (
            "x",
            marker[:-4],
            "A" + marker[1:],
            "é",
            base64.b64encode(b"a").decode(),
            marker + "====",
        ):
            call = rig.call(Marker=wrong)
            await refused(rig, list_functions, call, InvalidParameterValueException, "Invalid marker")
        call = rig.call(Marker=marker, account="000000000000")
        await refused(rig, list_functions, call, InvalidParameterValueException, "Invalid marker")

    run(scenario)


def test_account_settings_count_what_is_used(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, "a")
        await created(rig, "b")
        reply = await get_account_settings(rig.services, rig.call())
        # functions 7.15 [W]: these seven members, in this order.
        assert reply == {
            "AccountLimit": {
                "TotalCodeSize": 80530636800,
                "CodeSizeUnzipped": 262144000,
                "CodeSizeZipped": 52428800,
                "ConcurrentExecutions": 1000,
                "UnreservedConcurrentExecutions": 1000,
            },
            "AccountUsage": {"TotalCodeSize": 2 * len(zip_of()), "FunctionCount": 2},
        }

    run(scenario)
