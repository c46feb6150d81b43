"""Constraint messages, word for word as docs/aws-behaviour.md has them (functions 7.5-7.11, invoke 1.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.api.codec import Codec
from lambent.model import names
from lambent.model.errors import ValidationException

CODEC = Codec()
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
LAYER = "arn:aws:lambda:us-east-1:123456789012:layer:l"
RUNTIMES = (
    "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, "
    "python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, "
    "dotnet10, dotnet8, java11, dotnet6, nodejs18.x, provided.al2, java8.al2"
)
ROLE_PATTERN = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
LAYER_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
    r"layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
TAGGABLE = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+"
    r"(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:"
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
)

TAG_PATTERN = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"
MATCH = "Member must satisfy regular expression pattern: "
ARCHITECTURES = "Member must satisfy enum value set: [x86_64, arm64]"
NOT_NULL = "Member must not be null"


def length(low: int, high: int) -> str:
    """Give the two rules of a length, as they stand inside of a list's rule."""
    return (
        f"Member must have length less than or equal to {high}, "
        f"Member must have length greater than or equal to {low}"
    )


def create(**members: Any) -> dict[str, Any]:
    """Give the body of a CreateFunction that is right but for ``members``."""
    role = "arn:aws:iam::123456789012:role/r"
    return {
        "FunctionName": "f",
        "Role": role,
        "Runtime": "python3.13",
        "Handler": "m.h",
        "Code": {},
    } | members


def message_of(
    operation: str,
    body: Any = None,
    labels: dict[str, str] | None = None,
    query: list[tuple[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    """Give the text with which a request is refused."""
    encoded = b"" if body is None else json.dumps(body).encode()
    with pytest.raises(ValidationException) as refusal:
        CODEC.parse(operation, labels or {"FunctionName": "f"}, query or [], headers or {}, encoded)
    return str(refusal.value.message)


@pytest.mark.parametrize(
    ("members", "value", "rule"),
    [
        # functions 7.6: scalars
        ({"Role": "r1"}, "'r1' at 'role'", MATCH + ROLE_PATTERN),
        ({"Timeout": 3000}, "'3000' at 'timeout'", "Member must have value less than or equal to 900"),
        ({"Timeout": 0}, "'0' at 'timeout'", "Member must have value greater than or equal to 1"),
        (
            {"MemorySize": 5555555},
            "'5555555' at 'memorySize'",
            "Member must have value less than or equal to 10240",
        ),
        ({"MemorySize": 127}, "'127' at 'memorySize'", "Member must have value greater than or equal to 128"),
        (
            {"EphemeralStorage": {"Size": 10241}},
            "'10241' at 'ephemeralStorage.size'",
            "Member must have value less than or equal to 10240",
        ),
        ({"EphemeralStorage": {}}, "null at 'ephemeralStorage.size'", NOT_NULL),
        ({"Code": None}, "null at 'code'", NOT_NULL),
        (
            {"Description": "d" * 257},
            f"'{'d' * 257}' at 'description'",
            "Member must have length less than or equal to 256",
        ),
        ({"Handler": "a b"}, "'a b' at 'handler'", MATCH + r"[^\s]+"),
        (
            {"SnapStart": {"ApplyOn": "invalidOption"}},
            "'invalidOption' at 'snapStart.applyOn'",
            "Member must satisfy enum value set: [PublishedVersions, None]",
        ),
        (
            {"TracingConfig": {"Mode": "On"}},
            "'On' at 'tracingConfig.mode'",
            "Member must satisfy enum value set: [Active, PassThrough]",
        ),
        # functions 7.6: lists
        (
            {"Architectures": ["x86_64", "arm64"]},
            "'[x86_64, arm64]' at 'architectures'",
            "Member must have length less than or equal to 1",
        ),
        (
            {"Architectures": []},
            "'[]' at 'architectures'",
            "Member must have length greater than or equal to 1",
        ),
        (
            {"Architectures": ["X86_64"]},
            "'[X86_64]' at 'architectures'",
            f"Member must satisfy constraint: [{ARCHITECTURES}, {NOT_NULL}]",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["bad"]}},
            "'[bad]' at 'vpcConfig.subnetIds'",
            f"Member must satisfy constraint: [{length(0, 1024)}, {MATCH}subnet-[0-9a-z]*]",
        ),
        (
            {"VpcConfig": {"SecurityGroupIds": ["bad"]}},
            "'[bad]' at 'vpcConfig.securityGroupIds'",
            f"Member must satisfy constraint: [{length(0, 1024)}, {MATCH}sg-[0-9a-zA-Z]*]",
        ),
        (
            {"Layers": [LAYER]},
            f"'[{LAYER}]' at 'layers'",
            f"Member must satisfy constraint: [{length(1, 2048)}, {MATCH}{LAYER_PATTERN}, {NOT_NULL}]",
        ),
        (
            {"Layers": [None]},
            "'[null]' at 'layers'",
            f"Member must satisfy constraint: [{length(1, 2048)}, {MATCH}{LAYER_PATTERN}, {NOT_NULL}]",
        ),
        # Structures in lists are told one by one (our choice of path).
        (
            {"FileSystemConfigs": [{"LocalMountPath": "/mnt/a"}]},
            "null at 'fileSystemConfigs.1.member.arn'",
            NOT_NULL,
        ),
        ({"FileSystemConfigs": [None]}, "null at 'fileSystemConfigs.1.member'", NOT_NULL),
        # functions 7.6: maps
        (
            {"Tags": {"k": "#"}},
            "'{k=#}' at 'tags'",
            f"Map value must satisfy constraint: [{length(0, 256)}, {MATCH}{TAG_PATTERN}, {NOT_NULL}]",
        ),
    ],
)
def test_create_tells_the_one_problem(members: dict[str, Any], value: str, rule: str) -> None:
    assert message_of("CreateFunction", create(**members)) == (
        f"1 validation error detected: Value {value} failed to satisfy constraint: {rule}"
    )


@pytest.mark.parametrize(
    ("variables", "rule"),
    [
        ({"1A": "secret"}, f"Map keys must satisfy constraint: [{MATCH}[a-zA-Z]([a-zA-Z0-9_])+]"),
        ({"AB": None}, f"Map value must satisfy constraint: [{NOT_NULL}]"),
    ],
)
def test_sensitive_values_are_not_printed(variables: dict[str, Any], rule: str) -> None:
    assert message_of("CreateFunction", create(Environment={"Variables": variables})) == (
        f"1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: {rule}"
    )


def test_all_problems_are_told_at_once_in_the_models_order() -> None:
    text = message_of("CreateFunction", {"Timeout": 901, "MemorySize": 1})
    assert text == (
        "5 validation errors detected: "
        f"Value null at 'functionName' failed to satisfy constraint: {NOT_NULL}; "
        f"Value null at 'role' failed to satisfy constraint: {NOT_NULL}; "
        f"Value null at 'code' failed to satisfy constraint: {NOT_NULL}; "
        "Value '901' at 'timeout' failed to satisfy constraint: "
        "Member must have value less than or equal to 900; "
        "Value '1' at 'memorySize' failed to satisfy constraint: "
        "Member must have value greater than or equal to 128"
    )


def test_a_name_too_long_and_malformed_has_two_problems() -> None:
    name = "!" * 141
    assert message_of("CreateFunction", create(FunctionName=name)) == (
        "2 validation errors detected: "
        f"Value '{name}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 140; "
        f"Value '{name}' at 'functionName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {names.NARROW_NAME}"
    )


def test_the_qualifier_is_told_before_the_name() -> None:
    text = message_of("Invoke", labels={"FunctionName": "my-function!"}, query=[("Qualifier", "invalid!")])
    assert text == (
        "2 validation errors detected: "
        "Value 'invalid!' at 'qualifier' failed to satisfy constraint: "
        rf"Member must satisfy regular expression pattern: {names.QUALIFIER}; "
        "Value 'my-function!' at 'functionName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {names.QUALIFIED_NAME}"
    )


def test_a_qualifier_may_have_128_characters() -> None:
    assert message_of("GetFunction", query=[("Qualifier", "q" * 129)]).endswith(
        "at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to 128"
    )


def test_an_empty_name_is_told_like_any_other() -> None:
    text = message_of("Invoke", labels={"FunctionName": ""})
    assert "Value '' at 'functionName' failed to satisfy constraint: Member must have length greater" in text


@pytest.mark.parametrize(
    ("header", "member", "values"),
    [
        ("x-amz-invocation-type", "invocationType", "Event, RequestResponse, DryRun"),
        ("x-amz-log-type", "logType", "None, Tail"),
    ],
)
def test_headers_are_members_too(header: str, member: str, values: str) -> None:
    assert message_of("Invoke", headers={header: "X"}) == (
        f"1 validation error detected: Value 'X' at '{member}' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{values}]"
    )


def test_weights_are_doubles() -> None:
    body = {"Name": "live", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2}}}
    assert message_of("CreateAlias", body) == (
        "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to "
        "satisfy constraint: Map value must satisfy constraint: "
        "[Member must have value less than or equal to 1.0, "
        "Member must have value greater than or equal to 0.0, Member must not be null]"
    )


def test_weights_name_numbers_only() -> None:
    weights = {"AdditionalVersionWeights": {"$LATEST": 0.5}}
    body = {"Name": "live", "FunctionVersion": "1", "RoutingConfig": weights}
    assert "Map keys must satisfy constraint: [" in message_of("CreateAlias", body)


def test_list_functions_of_another_version() -> None:
    assert message_of("ListFunctions", query=[("FunctionVersion", "invalid")]) == (
        "1 validation error detected: Value 'invalid' at 'functionVersion' failed to satisfy constraint: "
        "Member must satisfy enum value set: [ALL]"
    )


@pytest.mark.parametrize("count", ["0", "10001"])
def test_list_functions_with_a_page_out_of_range(count: str) -> None:
    assert f"Value '{count}' at 'maxItems'" in message_of("ListFunctions", query=[("MaxItems", count)])


def test_untag_without_keys() -> None:
    assert message_of("UntagResource", labels={"Resource": ARN}) == (
        f"1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: {NOT_NULL}"
    )


def test_the_taggable_pattern_is_the_recorded_one() -> None:
    assert message_of("ListTags", labels={"Resource": "f"}) == (
        "1 validation error detected: Value 'f' at 'resource' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {TAGGABLE}"
    )
    assert CODEC.parse("ListTags", {"Resource": LAYER}, [], {}, b"") == {"Resource": LAYER}


def test_layers_tell_runtimes_before_architectures_and_print_what_is_in_use() -> None:
    body = {
        "Content": {},
        "CompatibleRuntimes": ["invalidruntime"],
        "CompatibleArchitectures": ["invalidarch"],
    }
    assert message_of("PublishLayerVersion", body, {"LayerName": "l"}) == (
        "2 validation errors detected: Value '[invalidruntime]' at 'compatibleRuntimes' failed to satisfy "
        f"constraint: Member must satisfy enum value set: [{RUNTIMES}]; "
        "Value '[invalidarch]' at 'compatibleArchitectures' failed to satisfy constraint: "
        f"Member must satisfy constraint: [{ARCHITECTURES}, {NOT_NULL}]"
    )


def test_layers_take_runtimes_that_functions_may_not_have() -> None:
    body = {"Content": {}, "CompatibleRuntimes": ["python3.7", "java8", "go1.x", "provided"]}
    parsed = CODEC.parse("PublishLayerVersion", {"LayerName": "l"}, [], {}, json.dumps(body).encode())
    assert parsed["CompatibleRuntimes"] == body["CompatibleRuntimes"]


def test_provisioned_concurrency_is_at_least_one() -> None:
    text = message_of(
        "PutProvisionedConcurrencyConfig", {"ProvisionedConcurrentExecutions": 0}, query=[("Qualifier", "1")]
    )
    assert "Value '0' at 'provisionedConcurrentExecutions'" in text


def test_null_among_subnets_means_nothing() -> None:
    body = create(VpcConfig={"SubnetIds": [None, "subnet-1"]})
    parsed = CODEC.parse("CreateFunction", {}, [], {}, json.dumps(body).encode())
    assert parsed["VpcConfig"] == {"SubnetIds": ["subnet-1"]}


@pytest.mark.parametrize("text", ["é", "日本", "٣", "a b", "\u00a0\u2003", "½Ⅷ", "_.:/=+-@", ""])
def test_tags_take_letters_numbers_and_spaces_of_any_language(text: str) -> None:
    body = create(Tags={"k": text})
    assert CODEC.parse("CreateFunction", {}, [], {}, json.dumps(body).encode())["Tags"] == {"k": text}


@pytest.mark.parametrize("text", ["#", "a\nb", "a\tb", "\u200b", "🙂", "a*"])
def test_tags_take_nothing_else(text: str) -> None:
    assert "at 'tags'" in message_of("CreateFunction", create(Tags={"k": text}))


def test_the_empty_text_clears_an_arn() -> None:
    body = create(KMSKeyArn="", DeadLetterConfig={"TargetArn": ""})
    parsed = CODEC.parse("CreateFunction", {}, [], {}, json.dumps(body).encode())
    assert (parsed["KMSKeyArn"], parsed["DeadLetterConfig"]) == ("", {"TargetArn": ""})


def test_a_very_long_value_is_refused_for_its_length_alone() -> None:
    text = message_of("CreateFunction", create(Role="arn:" + "a" * 1_000_000))
    assert text.startswith("1 validation error detected: ")
    assert text.endswith("Member must have length less than or equal to 10000")
