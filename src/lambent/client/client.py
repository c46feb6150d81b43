"""What both clients are made of: their arguments, and what they do without sending anything."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

from lambent.client.core import Core
from lambent.client.messages import HttpRequest
from lambent.client.options import AfterResponse, BeforeSign, ClientOptions
from lambent.client.retries import Retries, Timeout
from lambent.client.settings import Who

if TYPE_CHECKING:
    from lambent.client.local import LocalFunctions
    from lambent.client.local_run import Handler

TransportT = TypeVar("TransportT")


class Client(Generic[TransportT]):
    """Arguments: see :class:`Lambda`.

    Raises:
        ValidationError: timeout or retries cannot be.
    """

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        profile_name: str | None = None,
        credentials: Who | None = None,
        timeout: float | Timeout | None = None,
        retries: Retries | int | None = None,
        idempotent: bool = False,
        max_connections: int = 64,
        verify: bool | str | ssl.SSLContext = True,
        proxy: str | None = None,
        app_id: str | None = None,
        before_sign: BeforeSign | None = None,
        after_response: AfterResponse | None = None,
    ) -> None:
        options: ClientOptions = {
            "endpoint_url": endpoint_url,
            "region_name": region_name,
            "profile_name": profile_name,
            "credentials": credentials,
            "timeout": timeout,
            "retries": retries,
            "idempotent": idempotent,
            "app_id": app_id,
            "before_sign": before_sign,
            "after_response": after_response,
        }
        self._core = Core(options)
        self._transport = self._connect(max_connections=max_connections, verify=verify, proxy=proxy)

    @classmethod
    def local(cls, handlers: Mapping[str, Handler], **options: Unpack[ClientOptions]) -> Self:
        """Return a client whose functions are Python functions of this process, for tests.

        Args:
            handlers: by the functions' names.
            options: as for the client; addresses, keys and certificates mean nothing here.
        """
        from lambent.client.local import LocalFunctions  # noqa: PLC0415 - for tests alone
        from lambent.client.local_transport import REGION, local_options  # noqa: PLC0415

        given = local_options(options)
        client = cls(**given)
        client._transport = client._stay_here(LocalFunctions(handlers, given["region_name"] or REGION))
        return client

    def record(self) -> AbstractContextManager[list[HttpRequest]]:
        """List the requests that are sent within the block, as they were signed."""
        return self._core.record()

    def _connect(self, **limits: Any) -> TransportT:
        """Return what carries exchanges over the network."""
        raise NotImplementedError

    def _stay_here(self, functions: LocalFunctions) -> TransportT:
        """Return what carries exchanges to functions of this process."""
        raise NotImplementedError
