"""Accounts and regions on one port: nothing is seen, run or changed from another one.

Source: docs/aws-behaviour.md, invoke 1.1 and versions-permissions 5.6 and 5.8.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from botocore import UNSIGNED

from lambent.api.operations import OPERATIONS
from tests.integration.conftest import (
    ROLE,
    RUNTIME,
    Functions,
    RunningServer,
    pack,
    publish_live,
    running_server,
)
from tests.integration.events_harness import control
from tests.integration.operation_calls import BY_ARN, CALLS, call

ACCOUNT, REGION = "123456789012", "us-west-2"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:my-function"
TELLING = "def handler(event, context):\n    return [context.invoked_function_arn, {mark!r}]\n"

NAMELESS = {"CreateFunction", "ListFunctions", "GetAccountSettings"}
# IAM actions that are not called as the operation is.
ACTIONS = {"Invoke": "InvokeFunction"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own: here the whole account is looked at."""
    with running_server(tmp_path_factory.mktemp("accounts")) as running:
        yield running


def create(client: Any, mark: str) -> None:
    Functions(client)(TELLING.format(mark=mark), FunctionName="my-function")
    publish_live(client, "my-function")
    client.put_function_event_invoke_config(FunctionName="my-function", MaximumRetryAttempts=0)
    client.add_permission(
        FunctionName="my-function",
        StatementId="own",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
    )
    one = {"FunctionName": "my-function", "Qualifier": "1"}
    client.put_provisioned_concurrency_config(**one, ProvisionedConcurrentExecutions=1)
    while client.get_provisioned_concurrency_config(**one)["Status"] != "READY":
        continue


@pytest.fixture(scope="module")
def owner(server: RunningServer) -> Any:
    """The account in the region that has a function, a version and an alias."""
    client = server.client(account=ACCOUNT, region=REGION)
    create(client, "owner")
    return client


@pytest.fixture(scope="module", params=["account", "region", "both"])
def stranger(request: pytest.FixtureRequest, server: RunningServer) -> Any:
    """Somebody who has another account, another region, or both."""
    where = {
        "account": {"account": "222233334444", "region": REGION},
        "region": {"account": ACCOUNT, "region": "eu-central-1"},
        "both": {"account": "222233334444", "region": "eu-central-1"},
    }[request.param]
    return server.client(**where)


def everything(client: Any) -> str:
    """Return all that the owner sees of the function."""
    shown = client.get_function(FunctionName="my-function")
    # A new link each time.
    shown["Code"].pop("Location")
    parts = [
        shown,
        client.list_versions_by_function(FunctionName="my-function"),
        client.list_aliases(FunctionName="my-function"),
        client.list_function_event_invoke_configs(FunctionName="my-function"),
        client.list_provisioned_concurrency_configs(FunctionName="my-function"),
        client.get_policy(FunctionName="my-function"),
        client.list_functions(),
        client.get_account_settings(),
    ]
    for part in parts:
        part.pop("ResponseMetadata")
    return json.dumps(parts, sort_keys=True, default=str)


def test_every_operation_is_in_the_matrix() -> None:
    assert {*CALLS, *BY_ARN, *NAMELESS} == {"Invoke", *OPERATIONS}


@pytest.mark.parametrize("operation", CALLS)
def test_a_bare_name_is_one_of_the_callers_own(owner: Any, stranger: Any, operation: str) -> None:
    before = everything(owner)
    code, status, _ = call(stranger, operation, FunctionName="my-function", **CALLS[operation])

    assert (code, status) == ("ResourceNotFoundException", 404)
    assert everything(owner) == before


@pytest.mark.parametrize("operation", [*CALLS, *BY_ARN])
def test_an_arn_leads_nowhere_from_elsewhere(owner: Any, stranger: Any, operation: str) -> None:
    before = everything(owner)
    member = "Resource" if operation in BY_ARN else "FunctionName"
    code, status, text = call(stranger, operation, **{member: ARN}, **(CALLS | BY_ARN)[operation])

    if stranger.meta.region_name != REGION:
        here = stranger.meta.region_name
        assert (code, status) == ("ResourceNotFoundException", 404)
        assert text == f"Functions from '{REGION}' are not reachable in this region ('{here}')"
    else:
        action = ACTIONS.get(operation, operation)
        assert (code, status) == ("AccessDeniedException", 403)
        assert text == (
            f"User: arn:aws:iam::222233334444:root is not authorized to perform: lambda:{action} on resource: "
            f"{ARN} because no resource-based policy allows the lambda:{action} action"
        )
    assert everything(owner) == before


@pytest.mark.parametrize("operation", CALLS)
def test_a_partial_arn_tells_the_account_too(owner: Any, stranger: Any, operation: str) -> None:
    before = everything(owner)
    name = f"{ACCOUNT}:function:my-function"
    code, status, _ = call(stranger, operation, FunctionName=name, **CALLS[operation])

    is_same_account = stranger._request_signer._credentials.access_key == ACCOUNT
    wanted = ("ResourceNotFoundException", 404) if is_same_account else ("AccessDeniedException", 403)
    assert (code, status) == wanted
    assert everything(owner) == before


def test_lists_and_settings_are_those_of_the_caller(owner: Any, stranger: Any) -> None:
    assert len(owner.list_functions()["Functions"]) == 1
    for options in ({}, {"FunctionVersion": "ALL"}):
        assert stranger.list_functions(**options)["Functions"] == []
    assert stranger.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    assert owner.get_account_settings()["AccountUsage"]["FunctionCount"] == 1


def test_the_same_name_is_another_function_elsewhere(server: RunningServer, owner: Any) -> None:
    there = server.client(account="333344445555", region=REGION)
    create(there, "there")
    for client, account, mark in ((owner, ACCOUNT, "owner"), (there, "333344445555", "there")):
        base = f"arn:aws:lambda:{REGION}:{account}:function:my-function"
        for qualifier in ("1", "live"):
            answer = client.invoke(FunctionName="my-function", Qualifier=qualifier)
            assert json.loads(answer["Payload"].read()) == [f"{base}:{qualifier}", mark]
    there.delete_function(FunctionName="my-function")
    assert call(owner, "GetAlias", FunctionName="my-function", Name="live")[0] is None


@pytest.mark.parametrize(
    "name",
    [
        "arn:aws:lambda:us-west-2:123456789012:function:my-function",
        "123456789012:function:my-function",
        "my-function",
        "arn:aws:lambda:us-west-2:123456789012:function:my-function:1",
        "arn:aws:lambda:us-west-2:123456789012:function:my-function:live",
    ],
)
def test_the_documentations_own_examples_work(owner: Any, name: str) -> None:
    """Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, FunctionName."""
    answer = owner.invoke(FunctionName=name)
    assert json.loads(answer["Payload"].read())[1] == "owner"


def test_a_function_is_created_in_the_account_and_region_of_its_caller_only(server: RunningServer) -> None:
    client = server.client(account="222233334444", region=REGION)
    given = {
        "Runtime": RUNTIME,
        "Role": ROLE,
        "Handler": "index.handler",
        "Code": {"ZipFile": pack(index="x=1")},
    }

    elsewhere = "arn:aws:lambda:eu-central-1:222233334444:function:f"
    assert call(client, "CreateFunction", FunctionName=elsewhere, **given)[:2] == (
        "ResourceNotFoundException",
        404,
    )
    foreign = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    assert call(client, "CreateFunction", FunctionName=foreign, **given)[:2] == ("AccessDeniedException", 403)
    assert client.list_functions()["Functions"] == []


def test_any_other_key_and_no_signature_at_all_are_the_servers_own_account(server: RunningServer) -> None:
    session = botocore.session.get_session()
    unsigned = session.create_client(
        "lambda",
        endpoint_url=server.url,
        region_name="us-east-1",
        config=botocore.config.Config(signature_version=UNSIGNED),
    )
    create(server.client(account="AKIDEXAMPLE", region="us-east-1"), "mine")
    for client in (unsigned, server.client(account="another key"), server.client(account="000000000000")):
        answer = client.invoke(FunctionName="my-function")
        assert json.loads(answer["Payload"].read()) == [
            "arn:aws:lambda:us-east-1:000000000000:function:my-function",
            "mine",
        ]


# -- what resource policies open at level none


@pytest.fixture
def permit(owner: Any) -> Iterator[Callable[..., None]]:
    """Add statements to the policies of the owner's function; they are gone after the test."""
    added: list[dict[str, str]] = []

    def add(principal: str, qualifier: str | None = None, action: str = "lambda:InvokeFunction") -> None:
        place = {"FunctionName": "my-function", "StatementId": f"s{len(added)}"}
        if qualifier is not None:
            place["Qualifier"] = qualifier
        owner.add_permission(**place, Action=action, Principal=principal)
        added.append(place)

    yield add
    for place in added:
        owner.remove_permission(**place)


def codes_of_invocations(client: Any, name: str) -> set[str | None]:
    """Return how an invocation of each kind is refused."""
    kinds: tuple[dict[str, str], ...] = ({}, {"InvocationType": "DryRun"}, {"InvocationType": "Event"})
    codes = {call(client, "Invoke", FunctionName=name, **kind)[0] for kind in kinds}
    return codes | {call(client, "InvokeAsync", FunctionName=name, InvokeArgs=b"1")[0]}


DENIED = {"AccessDeniedException"}


@pytest.mark.parametrize(
    ("principal", "may"),
    [
        ("222233334444", True),
        ("arn:aws:iam::222233334444:root", True),
        ("*", True),
        ("333344445555", False),
        (ACCOUNT, False),
        # Nobody has proved to be a user of that account.
        ("arn:aws:iam::222233334444:user/ann", False),
        ("s3.amazonaws.com", False),
    ],
)
def test_another_accounts_function_follows_its_policy(
    server: RunningServer, owner: Any, permit: Callable[..., None], principal: str, may: bool
) -> None:
    other = server.client(account="222233334444", region=REGION)
    assert codes_of_invocations(other, ARN) == DENIED
    permit(principal)
    assert codes_of_invocations(other, ARN) == ({None} if may else DENIED)
    # Nothing but the function itself, and nothing that is not there.
    for name in (f"{ARN}:1", f"{ARN}:live", f"{ARN}:absent", f"{ARN}-absent"):
        assert codes_of_invocations(other, name) == DENIED
    # Inside the account everything is free, whatever the policy says.
    assert codes_of_invocations(owner, ARN) == {None}


@pytest.mark.parametrize("qualifier", ["1", "live"])
def test_a_policy_of_a_version_or_alias_opens_that_one(
    server: RunningServer, permit: Callable[..., None], qualifier: str
) -> None:
    other = server.client(account="222233334444", region=REGION)
    permit("*", qualifier)
    for name in (None, "1", "live", "$LATEST"):
        arn = ARN if name is None else f"{ARN}:{name}"
        assert codes_of_invocations(other, arn) == ({None} if name == qualifier else DENIED)


@pytest.mark.parametrize("operation", sorted({*CALLS, *BY_ARN} - {"Invoke"}))
def test_other_operations_across_accounts_are_refused_whatever_the_policy_says(
    server: RunningServer, owner: Any, permit: Callable[..., None], operation: str
) -> None:
    other = server.client(account="222233334444", region=REGION)
    permit("*", action="lambda:*")
    before = everything(owner)
    member = "Resource" if operation in BY_ARN else "FunctionName"
    code, _, text = call(other, operation, **{member: ARN}, **(CALLS | BY_ARN)[operation])
    assert code == "AccessDeniedException"
    assert text.endswith(f"because no resource-based policy allows the lambda:{operation} action")
    assert everything(owner) == before


def test_a_key_that_the_server_issued_is_its_account(server: RunningServer, owner: Any) -> None:
    made = [
        control(server, "POST", "/add-user", json.dumps(asked).encode(), name="iam").json["AccessKeyId"]
        for asked in ({"name": "ann", "account": ACCOUNT}, {"name": "bob", "account": "222233334444"})
    ]
    ann, bob = (server.client(account=key, region=REGION) for key in made)
    # Without a policy, and with a secret that nobody checks.
    assert codes_of_invocations(ann, "my-function") == {None}
    assert everything(ann) == everything(owner)
    assert call(bob, "Invoke", FunctionName="my-function")[0] == "ResourceNotFoundException"
    text = call(bob, "Invoke", FunctionName=ARN)[2]
    assert text.startswith("User: arn:aws:iam::222233334444:root is not authorized to perform: ")
    # A key that is gone is any other key again.
    asked = json.dumps({"name": "ann", "account": ACCOUNT}).encode()
    assert control(server, "POST", "/rm", asked, name="iam").status == 200
    assert call(ann, "GetFunction", FunctionName="my-function")[0] == "ResourceNotFoundException"


def test_settings_name_the_account_and_region_of_those_who_say_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("settings")
    with running_server(
        folder, LAMBENT_SERVER_ACCOUNT="999988887777", LAMBENT_SERVER_REGION="ap-southeast-2"
    ) as running:
        unsigned = botocore.session.get_session().create_client(
            "lambda",
            endpoint_url=running.url,
            region_name="us-east-1",
            config=botocore.config.Config(signature_version=UNSIGNED),
        )
        create(unsigned, "default")
        arn = unsigned.get_function_configuration(FunctionName="my-function")["FunctionArn"]
        assert arn == "arn:aws:lambda:ap-southeast-2:999988887777:function:my-function"
        # The region of a signature counts, whoever signs.
        assert running.client(region="us-east-1").list_functions()["Functions"] == []
