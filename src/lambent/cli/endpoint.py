"""Reaching a running server: as AWS's API through botocore, and its own controls over HTTP.

Who calls is decided as the AWS CLI decides it (profile, environment variables, files),
except that the credentials of a cloud machine are not asked for: that would leave this
machine. With no credentials and no region calls are unsigned and the server's own
defaults apply. ``--account`` becomes an access key id of 12 digits, which selects
that account; a region alone is conveyed by a signature. Both are for servers that check no
signatures; where they are checked, only the keys of ``lambent iam`` are anybody's.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urlsplit

import click

import lambent
from lambent.cli.output import CommandError, warn
from lambent.config import (
    ENDPOINT_VARIABLE,
    ConfigurationError,
    Settings,
    environment,
    is_loopback,
    load_settings_here,
    local_endpoint,
)

if TYPE_CHECKING:
    from botocore.session import Session
    from types_boto3_lambda import LambdaClient

_Command = TypeVar("_Command", bound=Callable[..., Any])

# A function may run for 15 minutes, and its environment may have to start before.
INVOKE_TIMEOUT_S = 930
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 120
# Longer paths are no addresses; the folder's descriptor has to stand in for it.
_SOCKET_PATH_BYTES = 107
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_NOBODY = frozenset(("MissingAuthenticationTokenException", "UnrecognizedClientException"))
_WHO = (
    "The server checks signatures: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of a user "
    "(`lambent iam add-user`), and no --account."
)
_START = "Start a server with `lambent serve`, or say where one is with --endpoint or LAMBENT_ENDPOINT."


class NoServer(CommandError):
    """No server is there; nothing was sent."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """What a call is signed with; ``access_key_id`` is None for unsigned calls."""

    access_key_id: str | None
    secret: str
    session_token: str | None
    region: str | None


@dataclass(frozen=True)
class Endpoint:
    """A server and who talks to it.

    Attributes:
        url: where the server is.
        account: what ``--account`` said.
        region: what ``--region`` said.
        settings: for the data directory and the admin token.
    """

    url: str
    account: str | None
    region: str | None
    settings: Settings
    _warned: set[str] = field(default_factory=set, repr=False)

    @property
    def is_here(self) -> bool:
        """Whether it is the server of this machine's settings that is meant, or another on this machine."""
        return self.url == local_endpoint(self.settings) or is_loopback(self._address.hostname or "")

    # ------------------------------------------------------------------ AWS's API

    def lambda_client(self, *, read_timeout_s: float = _READ_TIMEOUT_S) -> LambdaClient:
        """Return a client of AWS's API; warnings in its answers are shown.

        Nothing is tried again: a second try would run a function a second time.
        """
        # Imported here: botocore takes longer than `lambent --help` may.
        from botocore import UNSIGNED  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        identity = self.identity
        with self.answers(), _named_well():
            client: LambdaClient = self._session.create_client(
                "lambda",
                region_name=identity.region or "us-east-1",
                endpoint_url=self.url,
                aws_access_key_id=identity.access_key_id,
                aws_secret_access_key=identity.secret,
                aws_session_token=identity.session_token,
                config=Config(
                    signature_version=UNSIGNED if identity.access_key_id is None else None,
                    retries={"total_max_attempts": 1},
                    connect_timeout=_CONNECT_TIMEOUT_S,
                    read_timeout=read_timeout_s,
                    proxies={} if is_loopback(self._address.hostname or "") else None,
                    user_agent_extra=f"lambent-cli/{lambent.__version__}",
                ),
            )
        client.meta.events.register("after-call.lambda", self._show_warning)
        return client

    @contextmanager
    def answers(self) -> Iterator[None]:
        """Turn what goes wrong in calls of the client into a :class:`CommandError`."""
        from botocore import exceptions  # noqa: PLC0415 - as in lambda_client

        try:
            yield
        except exceptions.ClientError as error:
            raise self._refused(error) from error
        except (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError) as error:
            raise self._unreachable() from error
        except exceptions.SSLError as error:
            raise CommandError(
                f"The certificate of {self.url} is not trusted: {error}",
                "Name the authority that signed it in AWS_CA_BUNDLE.",
            ) from error
        except exceptions.HTTPClientError as error:
            raise CommandError(f"{self.url} gave no whole answer: {error}") from error
        except exceptions.BotoCoreError as error:
            raise CommandError(str(error)) from error

    @functools.cached_property
    def identity(self) -> _Identity:
        """Who calls, and in which region."""
        with self.answers():
            region = self.region or self._session.get_config_variable("region")
            if self.account is not None:
                return _Identity(self.account, "lambent", None, region)
            found = self._session.get_credentials()
            if found is not None:
                frozen = found.get_frozen_credentials()
                return _Identity(frozen.access_key, frozen.secret_key, frozen.token, region)
        return _Identity("lambent" if region else None, "lambent", None, region)

    @functools.cached_property
    def _session(self) -> Session:
        import botocore.session  # noqa: PLC0415 - as in lambda_client

        session = botocore.session.get_session()
        resolver = session.get_component("credential_provider")
        # The metadata service of a cloud machine: not asked, it may take seconds to be absent.
        resolver.remove("iam-role")
        return session

    def _show_warning(self, http_response: Any, **_others: Any) -> None:
        text = http_response.headers.get("x-lambent-warning")
        if text and text not in self._warned:
            self._warned.add(text)
            warn(text)

    def _refused(self, error: Any) -> CommandError:
        details = error.response.get("Error", {})
        metadata = error.response.get("ResponseMetadata", {})
        headers = metadata.get("HTTPHeaders", {})
        hints = [headers["x-lambent-hint"]] if "x-lambent-hint" in headers else []
        if details.get("Code") in _NOBODY:
            hints.append(_WHO)
        if "x-amzn-requestid" not in headers:
            hints.append(f"What answered at {self.url} does not look like a Lambent server.")
        code, message = details.get("Code", "error"), details.get("Message", "")
        return CommandError(f"{code}: {message}" if message else str(code), *hints)

    def _unreachable(self) -> NoServer:
        return NoServer(f"No server answers at {self.url}.", _START)

    # ------------------------------------------------------------------ our own controls

    def runtimes(self) -> Mapping[str, str]:
        """Return the runtimes that the server found: version of the interpreter by identifier."""
        with self._ask(self._network_connection(), "/_lambent/health", {}) as response:
            found = _decoded(response.read()).get("runtimes")
        if not isinstance(found, dict):
            raise CommandError(f"What answers at {self.url} is not a Lambent server.", _START)
        return found

    @contextmanager
    def control(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        body: object = None,
        endless: bool = False,
        placed: bool = True,
    ) -> Iterator[http.client.HTTPResponse]:
        """Ask one of the server's own controls, or tell it to do something.

        It goes to the socket in the data directory, or over the network when an
        admin token is set.

        Args:
            path: percent-encoded.
            query: further to account and region.
            body: of a POST, to be sent as JSON; a GET without one.
            endless: the answer may take any time: no timeout.
            placed: add the account and region in which the caller acts.

        Raises:
            NoServer: none is there.
        """
        asked = {**query, **(self._place() if placed else {})}
        timeout_s = None if endless else _READ_TIMEOUT_S
        with self._ask(self._control_connection(timeout_s), path, asked, body) as response:
            yield response

    def control_json(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: object = None,
        endless: bool = False,
        placed: bool = True,
    ) -> dict[str, Any]:
        """Return the JSON object that a control answers; arguments as of :meth:`control`.

        Raises:
            CommandError: it cannot be read.
            NoServer: none is there.
        """
        with self.control(path, query or {}, body=body, endless=endless, placed=placed) as response:
            text = response.read()
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise CommandError(f"The server sent what cannot be read: {error}") from error

    def _place(self) -> dict[str, str]:
        identity = self.identity
        place = {}
        if identity.access_key_id:
            is_account = _ACCOUNT.fullmatch(identity.access_key_id) is not None
            place["account" if is_account else "key"] = identity.access_key_id
        if identity.region:
            place["region"] = identity.region
        return place

    def _control_connection(self, timeout_s: float | None) -> http.client.HTTPConnection:
        server = self.settings.server
        if server.admin_token is not None:
            return self._network_connection(timeout_s)
        if server.data_dir is None:
            raise CommandError(
                "A server without a data directory has no control socket.",
                "Set server.admin_token (LAMBENT_SERVER_ADMIN_TOKEN), for the server and here.",
            )
        path = server.data_dir / "control.sock"
        if not path.exists():
            raise NoServer(
                f"No server is running on {server.data_dir}: there is no control socket.",
                "Name the server's data directory with --data-dir or LAMBENT_SERVER_DATA_DIR,",
                "or set server.admin_token (LAMBENT_SERVER_ADMIN_TOKEN), for the server and here.",
            )
        return _UnixConnection(path, timeout_s)

    def _network_connection(self, timeout_s: float | None = _READ_TIMEOUT_S) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        trusted = environment().get("AWS_CA_BUNDLE") or None
        context = ssl.create_default_context(cafile=trusted)
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)

    @contextmanager
    def _ask(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        query: Mapping[str, str],
        body: object = None,
    ) -> Iterator[http.client.HTTPResponse]:
        token = self.settings.server.admin_token
        headers = {} if token is None else {"x-lambent-admin-token": token}
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            if body is None:
                connection.request("GET", target, headers=headers)
            else:
                connection.request("POST", target, json.dumps(body), headers)
            response = connection.getresponse()
            if response.status >= 300:
                raise _control_refused(response)
            yield response
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise self._unreachable() from error
        except BrokenPipeError:
            # Whoever reads our output has gone; click ends the command.
            raise
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"The server gave no whole answer: {error!r}") from error
        finally:
            connection.close()

    @functools.cached_property
    def _address(self) -> Any:
        return urlsplit(self.url)


@contextmanager
def _named_well() -> Iterator[None]:
    """Tell of an address that botocore does not take, such as one whose host has an underscore."""
    try:
        yield
    except ValueError as error:
        raise CommandError(f"{error}.") from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect to the socket's path instead of an address."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        path = os.fsencode(self._path)
        if len(path) <= _SOCKET_PATH_BYTES:
            self.sock.connect(path)
            return
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _control_refused(response: http.client.HTTPResponse) -> CommandError:
    answer = _decoded(response.read())
    text = answer.get("message") or answer.get("Message") or f"{response.status} {response.reason}"
    hint = response.headers.get("x-lambent-hint")
    return CommandError(str(text), *([hint] if hint else []))


data_dir_option: Callable[[_Command], _Command] = click.option(
    "--data-dir", metavar="DIR", help="The server's data directory, where its control socket is."
)
"""For verbs that use the server's own controls; :func:`server_options` takes it in."""


def server_options(command: _Command) -> _Command:
    """Give a verb the options that say which server and who calls; it gets an ``endpoint``."""

    @click.option(
        "--endpoint",
        "url",
        envvar=ENDPOINT_VARIABLE,
        metavar="URL",
        help="Where the server is [LAMBENT_ENDPOINT; default: the address in the settings].",
    )
    @click.option("--account", metavar="ID", help="Act in this account (12 digits).")
    @click.option("--region", metavar="NAME", help="Act in this region.")
    @functools.wraps(command)
    def with_endpoint(url: str | None, account: str | None, region: str | None, **others: Any) -> Any:
        settings = settings_or_error({"server.data_dir": others.pop("data_dir", None)})
        url = url or local_endpoint(settings)
        if not _is_url(url):
            raise click.BadParameter(f"{url!r} is not a URL such as http://127.0.0.1:3001.")
        if account is not None and _ACCOUNT.fullmatch(account) is None:
            raise click.BadParameter(f"--account {account!r} is not 12 digits.")
        return command(endpoint=Endpoint(url.rstrip("/"), account, region, settings), **others)

    return with_endpoint  # type: ignore[return-value]


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"} and bool(parts.hostname) and text.isprintable() and " " not in text
    )


def settings_or_error(flags: Mapping[str, object]) -> Settings:
    """Load the settings of this process; a bad one ends the verb.

    Args:
        flags: as for :func:`lambent.config.load_settings`.
    """
    try:
        return load_settings_here(flags)
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
