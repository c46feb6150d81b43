"""What an answer means: a result, a refusal, or half an answer."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from lambent.client.errors import (
    SERVICE_ERRORS,
    LambentError,
    ServiceError,
    TooManyRequestsException,
    TransportError,
)
from lambent.client.messages import HttpResponse

REQUEST_ID = "x-amzn-requestid"
_MAX_BODY_BYTES = 256 << 20
# Names that are longer are a proxy's prose.
_MAX_CODE_CHARACTERS = 128
_CODES = ("code", "Code", "__type")
_MESSAGES = ("message", "Message", "errorMessage")


def failure_of(response: HttpResponse) -> LambentError | None:
    """Return what is wrong with an answer; None if it is a whole success.

    Without a length or chunks the end of the body cannot be told from a broken connection, and what
    has no request id does not come from the service.
    """
    status, headers = response.status_code, response.headers
    if status >= 400:
        return read_error(response)
    if status >= 300:
        where = f" to {headers['location']}" if "location" in headers else ""
        return TransportError(
            f"redirected{where} ({status}), which is not followed", may_have_run=True, retryable=False
        )
    if status < 200:
        return TransportError(f"no final answer: status {status}", may_have_run=True)
    if REQUEST_ID not in headers:
        return TransportError(
            f"status {status} without a request id: the answer is not the service's", may_have_run=True
        )
    # A length that is no number, or two of them, is none.
    has_length = (length := headers.get("content-length", "")).isascii() and length.isdecimal()
    if status == 200 and not has_length and "transfer-encoding" not in headers:
        return TransportError("the answer tells neither its length nor its end", may_have_run=True)
    return None


def read_error(response: HttpResponse, code: str = "", message: str | None = None) -> ServiceError:
    """Return the refusal that an answer holds; the status is its code if it holds none.

    Code and text stand where the SDKs look for them: the header first, then the body. Those of a
    stream are given.
    """
    headers = response.headers
    members = _members(response.body)
    named = (code, headers.get("x-amzn-errortype"), *(members.get(key) for key in _CODES))
    code = next((_bare(each) for each in named if isinstance(each, str) and each), "")
    told = (message, *(members.get(key) for key in _MESSAGES))
    found = next((each for each in told if isinstance(each, str) and each), None)
    kind = SERVICE_ERRORS.get(code, ServiceError)
    error = kind(
        code or str(response.status_code),
        found if found is not None else "" if code else response.reason,
        status_code=response.status_code,
        request_id=headers.get(REQUEST_ID),
        headers=headers,
    )
    if isinstance(error, TooManyRequestsException):
        reason = members.get("Reason")
        error.reason = reason if isinstance(reason, str) else None
        error.retry_after = retry_after_s(headers)
    return error


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return for how long an answer asks to wait, in seconds; the service's own header wins."""
    for name, unit in (("x-amz-retry-after", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "")
        if text.isascii() and text.isdecimal() and len(text) < 12:
            return int(text) / unit
    return None


def clock_offset_s(response: HttpResponse, now: float) -> float | None:
    """Return by how much the service's clock is ahead of ours; None if it does not say so."""
    text = response.headers.get("date")
    if text is None:
        return None
    try:
        told = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() - now


def decoded_body(response: HttpResponse) -> bytes:
    """Return the body without the compression that a proxy may have put on.

    Raises:
        TransportError: it is compressed in a way that was not asked for and is not known, or is broken.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"} or not response.body:
        return response.body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise TransportError(
            f"the answer is encoded as {encoding!r}, which was not asked for", may_have_run=True
        )
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        body = unpacker.decompress(response.body, _MAX_BODY_BYTES)
    except zlib.error as error:
        raise TransportError(f"the answer's {encoding} is broken: {error}", may_have_run=True) from error
    if not unpacker.eof:
        raise TransportError(f"the answer's {encoding} has no end", may_have_run=True)
    return body


def _members(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


def _bare(code: str) -> str:
    """Cut what stands around a name: ``ns#Name:http://…``."""
    name = code.partition(":")[0].rpartition("#")[2].strip()
    return name if len(name) <= _MAX_CODE_CHARACTERS else ""
