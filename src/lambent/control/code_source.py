"""Packages that a caller names instead of sending them: objects in S3.

The server asks the endpoint of the setting ``aws.endpoint_url`` through botocore: AWS
itself, or whatever speaks S3 at a URL. Without that setting no bucket exists. What S3
answers is told in the words in which Lambda tells it; what cannot be told in those
(no connection, no credentials) is in the log.

Source: docs/aws-behaviour.md, functions 7.6 and 7.18.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lambent import limits
from lambent.aws import connect
from lambent.clock import Clock, SystemClock
from lambent.model.errors import InvalidParameterValueException

DOWNLOAD_S = 60.0
"""How long one download may take: as long as SDKs wait for the answer to CreateFunction."""

_DOWNLOADS_AT_ONCE = 4
_CLIENTS_KEPT = 4
_CHUNK_BYTES = 1 << 18
_OTHER_REGION = frozenset(("301", "PermanentRedirect", "AuthorizationHeaderMalformed"))

_logger = logging.getLogger("lambent.control")


@dataclass(frozen=True, slots=True)
class S3Object:
    """Where a package lies; ``version`` is None for the latest."""

    bucket: str
    key: str
    version: str | None = None


FetchCode = Callable[[S3Object, str], Awaitable[bytes]]
"""Returns the bytes of an object for a caller of that region; raises as :meth:`S3CodeSource.fetch`."""


class S3CodeSource:
    """Reads packages from the S3 of one endpoint.

    Args:
        endpoint_url: a URL; ``aws`` for AWS itself; None for none.
        clock: measures how long a download takes.
    """

    def __init__(self, endpoint_url: str | None, clock: Clock | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._clock = clock or SystemClock()
        # Threads of its own: a slow endpoint must not keep the server's from their work.
        self._workers = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, thread_name_prefix="s3")
        self._client = functools.lru_cache(_CLIENTS_KEPT)(self._connect)
        self._connecting = threading.Lock()

    async def fetch(self, place: S3Object, region: str) -> bytes:
        """Return an object's bytes.

        Args:
            place: where it lies.
            region: the caller's; buckets of other regions are refused as on AWS.

        Raises:
            InvalidParameterValueException: it cannot be had (the text has S3's code), or
                is larger than a package may be.
        """
        if self._endpoint_url is None:
            _logger.warning(
                "%s was asked for: no bucket exists unless aws.endpoint_url says where S3 is", place
            )
            raise _refused("NoSuchBucket", "The specified bucket does not exist")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._download, place, region)

    def _download(self, place: S3Object, region: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        version = {} if place.version is None else {"VersionId": place.version}
        try:
            with self._connecting:
                client = self._client(region)
            answer = client.get_object(Bucket=place.bucket, Key=place.key, **version)
            with contextlib.closing(answer["Body"]) as body:
                return self._read(body, answer.get("ContentLength") or 0)
        except ClientError as error:
            told = error.response["Error"]
            raise _refused(told.get("Code", ""), told.get("Message", "")) from error
        except (BotoCoreError, ResponseParserError, OSError, ValueError) as error:
            _logger.warning("%s could not be read: %s", place, error)
            if isinstance(error, NoCredentialsError):
                raise _refused("AccessDenied", "Access Denied") from error
            raise _refused("InternalError", "We encountered an internal error. Please try again.") from error

    def _read(self, body: Any, announced: int) -> bytes:
        """Read what is announced, or as much as comes, but no more than a package may have."""
        _check_size(announced)
        end = self._clock.monotonic() + DOWNLOAD_S
        data = bytearray()
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            data += chunk
            _check_size(len(data))
            if self._clock.monotonic() > end:
                raise TimeoutError(f"the download took more than {DOWNLOAD_S:g} s")
        return bytes(data)

    def _connect(self, region: str) -> Any:
        client = connect(
            "s3",
            region,
            self._endpoint_url or "",
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        # Before botocore's own handler, which would go to that region.
        client.meta.events.register_first("needs-retry.s3.GetObject", _refuse_other_region)
        return client


def _refuse_other_region(response: tuple[Any, dict[str, Any]] | None = None, **_: Any) -> None:
    """Refuse a bucket that is not where the function is, as Lambda does."""
    if response is None:
        return
    raw, parsed = response
    error = parsed.get("Error", {})
    region = raw.headers.get("x-amz-bucket-region") or error.get("Region")
    if error.get("Code") in _OTHER_REGION and region:
        raise _refused(
            "PermanentRedirect",
            f"The bucket is in this region: {region}. Please use this region to retry the request",
        )


def _check_size(size: int) -> None:
    # A package that lies in S3 is bounded by what it unpacks to alone.
    if size >= limits.UNZIPPED_CODE_BYTES:
        raise InvalidParameterValueException(
            f"Unzipped size must be smaller than {limits.UNZIPPED_CODE_BYTES} bytes"
        )


def _refused(code: str, message: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(
        f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    )


__all__ = ["DOWNLOAD_S", "FetchCode", "S3CodeSource", "S3Object"]
