"""A profile of AWS's configuration files, read by botocore, which is imported only then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambent.client.errors import ConfigurationError

_INSTALL = (
    "botocore is not installed; profiles, SSO and the machine's credentials need it: pip install botocore"
)


class Profile:
    """What the files say for one profile; nothing is read before it is asked for.

    Args:
        name: None for ``AWS_PROFILE`` or the default one.
        environ: the process's variables.
    """

    def __init__(self, name: str | None, environ: Mapping[str, str]) -> None:
        self._asked_for = name or environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
        self._environ = environ
        self._session: Any = None
        self._values: Mapping[str, Any] | None = None

    def session(self) -> Any:
        """Return botocore's session.

        Raises:
            ConfigurationError: botocore is not installed, or the profile that was asked for does not exist.
        """
        session = self._loaded()
        if self._asked_for:
            self._read()
        return session

    def get(self, key: str) -> str | None:
        """Return a key of the profile, as ``region``; None if it says nothing.

        Raises:
            ConfigurationError: the profile that was asked for does not exist, or cannot be read.
        """
        value = self._read().get(key)
        return value if isinstance(value, str) else None

    def endpoint_url(self) -> str | None:
        """Return the endpoint for Lambda: of the ``services`` section, else of the profile."""
        services = self._read().get("services")
        if isinstance(services, str):
            sections = self.session().full_config.get("services", {})
            section = sections.get(services, {}).get("lambda", {})
            if isinstance(section, Mapping) and section.get("endpoint_url"):
                return str(section["endpoint_url"])
        return self.get("endpoint_url")

    def _loaded(self) -> Any:
        if self._session is None:
            try:
                from botocore.session import Session  # noqa: PLC0415 - optional, and slow to import
            except ImportError as error:
                raise ConfigurationError(_INSTALL) from error
            self._session = Session(profile=self._asked_for)
        return self._session

    def _read(self) -> Mapping[str, Any]:
        if self._values is None:
            self._values = self._scoped() if self._asked_for or self._has_files() else {}
        return self._values

    def _scoped(self) -> Mapping[str, Any]:
        session = self._loaded()
        try:
            found: Mapping[str, Any] = session.get_scoped_config()
        # ProfileNotFound, ConfigParseError: importing their names costs more than this.
        except Exception as error:
            raise ConfigurationError(
                f"profile {self._asked_for or 'default'}: {error} (looked into AWS_CONFIG_FILE and "
                "AWS_SHARED_CREDENTIALS_FILE, or ~/.aws/config and ~/.aws/credentials)"
            ) from error
        return found

    def _has_files(self) -> bool:
        config = self._environ.get("AWS_CONFIG_FILE", "~/.aws/config")
        # Without them botocore would not have to be imported for a region.
        try:
            return Path(config).expanduser().is_file()
        except RuntimeError:
            return False
