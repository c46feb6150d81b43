"""What Create and Update refuse, each row over the wire: status, code, whole text, and nothing stored.

Expected values: docs/aws-behaviour.md, functions 7.4 to 7.6; sections are named beside them where
they are others.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from lambent.model import names
from lambent.model.runtimes import BLOCKED, SUPPORTED
from tests.integration.conftest import RUNTIME, RunningServer, wait_until_active
from tests.integration.functions_harness import ARN, OTHER_PACKAGE, PACKAGE, create, refusal

Refusal = tuple[int, str, str]

ACCESS_POINT = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
RESERVED = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided "
    "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: "
)
NOT_NULL = "Member must not be null"
IDS = "Member must have length less than or equal to 1024, Member must have length greater than or equal to 0"


def _matches(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _invalid(value: object, member: str, rule: str) -> Refusal:
    """Return the ValidationException of one value; None is a missing one."""
    shown = " null" if value is None else f" '{value}'"
    return _problem(f"Value{shown} at '{member}'", rule)


def _problem(what: str, rule: str) -> Refusal:
    text = f"1 validation error detected: {what} failed to satisfy constraint: {rule}"
    return 400, "ValidationException", text


def _wrong(text: str) -> Refusal:
    return 400, "InvalidParameterValueException", text


def _unknown_runtime(runtime: str) -> Refusal:
    return _wrong(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(SUPPORTED)}] or be a valid ARN"
    )


def _blocked_runtime(runtime: str) -> Refusal:
    return _wrong(
        f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
        "We recommend you use a supported runtime while creating or updating functions."
    )


def _at_most(value: object, member: str, most: int, what: str = "value") -> Refusal:
    return _invalid(value, member, f"Member must have {what} less than or equal to {most}")


def _at_least(value: object, member: str, least: int, what: str = "value") -> Refusal:
    return _invalid(value, member, f"Member must have {what} greater than or equal to {least}")


def _one_of(value: object, member: str, values: str) -> Refusal:
    return _invalid(value, member, f"Member must satisfy enum value set: [{values}]")


# Members of CreateFunction and UpdateFunctionConfiguration alike.
CONFIGURATION: list[tuple[dict[str, Any], Refusal]] = [
    (
        {"Role": "r1"},
        _invalid("r1", "role", _matches(r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")),
    ),
    ({"Runtime": "non-existent-runtime"}, _unknown_runtime("non-existent-runtime")),
    ({"Runtime": "PYTHON3.9"}, _unknown_runtime("PYTHON3.9")),
    *(({"Runtime": runtime}, _blocked_runtime(runtime)) for runtime in sorted(BLOCKED)),
    ({"Handler": "a b"}, _invalid("a b", "handler", _matches(r"[^\s]+"))),
    ({"Handler": "h" * 129}, _at_most("h" * 129, "handler", 128, "length")),
    ({"Description": "d" * 257}, _at_most("d" * 257, "description", 256, "length")),
    ({"Timeout": 3000}, _at_most(3000, "timeout", 900)),
    ({"Timeout": 901}, _at_most(901, "timeout", 900)),
    ({"Timeout": 0}, _at_least(0, "timeout", 1)),
    ({"MemorySize": 5555555}, _at_most(5555555, "memorySize", 10240)),
    ({"MemorySize": 10241}, _at_most(10241, "memorySize", 10240)),
    ({"MemorySize": 127}, _at_least(127, "memorySize", 128)),
    ({"EphemeralStorage": {"Size": 10241}}, _at_most(10241, "ephemeralStorage.size", 10240)),
    ({"EphemeralStorage": {"Size": 511}}, _at_least(511, "ephemeralStorage.size", 512)),
    (
        {"Environment": {"Variables": {"1A": "secret"}}},
        _problem(
            "Value at 'environment.variables'",
            f"Map keys must satisfy constraint: [{_matches('[a-zA-Z]([a-zA-Z0-9_])+')}]",
        ),
    ),
    (
        {"Environment": {"Variables": {"AWS_ACCESS_KEY_ID": "x", "OK": "y", "AWS_SECRET_ACCESS_KEY": "z"}}},
        _wrong(f"{RESERVED}AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
    ),
    (
        # execution 4.3; the compact JSON has 4,097 bytes.
        {"Environment": {"Variables": {"KEY": "v" * 4087}}},
        _wrong(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            'provided exceeded the 4KB limit. String measured: {"KEY":"' + "v" * 4087 + '"}'
        ),
    ),
    (
        {"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}},
        _wrong(
            'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change '
            'the LogFormat to "Json" and try again.'
        ),
    ),
    ({"LoggingConfig": {"LogFormat": "text"}}, _one_of("text", "loggingConfig.logFormat", "JSON, Text")),
    (
        {"LoggingConfig": {"SystemLogLevel": "TRACE"}},
        _one_of("TRACE", "loggingConfig.systemLogLevel", "DEBUG, INFO, WARN"),
    ),
    (
        {"LoggingConfig": {"LogGroup": "a b"}},
        _invalid("a b", "loggingConfig.logGroup", _matches(r"[\.\-_/#A-Za-z0-9]+")),
    ),
    ({"TracingConfig": {"Mode": "On"}}, _one_of("On", "tracingConfig.mode", "Active, PassThrough")),
    (
        {"SnapStart": {"ApplyOn": "invalidOption"}},
        _one_of("invalidOption", "snapStart.applyOn", "PublishedVersions, None"),
    ),
    (
        {"SnapStart": {"ApplyOn": "PublishedVersions"}, "Runtime": "python3.11"},
        _wrong("python3.11 is not supported for SnapStart enabled functions."),
    ),
    (
        {"VpcConfig": {"SubnetIds": ["bad"], "SecurityGroupIds": ["sg-1"]}},
        _invalid(
            "[bad]",
            "vpcConfig.subnetIds",
            f"Member must satisfy constraint: [{IDS}, {_matches('subnet-[0-9a-z]*')}]",
        ),
    ),
    (
        {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["bad"]}},
        _invalid(
            "[bad]",
            "vpcConfig.securityGroupIds",
            f"Member must satisfy constraint: [{IDS}, {_matches('sg-[0-9a-zA-Z]*')}]",
        ),
    ),
    (
        {"FileSystemConfigs": [{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/data"}]},
        _wrong(f"Function must be configured to execute in a VPC to reference access point {ACCESS_POINT}"),
    ),
    (
        {"FileSystemConfigs": [{"Arn": ACCESS_POINT, "LocalMountPath": "/data"}]},
        _invalid("/data", "fileSystemConfigs.1.member.localMountPath", _matches("/mnt/[a-zA-Z0-9-_.]+")),
    ),
    (
        {"KMSKeyArn": "k"},
        _invalid("k", "kMSKeyArn", _matches("(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()")),
    ),
    (
        {"DeadLetterConfig": {"TargetArn": "q"}},
        _invalid("q", "deadLetterConfig.targetArn", _matches("(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()")),
    ),
]


def _zip_of_nothing() -> bytes:
    packed = io.BytesIO()
    zipfile.ZipFile(packed, "w").close()
    return packed.getvalue()


NO_ZIP = _wrong("Could not unzip uploaded file. Please check your file, then try to upload again.")
EMPTY_ZIP = _wrong("Uploaded file must be a non-empty zip")
TWO_SOURCES = _wrong("Please do not provide other FunctionCode parameters when providing a ZipFile.")

# Members of Code in CreateFunction, and of UpdateFunctionCode.
SOURCES: list[tuple[dict[str, Any], Refusal]] = [
    ({}, _wrong("Please provide a source for function code.")),
    ({"S3Bucket": "bucket"}, _wrong("Please provide a source for function code.")),
    ({"ZipFile": b"no zip"}, NO_ZIP),
    ({"ZipFile": b""}, EMPTY_ZIP),
    ({"ZipFile": _zip_of_nothing()}, EMPTY_ZIP),
    ({"ZipFile": PACKAGE, "S3Bucket": "bucket", "S3Key": "key"}, TWO_SOURCES),
    (
        {"S3Bucket": "bucket", "S3Key": "key"},
        _wrong(
            "Error occurred while GetObject. S3 Error Code: NoSuchBucket. "
            "S3 Error Message: The specified bucket does not exist"
        ),
    ),
]

# Members of CreateFunction and UpdateFunctionCode.
ARCHITECTURES: list[tuple[list[str], Refusal]] = [
    (["x86_64", "arm64"], _at_most("[x86_64, arm64]", "architectures", 1, "length")),
    ([], _at_least("[]", "architectures", 1, "length")),
    (
        ["X86_64"],
        _invalid(
            "[X86_64]",
            "architectures",
            "Member must satisfy constraint: "
            f"[Member must satisfy enum value set: [x86_64, arm64], {NOT_NULL}]",
        ),
    ),
]

CREATE: list[tuple[dict[str, Any], Refusal]] = [
    ({"Code": None}, _invalid(None, "code", NOT_NULL)),
    ({"Role": None}, _invalid(None, "role", NOT_NULL)),
    ({"PackageType": "zip"}, _one_of("zip", "packageType", "Zip, Image")),
    *(
        (
            {member: None},
            _wrong(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            ),
        )
        for member in ("Runtime", "Handler")
    ),
    (
        {"Tags": {f"k{number}": "v" for number in range(51)}},
        _wrong("Number of tags exceeds resource tag limit."),
    ),
    # functions 7.18
    ({"Tags": {"aws:x": "v"}}, _wrong("An error occurred and the request cannot be processed.")),
    # Ours.
    ({"PackageType": "Image"}, _wrong("PackageType Image is not served by this version of Lambent.")),
]


@pytest.fixture(scope="module")
def standing(trusting: Any, server: RunningServer) -> Iterator[str]:
    """An active function that no refused update may change."""
    name = "standing"
    create(trusting, name, Runtime=RUNTIME)
    wait_until_active(trusting, name)
    yield name
    trusting.delete_function(FunctionName=name)


def _revision(client: Any, name: str) -> str:
    return str(client.get_function_configuration(FunctionName=name)["RevisionId"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *CONFIGURATION,
        *CREATE,
        *(({"Code": source}, expected) for source, expected in SOURCES),
        *(({"Architectures": wrong}, expected) for wrong, expected in ARCHITECTURES),
    ],
)
def test_create_refuses_in_the_words_of_aws(
    trusting: Any, name: str, given: dict[str, Any], expected: Refusal
) -> None:
    assert refusal(lambda: create(trusting, name, **given)) == expected
    assert refusal(trusting.get_function, FunctionName=name)[0] == 404


@pytest.mark.parametrize(("given", "expected"), CONFIGURATION)
def test_an_update_of_the_configuration_refuses_the_same(
    trusting: Any, standing: str, given: dict[str, Any], expected: Refusal
) -> None:
    before = _revision(trusting, standing)
    assert refusal(trusting.update_function_configuration, FunctionName=standing, **given) == expected
    assert _revision(trusting, standing) == before


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *SOURCES,
        *(
            ({"ZipFile": OTHER_PACKAGE, "Architectures": wrong}, expected)
            for wrong, expected in ARCHITECTURES
        ),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_an_update_of_the_code_refuses_the_same(
    trusting: Any, standing: str, given: dict[str, Any], expected: Refusal, dry_run: bool
) -> None:
    before = _revision(trusting, standing)
    found = refusal(trusting.update_function_code, FunctionName=standing, DryRun=dry_run, **given)
    assert found == expected
    assert _revision(trusting, standing) == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a" * 65,
            _wrong(
                f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
                "Member must have length less than or equal to 64"
            ),
        ),
        ("a" * 141, _at_most("a" * 141, "functionName", 140, "length")),
        *(
            (text, _invalid(text, "functionName", _matches(names.NARROW_NAME)))
            for text in (
                "invalid:function:name",
                "my-function!",
                "*",
                "f:invalid!",
                "f:$latest",
                "f:$LATES",
                "f:1:2",
                "my.function",
                "arn:aws:lambda:us-east-1::function:f",
                "arn:aws:lambda::000000000000:function:f",
                "arn:aws:lambda:nowhere:000000000000:function:f",
                "arn:aws:iam:us-east-1:000000000000:function:f",
            )
        ),
        (
            "arn:aws:lambda:eu-west-1:000000000000:function:f",
            (
                404,
                "ResourceNotFoundException",
                "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
            ),
        ),
    ],
)
def test_names_that_create_refuses(trusting: Any, text: str, expected: Refusal) -> None:
    assert refusal(lambda: create(trusting, text)) == expected


@pytest.mark.parametrize("form", ["{}", ARN + "{}", "000000000000:function:{}", "function:{}"])
def test_forms_of_a_name_that_create_and_update_take(client: Any, name: str, form: str) -> None:
    created = create(client, form.format(name))
    assert (created["FunctionName"], created["FunctionArn"]) == (name, ARN + name)
    wait_until_active(client, name)
    updated = client.update_function_configuration(FunctionName=form.format(name), Timeout=4)
    assert (updated["FunctionName"], updated["FunctionArn"]) == (name, ARN + name)


def test_a_name_too_long_and_malformed_has_both_problems(trusting: Any) -> None:
    status, code, text = refusal(lambda: create(trusting, "!" * 141))
    assert (status, code) == (400, "ValidationException")
    assert text.startswith("2 validation errors detected: Value '!")
    assert "Member must have length less than or equal to 140" in text
    assert _matches(names.NARROW_NAME) in text


def test_all_problems_of_a_request_are_told_at_once(trusting: Any, name: str) -> None:
    # functions 7.16
    status, code, text = refusal(lambda: create(trusting, name, Timeout=901, MemorySize=1, Role="r1"))
    assert (status, code) == (400, "ValidationException")
    assert text.startswith("3 validation errors detected: Value 'r1' at 'role' ")
    assert [text.count(f"at '{member}'") for member in ("role", "timeout", "memorySize")] == [1, 1, 1]


@pytest.mark.parametrize("count", [0, 10_001])
def test_a_page_has_one_to_ten_thousand_entries(trusting: Any, count: int) -> None:
    # functions 7.9
    expected = _at_most(count, "maxItems", 10_000) if count else _at_least(count, "maxItems", 1)
    assert refusal(trusting.list_functions, MaxItems=count) == expected


def test_only_all_is_a_function_version(trusting: Any) -> None:
    # functions 7.9
    found = refusal(trusting.list_functions, FunctionVersion="invalid")
    assert found == _one_of("invalid", "functionVersion", "ALL")
