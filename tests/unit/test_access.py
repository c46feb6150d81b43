"""What each operation asks of policies: the complete table.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
and docs/aws-behaviour.md, versions-permissions 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from lambent.api.access import find_accesses, invoke_access
from lambent.api.invoke import SERVED
from lambent.api.operations import OPERATIONS
from lambent.api.service_model import load_service_model
from lambent.invocation.authorize import Access
from lambent.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lambent.model.functions import FunctionKey
from lambent.model.invocations import Caller

ACCOUNT, OTHER, REGION = "111122223333", "444455556666", "eu-west-1"
CALLER = Caller(ACCOUNT, REGION)
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/worker"


class Row(NamedTuple):
    """One call, and what it asks for.

    ``qualified`` is whether the operation has the parameter Qualifier; ``context`` are further
    condition keys, ``others`` what else has to be allowed: action and resource.
    """

    members: Mapping[str, Any] = {}
    resource: str = FUNCTION
    qualified: bool = False
    context: Mapping[str, str] = {}
    others: tuple[tuple[str, str], ...] = ()
    action: str = ""


NAME = {"FunctionName": "f"}
BY_ARN = {"Resource": FUNCTION}
WHOLE = Row(NAME)
VERSIONED = Row(NAME, qualified=True)
ALIAS = Row({**NAME, "Name": "live"})
TAGS = Row(BY_ARN)
ACCOUNTS_OWN = Row(resource="*")
PASS_ROLE = (("iam:PassRole", ROLE),)

TABLE = {
    "Invoke": Row(NAME, qualified=True, action="InvokeFunction"),
    "InvokeAsync": Row(NAME, action="InvokeFunction"),
    "InvokeWithResponseStream": Row(NAME, qualified=True, action="InvokeFunction"),
    "CreateFunction": Row({**NAME, "Role": ROLE}, others=PASS_ROLE),
    "GetFunction": VERSIONED,
    "GetFunctionConfiguration": VERSIONED,
    "UpdateFunctionCode": WHOLE,
    "UpdateFunctionConfiguration": WHOLE,
    "DeleteFunction": VERSIONED,
    "ListFunctions": ACCOUNTS_OWN,
    "PutFunctionConcurrency": WHOLE,
    "GetFunctionConcurrency": WHOLE,
    "DeleteFunctionConcurrency": WHOLE,
    "PutFunctionRecursionConfig": WHOLE,
    "GetFunctionRecursionConfig": WHOLE,
    "PutProvisionedConcurrencyConfig": VERSIONED,
    "GetProvisionedConcurrencyConfig": VERSIONED,
    "ListProvisionedConcurrencyConfigs": WHOLE,
    "DeleteProvisionedConcurrencyConfig": VERSIONED,
    "TagResource": TAGS,
    "UntagResource": TAGS,
    "ListTags": TAGS,
    "PublishVersion": WHOLE,
    "ListVersionsByFunction": WHOLE,
    "CreateAlias": ALIAS,
    "GetAlias": ALIAS,
    "UpdateAlias": ALIAS,
    "DeleteAlias": ALIAS,
    "ListAliases": WHOLE,
    "PutFunctionEventInvokeConfig": VERSIONED,
    "UpdateFunctionEventInvokeConfig": VERSIONED,
    "GetFunctionEventInvokeConfig": VERSIONED,
    "DeleteFunctionEventInvokeConfig": VERSIONED,
    "ListFunctionEventInvokeConfigs": WHOLE,
    "AddPermission": Row(
        {**NAME, "Principal": "s3.amazonaws.com"},
        qualified=True,
        context={"lambda:principal": "s3.amazonaws.com"},
    ),
    "RemovePermission": VERSIONED,
    "GetPolicy": VERSIONED,
    "GetAccountSettings": ACCOUNTS_OWN,
}
NAMED = [operation for operation, row in TABLE.items() if "FunctionName" in row.members]


def asked(operation: str, **members: Any) -> list[Access]:
    return find_accesses(operation, members, CALLER).accesses


def test_every_operation_has_a_row() -> None:
    assert set(TABLE) == {*SERVED, *OPERATIONS}


def test_actions_are_operations_of_lambda_but_for_invoke() -> None:
    # The model lacks a few of IAM's actions, InvokeFunction among them, and no other has another name.
    named = {asked(operation, **row.members)[0].action for operation, row in TABLE.items()}
    known = {f"lambda:{operation}" for operation in load_service_model()["operations"]}
    assert named - known == {"lambda:InvokeFunction"}


@pytest.mark.parametrize("operation", TABLE)
def test_the_table(operation: str) -> None:
    row = TABLE[operation]
    own, *others = asked(operation, **row.members)
    assert own == Access(
        f"lambda:{row.action or operation}",
        row.resource,
        ACCOUNT,
        {}
        if row.resource == "*"
        else {"lambda:functionarn": (FUNCTION,), **{key: (value,) for key, value in row.context.items()}},
    )
    assert tuple((other.action, other.resource) for other in others) == row.others


@pytest.mark.parametrize("operation", TABLE)
def test_qualifiers_are_part_of_the_resource_where_there_are_any(operation: str) -> None:
    row = TABLE[operation]
    members = set(load_service_model()["shapes"][f"{_input(operation)}"]["members"])
    assert ("Qualifier" in members) is row.qualified
    if row.qualified:
        for qualifier in ("1", "live", "$LATEST"):
            found = find_accesses(operation, {**row.members, "Qualifier": qualifier}, CALLER)
            assert found.accesses[0].resource == f"{FUNCTION}:{qualifier}"
            assert found.accesses[0].context["lambda:functionarn"] == (FUNCTION,)
            # Whose policy is asked.
            assert found.function == (FunctionKey(ACCOUNT, REGION, "f"), qualifier)


def _input(operation: str) -> str:
    return str(load_service_model()["operations"][operation]["input"]["shape"])


@pytest.mark.parametrize("operation", NAMED)
@pytest.mark.parametrize(
    ("name", "account", "qualifier"),
    [
        ("f", ACCOUNT, None),
        ("f:live", ACCOUNT, "live"),
        (f"{ACCOUNT}:function:f", ACCOUNT, None),
        (FUNCTION, ACCOUNT, None),
        (f"{FUNCTION}:1", ACCOUNT, "1"),
        (f"{OTHER}:f", OTHER, None),
        (f"arn:aws:lambda:{REGION}:{OTHER}:function:f:live", OTHER, "live"),
    ],
)
def test_every_form_of_a_name_means_the_same(
    operation: str, name: str, account: str, qualifier: str | None
) -> None:
    found = find_accesses(operation, {**TABLE[operation].members, "FunctionName": name}, CALLER)
    key = FunctionKey(account, REGION, "f")
    assert found.function == (key, qualifier)
    assert found.accesses[0].resource == key.arn(qualifier)
    assert found.accesses[0].account == account


@pytest.mark.parametrize("operation", NAMED)
def test_other_regions_and_other_qualifiers_are_refused_before_anything_is_asked(operation: str) -> None:
    row = TABLE[operation].members
    elsewhere = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
    with pytest.raises(ResourceNotFoundException):
        find_accesses(operation, {**row, "FunctionName": elsewhere}, CALLER)
    with pytest.raises(InvalidParameterValueException):
        find_accesses(operation, {**row, "FunctionName": "f:1", "Qualifier": "2"}, CALLER)


@pytest.mark.parametrize("operation", ["TagResource", "UntagResource", "ListTags"])
def test_what_is_no_function_is_asked_for_by_its_arn(operation: str) -> None:
    arn = f"arn:aws:lambda:{REGION}:{OTHER}:event-source-mapping:0"
    found = find_accesses(operation, {"Resource": arn}, CALLER)
    assert found.function is None
    assert found.accesses == [Access(f"lambda:{operation}", arn, ACCOUNT)]


@pytest.mark.parametrize("operation", ["CreateFunction", "UpdateFunctionConfiguration"])
def test_who_gives_a_function_a_role_passes_it_to_lambda(operation: str) -> None:
    foreign = f"arn:aws:iam::{OTHER}:role/worker"
    for role, account in ((ROLE, ACCOUNT), (foreign, OTHER)):
        passed = asked(operation, FunctionName="f", Role=role)[1]
        assert passed == Access(
            "iam:PassRole", role, account, {"iam:passedtoservice": ("lambda.amazonaws.com",)}
        )
    assert len(asked(operation, FunctionName="f")) == 1


def test_who_creates_a_function_with_tags_tags_it() -> None:
    # docs/aws-behaviour.md, versions-permissions 5.6.
    context = {"lambda:functionarn": (FUNCTION,)}
    tagged = asked("CreateFunction", FunctionName="f", Tags={"a": "b"})
    assert tagged[1:] == [Access("lambda:TagResource", FUNCTION, ACCOUNT, context)]
    assert len(asked("CreateFunction", FunctionName="f", Tags={})) == 1


def test_permissions_of_function_urls_tell_how_these_authorize() -> None:
    (access,) = asked("AddPermission", FunctionName="f", Principal="*", FunctionUrlAuthType="NONE")
    assert access.context["lambda:principal"] == ("*",)
    assert access.context["lambda:functionurlauthtype"] == ("NONE",)


@pytest.mark.parametrize("qualifier", [None, "1", "live", "$LATEST"])
def test_the_shorter_way_of_invoke_asks_the_same(qualifier: str | None) -> None:
    members = {"FunctionName": "f", **({} if qualifier is None else {"Qualifier": qualifier})}
    assert asked("Invoke", **members) == [invoke_access(FunctionKey(ACCOUNT, REGION, "f"), qualifier)]
