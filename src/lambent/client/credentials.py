"""Who calls: keys, given or looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from lambent.client.errors import ConfigurationError

if TYPE_CHECKING:
    from lambent.client.profiles import Profile


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key, and the token of its session if it is temporary."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Unsigned(Enum):
    """The type of :data:`UNSIGNED`."""

    UNSIGNED = "UNSIGNED"

    def __repr__(self) -> str:
        return "UNSIGNED"


UNSIGNED: Final = Unsigned.UNSIGNED
"""In place of credentials: requests carry neither a signature nor a date."""

Provider = Callable[[], Credentials]
"""Asked before each attempt; it may wait for the network and should remember what it found."""


def read_environment(environ: Mapping[str, str]) -> Credentials | None:
    """Return the keys that stand in the usual variables.

    Raises:
        ConfigurationError: there is half a key.
    """
    key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not key_id and not secret:
        return None
    if not key_id or not secret:
        missing = "AWS_SECRET_ACCESS_KEY" if key_id else "AWS_ACCESS_KEY_ID"
        raise ConfigurationError(f"{missing} is not set, its other half is")
    return Credentials(key_id, secret, environ.get("AWS_SESSION_TOKEN") or None)


class ChainProvider:
    """Keys from a profile, SSO, a container or the machine, found by botocore and renewed by it."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._found: Any = None

    def __call__(self) -> Credentials:
        """Return keys that are good now; the first call, and renewals, may wait for the network.

        Raises:
            ConfigurationError: there are none, or they cannot be renewed.
        """
        try:
            if self._found is None:
                self._found = self._profile.session().get_credentials()
            if self._found is None:
                raise ConfigurationError(
                    "no credentials: looked for the argument `credentials`, AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, and with botocore for a profile, SSO, a container's and "
                    "the machine's. Use credentials=UNSIGNED for calls without a signature"
                )
            keys = self._found.get_frozen_credentials()
        except ConfigurationError:
            raise
        # What is raised depends on the provider: files, HTTP, processes.
        except Exception as error:
            raise ConfigurationError(f"credentials: {error}") from error
        return Credentials(keys.access_key, keys.secret_key, keys.token)
