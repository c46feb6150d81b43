"""Requests to input and output to responses: places, types, bodies, what is not served."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest

from lambent.api.codec import Codec
from lambent.api.overrides import OVERRIDES, Override
from lambent.api.service_model import load_service_model
from lambent.model.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    SerializationException,
)

CODEC = Codec()
PREFIX = "Could not parse request body into json: Could not parse payload into json: "
FUNCTION = {"FunctionName": "f"}


def put(body: bytes) -> dict[str, Any]:
    """Parse a body of UpdateFunctionConfiguration."""
    return CODEC.parse("UpdateFunctionConfiguration", FUNCTION, [], {}, body)


# -- places


def test_invoke_is_read_from_everywhere() -> None:
    parsed = CODEC.parse(
        "Invoke",
        FUNCTION,
        [("Qualifier", "live"), ("other", "x"), ("Qualifier", "2")],
        {"x-amz-invocation-type": "Event", "x-amz-log-type": "Tail", "host": "h"},
        b'{"a": 1}',
    )
    assert parsed == {
        "FunctionName": "f",
        "Qualifier": "live",
        "InvocationType": "Event",
        "LogType": "Tail",
        "Payload": b'{"a": 1}',
    }


def test_the_payload_is_not_looked_at() -> None:
    assert CODEC.parse("Invoke", FUNCTION, [], {}, b"\xff not json")["Payload"] == b"\xff not json"


def test_lists_are_repeated_parameters() -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    parsed = CODEC.parse("UntagResource", {"Resource": arn}, [("tagKeys", "a"), ("tagKeys", "b")], {}, b"")
    assert parsed["TagKeys"] == ["a", "b"]


def test_a_body_without_members_of_the_operation_is_not_read() -> None:
    assert CODEC.parse("GetFunction", FUNCTION, [], {}, b"not json") == FUNCTION


def test_unknown_and_null_members_are_left_out() -> None:
    assert put(b'{"Unknown": {"a": 1}, "Timeout": null, "Environment": {"Variables": null, "x": 1}}') == {
        "FunctionName": "f",
        "Environment": {},
    }


@pytest.mark.parametrize("body", [b"", b"{}", b" null "])
def test_an_empty_body_has_no_members(body: bytes) -> None:
    assert put(body) == FUNCTION


def test_members_of_the_path_are_not_taken_from_the_body() -> None:
    assert put(b'{"FunctionName": "other"}') == FUNCTION


# -- types


def test_types_become_ours() -> None:
    body = {"Code": {"ZipFile": base64.b64encode(b"\x00zip").decode()}, "FunctionName": "f", "Publish": True}
    body |= {"Role": "arn:aws:iam::123456789012:role/r", "Timeout": 3.0}
    parsed = CODEC.parse("CreateFunction", {}, [], {}, json.dumps(body).encode())
    assert parsed["Code"] == {"ZipFile": b"\x00zip"}
    assert parsed["Publish"] is True
    assert isinstance(parsed["Timeout"], int)


def test_instants_become_seconds() -> None:
    name = "ListDurableExecutionsByFunction"
    query = [
        ("StartedAfter", "2026-01-02T03:04:05.5Z"),
        ("StartedBefore", "2026-01-02T03:04:06"),
        ("MaxItems", "7"),
    ]
    parsed = CODEC.parse(name, FUNCTION, [*query, ("ReverseOrder", "true")], {}, b"")
    start = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC).timestamp()
    assert parsed == FUNCTION | {
        "StartedAfter": start + 0.5,
        "StartedBefore": start + 1,
        "MaxItems": 7,
        "ReverseOrder": True,
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"Timeout": "3"}, "'timeout' must be a whole number, not a string."),
        ({"Timeout": True}, "'timeout' must be a whole number, not a boolean."),
        ({"Timeout": 3.5}, "'timeout' must be a whole number, not a fraction."),
        ({"Timeout": 2**40}, "'timeout' does not fit into 32 bits."),
        ({"Handler": 3}, "'handler' must be a string, not a number."),
        ({"Handler": ["m.h"]}, "'handler' must be a string, not a list."),
        ({"Layers": "arn"}, "'layers' must be a list, not a string."),
        ({"Environment": []}, "'environment' must be an object, not a list."),
        (
            {"Environment": {"Variables": {"AB": 1}}},
            "'environment.variables' must be a string, not a number.",
        ),
        ([], "The request body must be a JSON object."),
        ("text", "The request body must be a JSON object."),
    ],
)
def test_another_json_type_is_refused(body: Any, text: str) -> None:
    with pytest.raises(SerializationException) as refusal:
        put(json.dumps(body).encode())
    assert (refusal.value.status, refusal.value.body()) == (400, {"message": text})


@pytest.mark.parametrize("text", ["%", "YQ", "YQ==\n", "é"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(SerializationException, match=r"^'zipFile' must be a base64 string"):
        CODEC.parse("UpdateFunctionCode", FUNCTION, [], {}, json.dumps({"ZipFile": text}).encode())


@pytest.mark.parametrize("text", ["", "x", "1_0", " 1", "1e3", "\u0663", "1" * 30])
def test_a_number_in_the_query_is_digits(text: str) -> None:
    with pytest.raises(SerializationException, match=r"^'maxItems' must be a whole number, not the text"):
        CODEC.parse("ListFunctions", {}, [("MaxItems", text)], {}, b"")


# -- bodies that are not JSON


@pytest.mark.parametrize(
    ("body", "reason", "line", "column"),
    [
        (b"{'a': 1}", "Expecting property name enclosed in double quotes", 1, 2),
        (b'{"a":\n x}', "Expecting value", 2, 2),
        ('{"é": x}'.encode(), "Expecting value", 1, 8),
        (b"{} {}", "Extra data", 1, 4),
        (b'{"a": "\x99"}', "Invalid UTF-8 start byte 0x99", 1, 8),
        (b'{"a": "\xc3"}', "Invalid UTF-8 middle byte 0xc3", 1, 8),
        (b"\xef\xbb\xbf{}", "Expecting value", 1, 1),
        (b'{"a": "\\ud800"}', "Lone surrogate in a character escape", 1, 1),
        (b'{"a": NaN}', "Non-standard token 'NaN'", 1, 1),
        (b"[" * 100_000, "Document nests too deeply", 1, 1),
    ],
)
def test_broken_json_is_refused_in_the_services_words(
    body: bytes, reason: str, line: int, column: int
) -> None:
    with pytest.raises(InvalidRequestContentException) as refusal:
        put(body)
    assert refusal.value.message == (
        f"{PREFIX}{reason}\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); "
        f"line: {line}, column: {column}]"
    )


def test_a_number_of_too_many_digits_is_refused() -> None:
    with pytest.raises(InvalidRequestContentException):
        put(b'{"Timeout": ' + b"1" * 10_000 + b"}")


# -- responses


def test_output_stands_in_the_models_order_without_absent_members() -> None:
    output = {
        "Timeout": 3,
        "FunctionName": "f",
        "Description": "",
        "Layers": None,
        "Environment": {"Error": None},
    }
    assert CODEC.render("GetFunctionConfiguration", output) == (
        200,
        [],
        b'{"FunctionName":"f","Description":"","Timeout":3,"Environment":{}}',
    )


def test_text_is_written_as_utf_8() -> None:
    assert (
        CODEC.render("GetFunctionConfiguration", {"Description": "é🙂"})[2]
        == '{"Description":"é🙂"}'.encode()
    )


def test_instants_are_written_as_seconds() -> None:
    assert CODEC.render("GetFunctionEventInvokeConfig", {"LastModified": 1573751765.56789})[2] == (
        b'{"LastModified":1573751765.568}'
    )


def test_members_that_the_model_does_not_know_are_left_out() -> None:
    assert CODEC.render("GetFunctionConcurrency", {"Unknown": 1})[2] == b"{}"


@pytest.mark.parametrize(
    ("operation", "status", "body"),
    [
        ("CreateFunction", 201, b"{}"),
        ("GetFunction", 200, b"{}"),
        ("DeleteFunction", 204, b""),
        ("TagResource", 204, b""),
        ("PutProvisionedConcurrencyConfig", 202, b"{}"),
        ("InvokeAsync", 202, b"{}"),
    ],
)
def test_success_has_the_operations_status(operation: str, status: int, body: bytes) -> None:
    assert CODEC.render(operation, {}) == (status, [], body)


def test_invoke_answers_with_headers_and_the_functions_bytes() -> None:
    output = {"StatusCode": 200, "ExecutedVersion": "1", "FunctionError": "Unhandled", "Payload": b"\xff"}
    assert CODEC.render("Invoke", output) == (
        200,
        [("X-Amz-Function-Error", "Unhandled"), ("X-Amz-Executed-Version", "1")],
        b"\xff",
    )


@pytest.mark.parametrize("status", [202, 204])
def test_invoke_without_a_result_has_another_status_and_no_body(status: int) -> None:
    assert CODEC.render("Invoke", {"StatusCode": status}) == (status, [], b"")


# -- sizes


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("CreateFunction", "Request must be smaller than 70167211 bytes for the CreateFunction operation"),
        (
            "UpdateFunctionCode",
            "Request must be smaller than 70167211 bytes for the UpdateFunctionCode operation",
        ),
        (
            "UpdateFunctionConfiguration",
            "Request must be smaller than 5120 bytes for the UpdateFunctionConfiguration operation",
        ),
        ("Invoke", "Request must be smaller than 6291456 bytes for the InvokeFunction operation"),
        ("TagResource", "Request must be smaller than 6291456 bytes for the TagResource operation"),
        (None, "Request must be smaller than 6291456 bytes"),
    ],
)
def test_bodies_that_are_too_large_are_told_so(operation: str | None, text: str) -> None:
    refusal = CODEC.too_large(operation)
    assert (refusal.status, refusal.body()) == (413, {"message": text})
    assert str(CODEC.max_body_bytes(operation)) in text


# -- what is not served


@pytest.mark.parametrize(
    "values",
    [
        {"Publish": False},
        {"PackageType": "Zip"},
        {"Layers": [], "KMSKeyArn": "", "ImageConfig": {}, "Tags": {}},
        {"SnapStart": {"ApplyOn": "None"}},
        {"TracingConfig": {"Mode": "PassThrough"}},
        {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False}},
        {"DeadLetterConfig": {"TargetArn": ""}},
        {"LoggingConfig": {"LogFormat": "Text"}},
        {"Architectures": ["x86_64"]},
        {"Code": {"ZipFile": b"zip"}, "Handler": "m.h"},
    ],
)
def test_members_that_change_nothing_need_not_be_served(values: dict[str, Any]) -> None:
    CODEC.refuse_unserved("CreateFunction", values, {"Code", "Handler"})


@pytest.mark.parametrize(
    ("values", "member"),
    [
        ({"Publish": True}, "Publish"),
        ({"PackageType": "Image"}, "PackageType"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": []}}, "VpcConfig"),
        ({"ReservedConcurrentExecutions": 0}, "ReservedConcurrentExecutions"),
        ({"Code": {"ZipFile": b"zip", "S3Bucket": "b"}}, "Code.S3Bucket"),
    ],
)
def test_members_that_are_not_served_are_refused_by_name(values: dict[str, Any], member: str) -> None:
    with pytest.raises(InvalidParameterValueException) as refusal:
        CODEC.refuse_unserved("CreateFunction", values, {"Code.ZipFile", "Handler"})
    assert refusal.value.message == f"{member} is not served by this version of Lambent."


def test_operations_that_are_not_served_are_refused_by_name() -> None:
    with pytest.raises(InvalidParameterValueException) as refusal:
        CODEC.refuse_unserved("CreateAlias", {}, None)
    assert refusal.value.message == "CreateAlias is not served by this version of Lambent."


# -- the overrides table


@pytest.mark.parametrize("row", OVERRIDES, ids=lambda row: row.target)
def test_every_override_says_where_it_is_known_from(row: Override) -> None:
    assert row.source.startswith(("docs/aws-behaviour.md, ", "the service model of botocore"))
    assert row.facts


@pytest.mark.parametrize("row", OVERRIDES, ids=lambda row: row.target)
def test_every_override_has_a_target_in_the_newest_model(row: Override) -> None:
    shape, _, member = row.target.partition(".")
    shapes = load_service_model()["shapes"]
    assert shape in shapes
    assert not member or member in shapes[shape]["members"]


def test_rows_without_a_target_are_skipped() -> None:
    codec = Codec(
        overrides=[Override("NoSuchShape", {"max": 1}, ""), Override("Timeout.Never", {"max": 1}, "")]
    )
    assert codec.parse("GetFunction", FUNCTION, [], {}, b"") == FUNCTION
