"""The names that people write: adding or losing one is a decision, so it is one here too."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import lambent.client
from lambent.client import AsyncLambda, InvokeRequest, InvokeResult, Lambda, errors

NAMES = [
    "AccessDeniedException",
    "AsyncFunction",
    "AsyncLambda",
    "AsyncResponseStream",
    "CallOptions",
    "CallTimeout",
    "ClientOptions",
    "CodeArtifactUserDeletedException",
    "CodeArtifactUserFailedException",
    "CodeArtifactUserPendingException",
    "ConfigurationError",
    "Credentials",
    "DecodingError",
    "DurableExecutionAlreadyStartedException",
    "EC2AccessDeniedException",
    "EC2ThrottledException",
    "EC2UnexpectedException",
    "EFSIOException",
    "EFSMountConnectivityException",
    "EFSMountFailureException",
    "EFSMountTimeoutException",
    "ENILimitReachedException",
    "ENINotReadyException",
    "Function",
    "FunctionError",
    "Handler",
    "HttpRequest",
    "HttpResponse",
    "InvalidParameterValueException",
    "InvalidRequestContentException",
    "InvalidRuntimeException",
    "InvalidSecurityGroupIDException",
    "InvalidSignatureException",
    "InvalidSubnetIDException",
    "InvalidZipFileException",
    "InvocationBuilder",
    "InvocationType",
    "InvokeOptions",
    "InvokeRequest",
    "InvokeResult",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "Lambda",
    "LambentError",
    "LogType",
    "ModeNotSupportedException",
    "NoPublishedVersionException",
    "RecursiveInvocationException",
    "RequestEntityTooLargeException",
    "RequestTooLargeException",
    "ResourceConflictException",
    "ResourceNotFoundException",
    "ResourceNotReadyException",
    "ResponseStream",
    "Retries",
    "RuntimeAliasDeletedException",
    "RuntimeVersionDeletedException",
    "S3FilesMountConnectivityException",
    "S3FilesMountFailureException",
    "S3FilesMountTimeoutException",
    "SerializedRequestEntityTooLargeException",
    "ServiceError",
    "ServiceException",
    "ServiceQuotaExceededException",
    "SnapStartException",
    "SnapStartNotReadyException",
    "SnapStartRegenerationFailureException",
    "SnapStartTimeoutException",
    "SubnetIPAddressLimitReachedException",
    "Timeout",
    "TooManyRequestsException",
    "TransportError",
    "UNSET",
    "UNSIGNED",
    "Unsigned",
    "UnsupportedMediaTypeException",
    "ValidationError",
    "ValidationException",
]

CLIENT_ARGUMENTS = [
    "endpoint_url",
    "region_name",
    "profile_name",
    "credentials",
    "timeout",
    "retries",
    "idempotent",
    "max_connections",
    "verify",
    "proxy",
    "app_id",
    "before_sign",
    "after_response",
]
INVOKE_ARGUMENTS = [
    "function",
    "payload",
    "qualifier",
    "invocation_type",
    "log_tail",
    "log_type",
    "client_context",
    "tenant_id",
    "durable_execution_name",
    "returns",
    "idempotent",
    "timeout",
    "retries",
    "endpoint_url",
    "region_name",
    "credentials",
    "before_sign",
    "after_response",
]
MAP_ARGUMENTS = [
    *["function", "payloads", "concurrency", "returns", "return_exceptions", "progress", "options"]
]
METHODS = {
    "invoke": INVOKE_ARGUMENTS,
    "send": ["function", "payload", "options"],
    "check": ["function", "options"],
    "function": ["name", "returns", "options"],
    "map": MAP_ARGUMENTS,
    "map_unordered": MAP_ARGUMENTS,
    "stream": ["function", "payload", "options"],
    "invocation": ["function"],
    "wait_until_active": ["function", "timeout"],
    "wait_until_updated": ["function", "timeout"],
    "local": ["handlers", "options"],
    "record": [],
}


def public(kind: type[Any]) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def parameters(called: Any) -> list[str]:
    return [name for name in inspect.signature(called).parameters if name != "self"]


def test_names_of_the_package() -> None:
    assert sorted(lambent.client.__all__) == sorted(NAMES)
    for name in NAMES:
        assert getattr(lambent.client, name).__module__.startswith("lambent.client") or name == "Handler"


def test_errors_of_the_package_are_those_of_their_module() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.LambentError) and not name.startswith("_")
    }
    assert set(errors.__all__) == defined


@pytest.mark.parametrize(("kind", "close"), [(Lambda, "close"), (AsyncLambda, "aclose")])
def test_both_clients_have_the_same_methods_and_parameters(kind: type[Any], close: str) -> None:
    assert public(kind) == {*METHODS, close}
    assert parameters(kind.__init__) == CLIENT_ARGUMENTS
    for name, expected in METHODS.items():
        assert parameters(getattr(kind, name)) == expected


def test_all_but_function_and_payload_are_given_by_name() -> None:
    for kind in (Lambda, AsyncLambda):
        by_position = [
            name
            for name, parameter in inspect.signature(kind.invoke).parameters.items()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        assert by_position == ["self", "function", "payload"]


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("Function", "name qualifier invoke send check map map_unordered stream with_options"),
        ("AsyncFunction", "name qualifier invoke send check map map_unordered stream with_options"),
        ("ResponseStream", "close json_lines lines logs text"),
        (
            "AsyncResponseStream",
            "aclose json_lines lines logs text status_code request_id executed_version headers",
        ),
        ("Credentials", "access_key_id secret_access_key session_token"),
        ("Timeout", "connect read total"),
        ("Retries", "max_attempts quota"),
        ("HttpRequest", "method url headers body operation region attempt"),
        ("HttpResponse", "status_code headers body reason source"),
    ],
)
def test_members(name: str, members: str) -> None:
    assert public(getattr(lambent.client, name)) == set(members.split())


def test_members_of_requests_and_results() -> None:
    assert list(inspect.signature(InvokeRequest).parameters) == [
        "function",
        "payload",
        "qualifier",
        "invocation_type",
        "log_tail",
        "log_type",
        "client_context",
        "tenant_id",
        "durable_execution_name",
    ]
    assert list(inspect.signature(InvokeResult).parameters) == [
        "status_code",
        "payload",
        "function_error",
        "log_result",
        "executed_version",
        "durable_execution_arn",
        "request_id",
        "attempts",
        "headers",
        "timings",
        "returns",
    ]
    assert {"logs", "value", "to_dict"} <= public(InvokeResult)
    assert {"to_dict", "from_dict"} <= public(InvokeRequest)


def test_a_builder_has_three_methods_for_each_member() -> None:
    members = [
        "function_name",
        "payload",
        "qualifier",
        "invocation_type",
        "log_type",
        "client_context",
        "tenant_id",
    ]
    members.append("durable_execution_name")
    expected = {f"{prefix}{name}" for name in members for prefix in ("", "set_", "get_")}
    assert public(lambent.client.InvocationBuilder) == expected | {
        "payload_json",
        "as_request",
        "customize",
        "send",
    }


def test_an_unknown_name_is_one() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = lambent.client.Nothing
