"""Signature to caller.

At level ``none`` any credentials or none are taken: a 12-digit access key id is the
account, any other one the server's; the credential scope names the region.
"""

from __future__ import annotations

import re

from lambent.api.request import Request
from lambent.model.invocations import Caller

_REMEMBERED = 4096
# Callers choose what is remembered; longer texts are parsed each time.
_REMEMBERED_BYTES = 512
# Callers choose it, and it becomes a part of ARNs, of variables and of the names of folders.
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")


class Authenticator:
    """Tells callers by what their requests say.

    Args:
        account: of callers whose access key id is not 12 digits.
        region: of callers that sign with no region, or with what can be none.
    """

    def __init__(self, account: str, region: str) -> None:
        self._anonymous = Caller(account, region)
        self._callers: dict[bytes, Caller] = {}

    def identify(self, request: Request) -> Caller:
        """Return who sent a request."""
        authorization = request.headers.get(b"authorization")
        if authorization is None:
            if b"X-Amz-Credential=" not in request.target:
                return self._anonymous
            presigned = dict(request.query_pairs()).get("X-Amz-Credential", "")
            authorization = f"Credential={presigned}".encode("latin-1", "replace")
        # Everything up to the first comma is the same for all of a caller's requests of one day.
        credential = authorization.partition(b",")[0]
        caller = self._callers.get(credential)
        if caller is None:
            caller = self._parse(credential)
            if len(credential) <= _REMEMBERED_BYTES:
                if len(self._callers) >= _REMEMBERED:
                    self._callers.clear()
                self._callers[credential] = caller
        return caller

    def _parse(self, credential: bytes) -> Caller:
        text = credential.decode("latin-1").partition("Credential=")[2].strip()
        # An access key id may itself contain slashes; the scope's four parts are counted from the end.
        key, *scope = text.rsplit("/", 4)
        if not key:
            return self._anonymous
        region = scope[1] if len(scope) == 4 and _REGION.fullmatch(scope[1]) else ""
        is_account = len(key) == 12 and key.isascii() and key.isdigit()
        return Caller(
            key if is_account else self._anonymous.account,
            region or self._anonymous.region,
            key,
        )
