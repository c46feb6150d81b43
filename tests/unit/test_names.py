"""Function names: every form, the two patterns, and what they mean for a caller."""

from __future__ import annotations

import pytest

from lambent.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from lambent.model.functions import FunctionKey
from lambent.model.invocations import Caller
from lambent.model.names import (
    NARROW_NAME,
    QUALIFIED_NAME,
    QUALIFIER,
    FunctionReference,
    check_new_name,
    derive_qualifier,
    locate,
    matches_qualifier,
    parse_function_reference,
    resolve_key,
)

ACCOUNT = "123456789012"
REGION = "us-east-1"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("f", FunctionReference("f")),
        ("f:live", FunctionReference("f", "live")),
        ("f:$LATEST", FunctionReference("f", "$LATEST")),
        ("f:$LATEST.PUBLISHED", FunctionReference("f", "$LATEST.PUBLISHED")),
        ("my.function", FunctionReference("my.function")),
        ("function", FunctionReference("function")),
        ("function:f", FunctionReference("f")),
        ("function:f:1", FunctionReference("f", "1")),
        (ACCOUNT, FunctionReference(ACCOUNT)),
        (f"{ACCOUNT}:f", FunctionReference("f", account=ACCOUNT)),
        (f"{ACCOUNT}:function:f", FunctionReference("f", account=ACCOUNT)),
        (f"{ACCOUNT}:function:f:1", FunctionReference("f", "1", ACCOUNT)),
        (f"eu-west-1:{ACCOUNT}:function:f", FunctionReference("f", None, ACCOUNT, "eu-west-1")),
        ("eusc-de-east-1:f", FunctionReference("f", region="eusc-de-east-1")),
        (
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:live",
            FunctionReference("f", "live", ACCOUNT, REGION, "aws"),
        ),
        (
            f"arn:aws-us-gov:lambda:us-gov-west-1:{ACCOUNT}:function:f",
            FunctionReference("f", None, ACCOUNT, "us-gov-west-1", "aws-us-gov"),
        ),
        # No name after the colon: the function is called "function". invoke 1.1 [R]
        (
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function",
            FunctionReference("function", None, ACCOUNT, REGION, "aws"),
        ),
    ],
)
def test_every_form_of_a_name_is_understood(text: str, reference: FunctionReference) -> None:
    assert parse_function_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "my-function!",
        "*",
        "f\n",
        "a b",
        "a/b",
        "a%3Ab",
        "\u0663",  # an Arabic digit three is no \d of AWS
        f"arn:aws:lambda:::function:{ACCOUNT}",
        f"arn:aws:iam:{REGION}:{ACCOUNT}:function:f",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:1:2",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:$LATES",
        f"arn:aws:lambda:nowhere:{ACCOUNT}:function:f",
        f"arn:aws:lambda:{REGION}:invalid-account:function:f",
        "function:f:$LATEST:extra",
        "invalid-account:function:f",
    ],
)
def test_malformed_names_are_none(text: str) -> None:
    assert parse_function_reference(text) is None


@pytest.mark.parametrize("text", ["my.function", "f:$LATEST.PUBLISHED"])
def test_the_narrow_pattern_has_neither_dots_nor_published(text: str) -> None:
    assert parse_function_reference(text) is not None
    assert parse_function_reference(text, narrow=True) is None


def test_patterns_stand_as_aws_prints_them() -> None:
    assert QUALIFIED_NAME == (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
        r"(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
    )
    assert NARROW_NAME == (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
        r"(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
    )
    assert QUALIFIER == r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"


@pytest.mark.parametrize("text", ["$LATEST", "$LATEST.PUBLISHED", "$latest", "1", "live", "a-b_c"])
def test_well_formed_qualifiers(text: str) -> None:
    assert matches_qualifier(text)


@pytest.mark.parametrize("text", ["invalid!", "", "a.b", "live\n"])
def test_malformed_qualifiers(text: str) -> None:
    assert not matches_qualifier(text)


@pytest.mark.parametrize(
    ("name", "parameter", "meant"),
    [
        ("f", None, None),
        ("f", "1", "1"),
        ("f:1", None, "1"),
        ("f:1", "1", "1"),
        ("f:$LATEST", "$LATEST", "$LATEST"),
    ],
)
def test_qualifier_of_name_and_parameter(name: str, parameter: str | None, meant: str | None) -> None:
    assert derive_qualifier(parsed(name), parameter) == meant


def test_a_qualifier_that_contradicts_the_name_is_refused() -> None:
    with pytest.raises(InvalidParameterValueException) as refusal:
        derive_qualifier(parsed("f:$LATEST"), "1")
    assert refusal.value.message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


@pytest.mark.parametrize("name", ["f", f"{ACCOUNT}:f", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:1"])
def test_own_functions_are_located(name: str) -> None:
    assert locate(parsed(name), Caller(ACCOUNT, REGION)) == FunctionKey(ACCOUNT, REGION, "f")


def test_another_region_is_not_reachable() -> None:
    with pytest.raises(ResourceNotFoundException) as refusal:
        locate(parsed(f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f"), Caller(ACCOUNT, REGION))
    assert refusal.value.message == (
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    )


def test_another_account_is_denied_with_the_policys_words() -> None:
    foreign = "arn:aws:lambda:us-east-1:210987654321:function:f:live"
    with pytest.raises(AccessDeniedException) as refusal:
        locate(parsed(foreign), Caller(ACCOUNT, REGION), action="InvokeFunction")
    assert refusal.value.message == (
        "User: arn:aws:iam::123456789012:root is not authorized to perform: lambda:InvokeFunction on "
        f"resource: {foreign} because no resource-based policy allows the lambda:InvokeFunction action"
    )


def test_create_for_another_account_is_denied_without_a_text() -> None:
    with pytest.raises(AccessDeniedException) as refusal:
        locate(parsed("210987654321:f"), Caller(ACCOUNT, REGION))
    assert refusal.value.body() == {"Message": None}


def test_a_foreign_key_is_given_to_those_who_ask_the_policy() -> None:
    assert resolve_key(parsed("210987654321:f"), ACCOUNT, REGION) == FunctionKey("210987654321", REGION, "f")


def test_new_names_of_65_characters_are_refused_in_words_of_validation() -> None:
    check_new_name(parsed("a" * 64))
    with pytest.raises(InvalidParameterValueException) as refusal:
        check_new_name(parsed("a" * 65))
    assert refusal.value.message == (
        f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )


def parsed(text: str) -> FunctionReference:
    reference = parse_function_reference(text)
    assert reference is not None
    return reference
