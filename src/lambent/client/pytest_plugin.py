"""Fixtures for pytest: a real server for a test run, and clients that point at it.

``lambent_server``        the server: ``.url``, ``.deploy(name, handler)``, ``.logs(name)``
``lambent_client``        a :class:`lambent.client.Lambda`
``lambent_async_client``  a :class:`lambent.client.AsyncLambda`
``lambent_boto3``         boto3's ``lambda`` client

The server is started by the first test that asks for one of them, on a free port, with its
data in a folder that it removes at its end. It ends with the run, also when the run is
killed: it holds the other end of a pipe. Under pytest-xdist each worker has a server of its
own: a start takes a fraction of a second, and tests of one worker never see functions of another.

``--lambent-url=URL`` uses a server that is running already, and leaves what was deployed there.

Nothing of Lambent but this module and the client's package is imported before a fixture is used.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

    from lambent.client import AsyncLambda, Lambda

_REGION = "us-east-1"
_KEY = "lambent"
_ROLE = "arn:aws:iam::000000000000:role/lambent"
_TOKEN_VARIABLE = "LAMBENT_SERVER_ADMIN_TOKEN"  # noqa: S105 - a name
_START_LIMIT_S = 60
_STOP_LIMIT_S = 20
# Of the server that is started here. Events are retried at once, and nobody waits for
# functions that a test has left running.
_SETTINGS = {
    "LAMBENT_SERVER_HOST": "127.0.0.1",
    "LAMBENT_SERVER_PORT": "0",
    "LAMBENT_SERVER_DATA_DIR": ":memory:",
    "LAMBENT_SERVER_SHUTDOWN_GRACE": "1",
    "LAMBENT_ASYNC_RETRY_DELAYS": "0.1,0.1",
}
# The server ends as by SIGTERM when its standard input does: with the process that started it.
_PROGRAM = """\
import os, signal, sys, threading
from lambent.config import load_settings_here
from lambent.server import run
def follow():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=follow, daemon=True).start()
sys.exit(run(load_settings_here({})))
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--lambent-url``."""
    parser.getgroup("lambent").addoption(
        "--lambent-url", metavar="URL", help="use the Lambent server that runs there instead of starting one"
    )


@dataclass(frozen=True)
class LambentServer:
    """A running server.

    Attributes:
        url: where it is.
        region: that clients sign for.
        key: access key id and secret of clients; None for those of the environment.
    """

    url: str
    region: str = _REGION
    key: str | None = _KEY
    _token: str | None = field(default=None, repr=False)

    def deploy(
        self, name: str, code: Callable[..., Any] | str | os.PathLike[str], **configuration: Any
    ) -> str:
        """Create a function, in the place of one that has the name, and return when it is active.

        Args:
            name: of the function.
            code: the handler itself, a folder, a ``.py`` file or a zip. A handler is a function
                at the top level of a module; the module's file is sent, and of a module inside a
                package the whole package. As on AWS it finds the standard library and boto3
                there, but not what is installed where the tests run (pytest, for one).
            configuration: members of CreateFunction, as ``Timeout=10`` or
                ``Environment={"Variables": {…}}``. Unless given, ``Runtime`` is the Python that
                runs the tests, and ``Handler`` is found.

        Returns:
            The name.

        Raises:
            ValueError: the code cannot be deployed; says why.
            botocore.exceptions.ClientError: the server refused.
        """
        runtime = configuration.setdefault("Runtime", f"python3.{sys.version_info.minor}")
        from lambent.client import Lambda  # noqa: PLC0415

        data, handler = _read_code(code, runtime)
        if handler is None and "Handler" not in configuration:
            raise ValueError(f"no handler was found in {code}: name one, as Handler='app.handler'")
        client = self.boto3()
        try:
            with suppress(client.exceptions.ResourceNotFoundException):
                client.delete_function(FunctionName=name)
            client.create_function(
                **{
                    "FunctionName": name,
                    "Role": _ROLE,
                    "Handler": handler,
                    "Code": {"ZipFile": data},
                    **configuration,
                }
            )
        finally:
            client.close()
        with Lambda(**self.client_options()) as lam:
            lam.wait_until_active(name)
        return name

    def logs(self, name: str) -> str:
        """Return all that a function has written so far, oldest first.

        Raises:
            LookupError: there is no such function, or its log is not shown to us.
        """
        import json  # noqa: PLC0415 - as everything that only fixtures need
        from urllib.parse import quote  # noqa: PLC0415

        import urllib3  # noqa: PLC0415

        if self._token is None:
            raise LookupError(f"logs of a server that runs already need its admin token in {_TOKEN_VARIABLE}")
        answer = urllib3.request(
            "GET",
            f"{self.url}/_lambent/logs/{quote(name, safe='')}?region={self.region}",
            headers={"x-lambent-admin-token": self._token},
            retries=False,
        )
        if answer.status != 200:
            raise LookupError(f"no log of {name}: {answer.data.decode()}")
        return "".join(f"{json.loads(line)['message']}\n" for line in answer.data.splitlines())

    def boto3(self) -> LambdaClient:
        """Return a new boto3 client that points at the server and never sends a call twice."""
        import boto3  # noqa: PLC0415 - slow to import
        from botocore.config import Config  # noqa: PLC0415

        client: LambdaClient = boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=930, proxies={}),
        )
        return client

    def client_options(self) -> dict[str, Any]:
        """Return what ``Lambda`` and ``AsyncLambda`` are made with to point at the server."""
        from lambent.client import Credentials  # noqa: PLC0415

        keys = None if self.key is None else Credentials(self.key, self.key)
        # As boto3's: a proxy of the environment does not lead back to this machine.
        return {"endpoint_url": self.url, "region_name": self.region, "credentials": keys, "proxy": ""}


# ----------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def lambent_server(request: pytest.FixtureRequest) -> Iterator[LambentServer]:
    """A Lambent server for the whole run; of xdist's workers each has its own."""
    url = request.config.getoption("--lambent-url")
    if url is not None:
        environ = _environment()
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _REGION
        key = None if environ.get("AWS_ACCESS_KEY_ID") else _KEY
        yield LambentServer(url.rstrip("/"), region, key, environ.get(_TOKEN_VARIABLE))
        return
    with _started() as server:
        yield server


@pytest.fixture
def lambent_client(lambent_server: LambentServer) -> Iterator[Lambda]:
    """A ``lambent.client.Lambda`` of the server."""
    from lambent.client import Lambda  # noqa: PLC0415

    with Lambda(**lambent_server.client_options()) as client:
        yield client


@pytest.fixture
def lambent_async_client(lambent_server: LambentServer) -> AsyncLambda:
    """A ``lambent.client.AsyncLambda`` of the server, for one event loop, which closes it at its end."""
    from lambent.client import AsyncLambda  # noqa: PLC0415

    return AsyncLambda(**lambent_server.client_options())


@pytest.fixture(scope="session")
def lambent_boto3(lambent_server: LambentServer) -> Iterator[LambdaClient]:
    """boto3's ``lambda`` client of the server."""
    client = lambent_server.boto3()
    yield client
    client.close()


# ----------------------------------------------------------------- the server's process


@contextmanager
def _started() -> Iterator[LambentServer]:
    if not sys.platform.startswith("linux"):
        raise RuntimeError("Lambent's server needs Linux; --lambent-url=URL uses one that runs elsewhere")
    token = secrets.token_hex(16)
    # Settings of this shell, and a lambent.toml of this folder, are not for this server.
    environ = {name: value for name, value in _environment().items() if not name.startswith("LAMBENT_")}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**environ, **_SETTINGS, _TOKEN_VARIABLE: token},
            cwd="/",
        ) as process,
    ):
        try:
            url = _read_address(process)
            if url is None:
                errors.seek(0)
                raise RuntimeError(f"Lambent's server did not start:\n{errors.read()}")
            yield LambentServer(url, _token=token)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _environment() -> Mapping[str, str]:
    from lambent.config import environment  # noqa: PLC0415 - as everything of the server's

    return environment()


def _read_address(process: subprocess.Popen[str]) -> str | None:
    import select  # noqa: PLC0415

    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START_LIMIT_S)
    return process.stdout.readline().strip() or None if ready else None


# ----------------------------------------------------------------- the code


def _read_code(code: Callable[..., Any] | str | os.PathLike[str], runtime: str) -> tuple[bytes, str | None]:
    """Return the zip and the handler."""
    from lambent.cli.output import CommandError  # noqa: PLC0415
    from lambent.cli.package import read_package  # noqa: PLC0415
    from lambent.cli.requirements import has_requirements, install_requirements  # noqa: PLC0415

    try:
        with tempfile.TemporaryDirectory(prefix="lambent-deploy-") as made:
            if not isinstance(code, str | os.PathLike):
                source, handler = _source_of(code, Path(made))
                return read_package(source).data, handler
            source = Path(code)
            if not source.exists():
                raise ValueError(f"{source} does not exist")
            needed = source / "requirements.txt"
            if source.is_dir() and has_requirements(needed):
                install_requirements(needed, runtime, Path(made))
            package = read_package(source, Path(made))
            return package.data, package.handler
    except CommandError as error:
        raise ValueError(str(error)) from error


def _source_of(handler: Callable[..., Any], made: Path) -> tuple[Path, str]:
    """Return the file or the folder that holds a handler's module, and the handler's name in it.

    Raises:
        ValueError: only this process has the handler.
    """
    import inspect  # noqa: PLC0415

    if not inspect.isfunction(handler):
        raise ValueError(f"{handler!r} is no function: give a function of a module, a folder or a file")
    name, module = handler.__qualname__, handler.__module__
    if handler.__name__ == "<lambda>":
        raise ValueError(
            "a lambda cannot be deployed: nothing can import it; use def at the top level of a module"
        )
    if "." in name:
        raise ValueError(
            f"{name} cannot be deployed: it is defined inside of something, where nothing can import it; "
            "define it at the top level of a module"
        )
    found = inspect.getsourcefile(handler)
    if found is None or not Path(found).is_file():
        raise ValueError(f"{name} cannot be deployed: its source is not in a file")
    file = Path(found).resolve()
    parts = _parts_below(module, file)
    if len(parts) == 1:
        return file, f"{file.stem}.{name}"
    # The package of that name, alone in a folder; packing follows links.
    top = file.parents[len(parts) - 2] if file.stem != "__init__" else file.parents[len(parts) - 1]
    (made / parts[0]).symlink_to(top)
    return made, f"{'.'.join(parts)}.{name}"


def _parts_below(module: str, file: Path) -> list[str]:
    """Return the module's name as the file's place has it; a module that was loaded by its file is alone."""
    parts = module.split(".")
    place = file.parent.parts if file.stem == "__init__" else (*file.parent.parts, file.stem)
    return parts if tuple(parts) == place[-len(parts) :] else [file.stem]
