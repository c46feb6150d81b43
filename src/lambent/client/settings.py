"""Where a call goes and in whose name: arguments first, then variables, then the profile.

The variables and keys are those of AWS's SDKs. Nothing is looked up before a call needs it, and
what was found is kept.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from lambent import __version__
from lambent.client.credentials import (
    ChainProvider,
    Credentials,
    Provider,
    Unsigned,
    read_environment,
)
from lambent.client.errors import ConfigurationError
from lambent.client.profiles import Profile
from lambent.client.retries import Retries

Who = Credentials | Provider | Unsigned

_SUFFIXES = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}
_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """A service's address.

    Attributes:
        scheme: ``http`` or ``https``.
        host: a name or an address, IPv6 without brackets.
        port: of TCP.
        netloc: as the ``Host`` header has it: without the scheme's own port.
        prefix: path before every operation's, without a slash at its end.
    """

    scheme: str
    host: str
    port: int
    netloc: str
    prefix: str

    @property
    def url(self) -> str:
        """The address as a URL without a slash at its end."""
        return f"{self.scheme}://{self.netloc}{self.prefix}"


@lru_cache(64)
def parse_endpoint(url: str) -> Endpoint:
    """Return the parts of an endpoint's URL.

    Raises:
        ConfigurationError: it is no URL of HTTP.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"endpoint {url!r}: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname or not url.isascii() or not url.isprintable():
        raise ConfigurationError(f"endpoint {url!r} is no URL that begins with http:// or https://")
    default = _PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port in {None, default} else f"{host}:{port}"
    return Endpoint(parts.scheme, parts.hostname, port or default, netloc, parts.path.rstrip("/"))


def process_environment() -> Mapping[str, str]:
    """Return the process's variables, as they are at each look."""
    return os.environ


class Settings:
    """What a client was given, and what it finds for the rest.

    Args:
        endpoint_url: of every call, unless told otherwise.
        region_name: for signatures, and for AWS's own endpoint.
        profile_name: of AWS's files; before the variables' keys.
        credentials: keys, who gives them, or UNSIGNED.
        app_id: stands in ``User-Agent``.
        environ: the process's variables.
    """

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        profile_name: str | None = None,
        credentials: Who | None = None,
        app_id: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.environ = process_environment() if environ is None else environ
        self.profile = Profile(profile_name, self.environ)
        self._endpoint_url = endpoint_url
        self._region = region_name
        self._profile_name = profile_name
        self._who = credentials
        self._app_id = app_id
        self._endpoints: dict[tuple[str | None, str | None], Endpoint] = {}
        self._lock = threading.Lock()
        self._looked_for_region = False
        self._user_agent: str | None = None

    def known_endpoint(self, url: str | None, region: str | None) -> Endpoint | None:
        """Return what :meth:`endpoint` found for the same before."""
        return self._endpoints.get((url, region))

    def endpoint(self, url: str | None = None, region: str | None = None) -> Endpoint:
        """Return the address for a call; may read files.

        Raises:
            ConfigurationError: there is none, or it is no URL.
        """
        found = parse_endpoint(url or self._endpoint_url or self._configured_url() or self._aws_url(region))
        self._endpoints[url, region] = found
        return found

    def known_region(self) -> str | None:
        """Return the region if it is known without reading files."""
        return self._region

    def region(self) -> str | None:
        """Return the region of all calls that name none; may read files at first."""
        if self._region is None and not self._looked_for_region:
            with self._lock:
                get = self.environ.get
                self._region = get("AWS_REGION") or get("AWS_DEFAULT_REGION") or self.profile.get("region")
                self._looked_for_region = True
        return self._region

    def needed_region(self) -> str:
        """Return the region.

        Raises:
            ConfigurationError: none is known.
        """
        if region := self.region():
            return region
        raise ConfigurationError(
            "no region: looked for the argument `region_name`, AWS_REGION, AWS_DEFAULT_REGION and `region` "
            "of the profile"
        )

    def known_credentials(self) -> Who | None:
        """Return who calls, if that is known without reading files; a provider may still wait."""
        return self._who

    def credentials(self) -> Who:
        """Return who calls; may import botocore and read files.

        Raises:
            ConfigurationError: half a key stands in the variables.
        """
        with self._lock:
            if self._who is None:
                found = None if self._profile_name else read_environment(self.environ)
                self._who = found or ChainProvider(self.profile)
        return self._who

    def user_agent(self) -> str:
        """Return who we are, for ``User-Agent``."""
        if self._user_agent is None:
            app = self._app_id or self.environ.get("AWS_SDK_UA_APP_ID")
            named = f" app/{''.join(each if each.isalnum() else '-' for each in app)[:50]}" if app else ""
            self._user_agent = f"lambent/{__version__} lang/python#{platform.python_version()}{named}".encode(
                "ascii", "replace"
            ).decode()
        return self._user_agent

    def retries(self) -> Retries:
        """Return how often is tried by default: ``AWS_MAX_ATTEMPTS``, else 3.

        Raises:
            ConfigurationError: the variable is no number from 1 on.
        """
        text = self.environ.get("AWS_MAX_ATTEMPTS")
        if not text:
            return Retries()
        if not text.isdecimal() or int(text) < 1:
            raise ConfigurationError(f"AWS_MAX_ATTEMPTS is {text!r}, not a number from 1 on")
        return Retries(int(text))

    def ca_bundle(self) -> str | None:
        """Return the file of trusted certificates that stands in a variable or the profile."""
        get = self.environ.get
        return get("AWS_CA_BUNDLE") or self.profile.get("ca_bundle") or get("REQUESTS_CA_BUNDLE") or None

    def proxy(self, endpoint: Endpoint) -> str | None:
        """Return the proxy for an endpoint, by ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``."""
        proxies = {
            name.lower().removesuffix("_proxy"): value
            for name, value in sorted(self.environ.items())
            if name.lower() in {"http_proxy", "https_proxy", "no_proxy"} and value
        }
        found = proxies.get(endpoint.scheme)
        if found is None:
            return None
        if _is_bypassed(endpoint.host, proxies.get("no", "")):
            return None
        return found if "://" in found else f"http://{found}"

    def _configured_url(self) -> str | None:
        get = self.environ.get
        if get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        return get("AWS_ENDPOINT_URL_LAMBDA") or get("AWS_ENDPOINT_URL") or self.profile.endpoint_url()

    def _aws_url(self, region: str | None) -> str:
        try:
            region = region or self.needed_region()
        except ConfigurationError as error:
            raise ConfigurationError(
                "no endpoint: looked for the argument `endpoint_url`, AWS_ENDPOINT_URL_LAMBDA, "
                f"AWS_ENDPOINT_URL and `endpoint_url` of the profile; AWS's own needs a region, and {error}"
            ) from error
        if not all(part.isalnum() and part.isascii() for part in region.split("-")):
            raise ConfigurationError(f"{region!r} is no name of a region")
        on = {name for name in ("FIPS", "DUALSTACK") if self._is_on(f"AWS_USE_{name}_ENDPOINT")}
        service = "lambda-fips" if "FIPS" in on else "lambda"
        suffix = next(
            (found for start, found in _SUFFIXES.items() if region.startswith(start)), "amazonaws.com"
        )
        if "DUALSTACK" in on:
            suffix = "api.amazonwebservices.com.cn" if region.startswith("cn-") else "api.aws"
        return f"https://{service}.{region}.{suffix}"

    def _is_on(self, name: str) -> bool:
        return self.environ.get(name, "").lower() == "true"


def _is_bypassed(host: str, patterns: str) -> bool:
    """Tell whether ``NO_PROXY`` (``*``, or names and ends of names between commas) names a host."""
    for pattern in patterns.lower().split(","):
        name = pattern.strip().lstrip("*").lstrip(".")
        # A port may follow; IPv6 has colons of its own.
        name = name.partition(":")[0] if name.count(":") == 1 else name
        if pattern.strip() == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
    return False
