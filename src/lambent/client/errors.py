"""Everything that a call raises; each tells how often it was tried and whether the function may have run.

::

    LambentError
    ├─ FunctionError         the function itself failed
    ├─ ServiceError          the service refused; one class per error of Invoke in AWS's model
    ├─ TransportError        no whole answer came
    │  └─ CallTimeout
    ├─ DecodingError         the answer came and cannot be read as asked
    ├─ ValidationError       nothing was sent: the call itself is wrong
    └─ ConfigurationError    nothing was sent: region, credentials or endpoint are not known

Source of names, status and members of refusals: the service model ``lambda/2015-03-31`` and
docs/aws-behaviour.md, clients 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from lambent.client.results import InvokeResult

__all__ = [
    "AccessDeniedException",
    "CallTimeout",
    "CodeArtifactUserDeletedException",
    "CodeArtifactUserFailedException",
    "CodeArtifactUserPendingException",
    "ConfigurationError",
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
    "FunctionError",
    "InvalidParameterValueException",
    "InvalidRequestContentException",
    "InvalidRuntimeException",
    "InvalidSecurityGroupIDException",
    "InvalidSignatureException",
    "InvalidSubnetIDException",
    "InvalidZipFileException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "LambentError",
    "ModeNotSupportedException",
    "NoPublishedVersionException",
    "RecursiveInvocationException",
    "RequestEntityTooLargeException",
    "RequestTooLargeException",
    "ResourceConflictException",
    "ResourceNotFoundException",
    "ResourceNotReadyException",
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
    "TooManyRequestsException",
    "TransportError",
    "UnsupportedMediaTypeException",
    "ValidationError",
    "ValidationException",
]

Phase = Literal["connect", "read", "total"]


class LambentError(Exception):
    """What all errors of the client have in common.

    Attributes:
        may_have_run: the function may have been started by this call. False is certain.
        attempts: how often the request was sent, or tried to.
    """

    def __init__(self, message: str = "", *, may_have_run: bool = False, attempts: int = 0) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run
        self.attempts = attempts

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[object, ...], dict[str, Any]]:
        """Pickle by members: the arguments of the classes below differ."""
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[LambentError], args: tuple[object, ...]) -> LambentError:
    error = kind.__new__(kind)
    Exception.__init__(error, *args)
    return error


class FunctionError(LambentError):
    """The function ran and failed: it raised, timed out, or its process ended.

    Attributes:
        type: ``errorType``, as ``ValueError`` or ``Sandbox.Timedout``; empty if not told.
        message: ``errorMessage``; empty if not told.
        stack_trace: lines of the trace, empty if there is none.
        logs: the last 4 KB of the log, if they were asked for.
        result: the answer.
    """

    def __init__(
        self,
        type: str,  # noqa: A002 - the name of the attribute
        message: str,
        *,
        result: InvokeResult[Any],
        stack_trace: tuple[str, ...] = (),
        attempts: int | None = None,
    ) -> None:
        text = ": ".join(part for part in (type, message) if part) or result.function_error or "Unhandled"
        super().__init__(text, may_have_run=True, attempts=result.attempts if attempts is None else attempts)
        self.type = type
        self.message = message
        self.stack_trace = stack_trace
        self.result = result

    @property
    def logs(self) -> str:
        """The decoded log of the call, or nothing."""
        return self.result.logs


class ServiceError(LambentError):
    """The service answered with an error. A code that is in nobody's model is a plain one of these.

    Attributes:
        code: as ``ResourceNotFoundException``; the HTTP status as text if the answer names none.
        message: the service's words, or HTTP's reason.
        status_code: of HTTP.
        request_id: to be told to whoever runs the service; None if it sent none.
        headers: of the answer, by their names in any case.
    """

    STARTS_NOTHING: ClassVar[bool] = False
    """Whether this code says, whatever the status, that the function was not started."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status_code: int,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        may_have_run: bool | None = None,
        attempts: int = 1,
    ) -> None:
        if may_have_run is None:
            may_have_run = not self.STARTS_NOTHING and (status_code >= 500 or status_code == 408)
        super().__init__(
            f"{code} ({status_code}): {message}" if message else f"{code} ({status_code})",
            may_have_run=may_have_run,
            attempts=attempts,
        )
        self.code = code
        self.message = message
        self.status_code = status_code
        self.request_id = request_id
        self.headers: Mapping[str, str] = {} if headers is None else headers


class TooManyRequestsException(ServiceError):
    """A limit on concurrency or rate; nothing ran.

    Attributes:
        reason: which limit, as ``ReservedFunctionConcurrentInvocationLimitExceeded``.
        retry_after: seconds that the service asks to wait.
    """

    STARTS_NOTHING = True
    reason: str | None = None
    retry_after: float | None = None


class ServiceException(ServiceError):
    """The service's own fault; the function may have run."""


class AccessDeniedException(ServiceError):
    """The caller may not do this."""


class ValidationException(ServiceError):
    """A member of the request breaks the model's constraint."""


class RequestEntityTooLargeException(ServiceError):
    """The request is larger than the service takes."""


class InvalidSignatureException(ServiceError):
    """The signature is not that of the request, or not of this time."""


class InvalidParameterValueException(ServiceError):
    """A well-formed value that cannot be accepted."""


class InvalidRequestContentException(ServiceError):
    """The payload or the client context cannot be read."""


class ResourceNotFoundException(ServiceError):
    """Function, version or alias is not there."""


class ResourceConflictException(ServiceError):
    """The function's state does not allow it now."""


class RequestTooLargeException(ServiceError):
    """The payload is larger than Invoke allows."""


class SerializedRequestEntityTooLargeException(ServiceError):
    """The whole request is larger than the service allows."""


class UnsupportedMediaTypeException(ServiceError):
    """The content type is not that of JSON."""


class NoPublishedVersionException(ServiceError):
    """The function has no published version."""


class ModeNotSupportedException(ServiceError):
    """The function cannot be called in this way."""


class RecursiveInvocationException(ServiceError):
    """The service stopped a loop of functions that call each other."""


class ServiceQuotaExceededException(ServiceError):
    """A quota of the account is used up."""


class DurableExecutionAlreadyStartedException(ServiceError):
    """A durable execution of this name runs with another payload."""


class _NotStartedError(ServiceError):
    """The environment could not be made, so the handler did not run, whatever the status."""

    STARTS_NOTHING = True


class ResourceNotReadyException(_NotStartedError):
    """The function is inactive and not ready yet."""


class InvalidRuntimeException(_NotStartedError):
    """The runtime cannot be started."""


class InvalidZipFileException(_NotStartedError):
    """The package cannot be unpacked."""


class InvalidSecurityGroupIDException(_NotStartedError):
    """The security group of the function's configuration is not valid."""


class InvalidSubnetIDException(_NotStartedError):
    """The subnet of the function's configuration is not valid."""


class SubnetIPAddressLimitReachedException(_NotStartedError):
    """A subnet has no address left."""


class ENILimitReachedException(_NotStartedError):
    """The account may have no further network interface."""


class ENINotReadyException(_NotStartedError):
    """The network interface is not ready."""


class EC2AccessDeniedException(_NotStartedError):
    """The service may not set up the function's network."""


class EC2ThrottledException(_NotStartedError):
    """Setting up the function's network was throttled."""


class EC2UnexpectedException(_NotStartedError):
    """Setting up the function's network failed."""


class EFSIOException(ServiceError):
    """Reading or writing the mounted file system failed."""


class EFSMountConnectivityException(_NotStartedError):
    """The file system cannot be reached."""


class EFSMountFailureException(_NotStartedError):
    """The file system cannot be mounted."""


class EFSMountTimeoutException(_NotStartedError):
    """Mounting the file system took too long."""


class S3FilesMountConnectivityException(_NotStartedError):
    """The mounted bucket cannot be reached."""


class S3FilesMountFailureException(_NotStartedError):
    """The bucket cannot be mounted."""


class S3FilesMountTimeoutException(_NotStartedError):
    """Mounting the bucket took too long."""


class KMSAccessDeniedException(_NotStartedError):
    """The environment variables' key may not be used."""


class KMSDisabledException(_NotStartedError):
    """The environment variables' key is disabled."""


class KMSInvalidStateException(_NotStartedError):
    """The environment variables' key is in the wrong state."""


class KMSNotFoundException(_NotStartedError):
    """The environment variables' key is not there."""


class SnapStartException(_NotStartedError):
    """The snapshot's hook failed."""


class SnapStartNotReadyException(_NotStartedError):
    """The snapshot is not ready yet."""


class SnapStartTimeoutException(_NotStartedError):
    """Restoring the snapshot took too long."""


class SnapStartRegenerationFailureException(_NotStartedError):
    """The snapshot cannot be made again."""


class CodeArtifactUserDeletedException(_NotStartedError):
    """The user of the package's repository was deleted."""


class CodeArtifactUserFailedException(_NotStartedError):
    """The user of the package's repository could not be made."""


class CodeArtifactUserPendingException(_NotStartedError):
    """The user of the package's repository is not ready yet."""


class RuntimeAliasDeletedException(_NotStartedError):
    """The runtime's alias was deleted."""


class RuntimeVersionDeletedException(_NotStartedError):
    """The runtime's version was deleted."""


def _named(kind: type[ServiceError]) -> dict[str, type[ServiceError]]:
    found = {} if kind.__name__.startswith("_") else {kind.__name__: kind}
    for each in kind.__subclasses__():
        found |= _named(each)
    return found


SERVICE_ERRORS: Mapping[str, type[ServiceError]] = {
    name: kind for name, kind in _named(ServiceError).items() if kind is not ServiceError
}
"""The classes by the codes of the service."""


class TransportError(LambentError):
    """No whole answer came: no connection, a reset, half an answer, no HTTP, or a redirect.

    Attributes:
        retryable: another attempt might meet with better luck. Not so after a redirect.
    """

    def __init__(
        self, message: str, *, may_have_run: bool = False, attempts: int = 1, retryable: bool = True
    ) -> None:
        super().__init__(message, may_have_run=may_have_run, attempts=attempts)
        self.retryable = retryable


class CallTimeout(TransportError, TimeoutError):
    """Waiting took longer than allowed.

    Attributes:
        phase: ``connect``, ``read`` (nothing arrived for so long), or ``total``.
    """

    def __init__(self, message: str, *, phase: Phase, may_have_run: bool = False, attempts: int = 1) -> None:
        # When the time of the whole call is over there is none left for another attempt.
        super().__init__(message, may_have_run=may_have_run, attempts=attempts, retryable=phase != "total")
        self.phase: Phase = phase


class DecodingError(LambentError, ValueError):
    """The payload is no JSON, does not fit ``returns``, or a stream's checksum is wrong.

    Attributes:
        result: the answer with the raw payload; None for a stream.
    """

    def __init__(self, message: str, *, result: InvokeResult[Any] | None = None, attempts: int = 1) -> None:
        super().__init__(message, may_have_run=True, attempts=attempts if result is None else result.attempts)
        self.result = result


class ValidationError(LambentError, ValueError):
    """The call is wrong in itself; nothing was sent."""


class ConfigurationError(LambentError):
    """Region, credentials, endpoint or profile are not known; tells what was looked for. Nothing was sent."""
