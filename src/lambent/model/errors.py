"""Every refusal that the service can answer, one class per AWS error code.

::

    ServiceError                          raised by any room, answered by api/answers.py
    ├─ ValidationException            400  a member breaks the model's constraint
    ├─ InvalidParameterValueException 400  a value is well-formed and still wrong
    ├─ CodeStorageExceededException   400  the account's packages fill its quota
    ├─ PolicyLengthExceededException  400  a resource policy is too long
    ├─ InvalidRequestContentException 400  body, client context or request id
    ├─ SerializationException         400  a member has another JSON type
    ├─ AuthenticationError            403  it is not proved who calls
    │  ├─ MissingAuthenticationTokenException, IncompleteSignatureException
    │  ├─ InvalidSignatureException
    │  └─ UnrecognizedClientException, ExpiredTokenException
    ├─ AccessDeniedException          403
    ├─ ForbiddenException             403  a foreign web page or host name
    ├─ ResourceNotFoundException      404
    ├─ ProvisionedConcurrencyConfigNotFoundException 404
    ├─ UnknownOperationException      404 / 405 for a known path
    ├─ ResourceConflictException      409
    ├─ PreconditionFailedException    412
    ├─ RequestEntityTooLargeException 413
    ├─ TooManyRequestsException       429  with a Reason
    ├─ BadRequestException            400 / 408 / 431  broken HTTP
    ├─ ServiceException               500  our own fault
    ├─ InvalidRuntimeException, InvalidZipFileException, EC2UnexpectedException  502
    └─ the other errors of Invoke: the table at the end

A function's own fault is not here: it is a value, answered with status 200.

Source of status, key case and ``Type``: the service model ``lambda/2015-03-31``
and docs/aws-behaviour.md, invoke 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class ServiceError(Exception):
    """A refusal or fault that is answered with an AWS error code.

    Attributes:
        status: HTTP status.
        message_key: name of the text's member, ``message`` or ``Message``:
            SDKs map it by exact case.
        fault: the ``Type`` member, or None where AWS sends none.
        message: the text; None where AWS sends JSON ``null``.
        headers: further response headers.
    """

    status: int = 400
    message_key: ClassVar[str] = "message"
    fault: str | None = "User"

    def __init__(self, message: str | None, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers

    @property
    def code(self) -> str:
        """The value of ``x-amzn-ErrorType``."""
        return type(self).__name__

    def body(self) -> dict[str, str | None]:
        """The members of the error's JSON body, in the order of the wire."""
        members: dict[str, str | None] = {} if self.fault is None else {"Type": self.fault}
        members[self.message_key] = self.message
        return members


class ValidationException(ServiceError):
    """A member of the input breaks the model's constraint; all are told in one text."""

    fault = None

    @classmethod
    def of(cls, problems: list[str]) -> ValidationException:
        """Join problems (``Value 'x' at 'y' failed to satisfy …``) as AWS does."""
        count = len(problems)
        plural = "s" if count > 1 else ""
        return cls(f"{count} validation error{plural} detected: {'; '.join(problems)}")


class InvalidParameterValueException(ServiceError):
    """A well-formed value that cannot be accepted here."""

    @classmethod
    def untyped(cls, message: str) -> InvalidParameterValueException:
        """Return one of the few that AWS sends without ``Type``."""
        error = cls(message)
        error.fault = None
        return error


class CodeStorageExceededException(ServiceError):
    """The account's packages would take more than it may store."""


class PolicyLengthExceededException(ServiceError):
    """A resource policy would be longer than it may be."""


class InvalidRequestContentException(ServiceError):
    """The body, the client context or the request id cannot be read."""


class SerializationException(ServiceError):
    """A member has another JSON type than the model says."""

    fault = None


class AuthenticationError(ServiceError):
    """It is not proved who calls. Source: docs/aws-behaviour.md, versions-permissions 5.5."""

    status = 403
    fault = None


class MissingAuthenticationTokenException(AuthenticationError):
    """The request is not signed."""

    def __init__(self) -> None:
        super().__init__("Missing Authentication Token")


class IncompleteSignatureException(AuthenticationError):
    """What is said of the signature is not whole, or cannot be read."""


class InvalidSignatureException(AuthenticationError):
    """The signature is not that of the request, or not of this time."""


class UnrecognizedClientException(AuthenticationError):
    """Nobody has the key, or its session has another token."""

    def __init__(self) -> None:
        super().__init__("The security token included in the request is invalid.")


class ExpiredTokenException(AuthenticationError):
    """The session is over."""

    def __init__(self) -> None:
        super().__init__("The security token included in the request is expired")


class AccessDeniedException(ServiceError):
    """The caller may not do this."""

    status = 403
    message_key = "Message"
    fault = None


class ResourceNotFoundException(ServiceError):
    """Function, version or alias is not there."""

    status = 404
    message_key = "Message"


class ProvisionedConcurrencyConfigNotFoundException(ServiceError):
    """Nothing is provisioned for the version or alias."""

    status = 404


class UnknownOperationException(ServiceError):
    """No operation has this path (404), or not with this method (405)."""

    status = 404
    message_key = "Message"
    fault = None

    def __init__(self, *, status: int = 404) -> None:
        super().__init__("Unknown operation")
        self.status = status


class ResourceConflictException(ServiceError):
    """The resource exists already, or its state does not allow this now."""

    status = 409


class PreconditionFailedException(ServiceError):
    """The RevisionId given is not the latest."""

    status = 412


class RequestEntityTooLargeException(ServiceError):
    """The request is larger than its operation allows."""

    status = 413
    fault = None


class TooManyRequestsException(ServiceError):
    """A limit on concurrency or rate; ``reason`` names which.

    ``limit`` tells the request log whose limit it was: AWS's rules' (``account``) or
    this machine's own (``machine``), which look alike to the caller. ``Retry-After``
    (``retry_after_s``) comes with rates alone.

    Source: docs/aws-behaviour.md, concurrency 3.2.
    """

    status = 429

    def __init__(
        self,
        reason: str,
        *,
        retry_after_ms: int = 1000,
        retry_after_s: int | None = None,
        limit: str = "account",
    ) -> None:
        headers = [("x-amz-retry-after", str(retry_after_ms))]
        if retry_after_s is not None:
            headers.append(("Retry-After", str(retry_after_s)))
        text = "Rate exceeded" if reason == "CallerRateLimitExceeded" else "Rate Exceeded."
        super().__init__(text, headers=tuple(headers))
        self.reason = reason
        self.limit = limit

    def body(self) -> dict[str, str | None]:
        """Put ``Reason`` first, as AWS does."""
        return {"Reason": self.reason, **super().body()}


THROTTLE_REASONS = (
    "ConcurrentInvocationLimitExceeded",
    "FunctionInvocationRateLimitExceeded",
    "ReservedFunctionConcurrentInvocationLimitExceeded",
    "ReservedFunctionInvocationRateLimitExceeded",
    "CallerRateLimitExceeded",
    "ConcurrentSnapshotCreateLimitExceeded",
)
"""Every ``Reason`` of a :class:`TooManyRequestsException`. Source: docs/aws-behaviour.md, concurrency 3.2."""


class BadRequestException(ServiceError):
    """What arrived is not HTTP that can be answered otherwise; the connection closes."""

    fault = None

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ForbiddenException(ServiceError):
    """A request that a foreign web page made, or for a foreign host name."""

    status = 403
    fault = None


class ServiceException(ServiceError):
    """Our own fault; the log has the details under the request id."""

    status = 500
    message_key = "Message"
    fault = "Service"


class InvalidRuntimeException(ServiceError):
    """The function's runtime cannot be started on this machine."""

    status = 502
    message_key = "Message"
    fault = "Service"


class InvalidZipFileException(ServiceError):
    """The stored package cannot be unpacked."""

    status = 502
    message_key = "Message"
    fault = "Service"


class RecursiveInvocationException(ServiceError):
    """The function was about to run once too often in a loop of functions that call each other."""

    message_key = "Message"


class EC2UnexpectedException(ServiceError):
    """EC2 failed while the function was set up, with an error code of its own."""

    status = 502
    message_key = "Message"
    fault = "Service"

    def body(self) -> dict[str, str | None]:
        """Put EC2's code last."""
        return {**super().body(), "EC2ErrorCode": "InternalError"}


# Status, member of the text, names without "Exception": what no machine here can run into.
_OTHERS = (
    (400, "Message", "NoPublishedVersion SnapStart"),
    (400, "message", "ModeNotSupported"),
    (402, "Message", "ServiceQuotaExceeded"),
    (403, "Message", "EFSMountFailure S3FilesMountFailure"),
    (408, "Message", "EFSMountConnectivity EFSMountTimeout S3FilesMountConnectivity S3FilesMountTimeout"),
    (408, "Message", "SnapStartTimeout"),
    (409, "Message", "DurableExecutionAlreadyStarted SnapStartNotReady SnapStartRegenerationFailure"),
    (409, "message", "CodeArtifactUserDeleted CodeArtifactUserFailed CodeArtifactUserPending"),
    (409, "message", "RuntimeAliasDeleted RuntimeVersionDeleted"),
    (410, "Message", "EFSIO"),
    (413, "message", "RequestTooLarge SerializedRequestEntityTooLarge"),
    (415, "message", "UnsupportedMediaType"),
    (502, "message", "ResourceNotReady"),
    (502, "Message", "EC2AccessDenied EC2Throttled ENILimitReached ENINotReady"),
    (502, "Message", "InvalidSecurityGroupID InvalidSubnetID SubnetIPAddressLimitReached"),
    (502, "Message", "KMSAccessDenied KMSDisabled KMSInvalidState KMSNotFound"),
)


def _make(name: str, status: int, message_key: str) -> type[ServiceError]:
    fault = "Service" if status >= 500 else "User"
    return type(name, (ServiceError,), {"status": status, "message_key": message_key, "fault": fault})


INVOKE_ERRORS: Mapping[str, type[ServiceError]] = MappingProxyType(
    {
        error.__name__: error
        for error in (
            AccessDeniedException,
            EC2UnexpectedException,
            InvalidParameterValueException,
            InvalidRequestContentException,
            InvalidRuntimeException,
            InvalidZipFileException,
            RecursiveInvocationException,
            RequestEntityTooLargeException,
            ResourceConflictException,
            ResourceNotFoundException,
            ServiceException,
            TooManyRequestsException,
            *(
                _make(f"{name}Exception", status, message_key)
                for status, message_key, names in _OTHERS
                for name in names.split()
            ),
        )
    }
)
"""Every error that Invoke answers, by name: those of the model, and two that AWS answers besides.

Source: the service model's errors of Invoke and InvokeWithResponseStream; docs/aws-behaviour.md, invoke 1.4.
"""
