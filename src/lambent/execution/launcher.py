"""What a function's process is told when it starts: folder, handler, variables.

Variables as AWS sets them; see docs/aws-behaviour.md, execution 4.3.
Nothing of the server's own environment reaches a function.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lambent import __version__, limits
from lambent.execution.environment import ExecutionEnvironment
from lambent.execution.process import FunctionProcess
from lambent.execution.runtimes import Interpreter, OfferedPackages, Runtimes
from lambent.execution.sandbox.contract import Sandbox
from lambent.execution.zygote import ZygoteDied, Zygotes
from lambent.model.errors import ServiceError
from lambent.model.functions import FunctionVersion, partition
from lambent.tasks import Tasks

_logger = logging.getLogger("lambent.execution")
_MODULES_READ = 100
_SDK = re.compile(rb"\b(boto3|botocore)\b")
_PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"


@dataclass(frozen=True, slots=True)
class FunctionEndpoints:
    """Where functions find services: this server's internal listener, and others or None."""

    own_url: str
    other_url: str | None = None


class ProcessLauncher:
    """Starts processes of environments from zygotes.

    Args:
        unpack: package hash → folder with its files.
        pycache: parent of the byte code folders, one for each version of Python: code and
            boto3 share it, because a process has just one such folder.
        make_keys: gives a process access key id, secret and session token.
    """

    def __init__(
        self,
        *,
        runtimes: Runtimes,
        zygotes: Zygotes,
        sandbox: Sandbox,
        unpack: Callable[[str], Awaitable[Path]],
        pycache: Path,
        boto3: OfferedPackages,
        endpoints: FunctionEndpoints,
        make_keys: Callable[[FunctionVersion], tuple[str, str, str]],
        tasks: Tasks,
    ) -> None:
        self._runtimes = runtimes
        self._zygotes = zygotes
        self._sandbox = sandbox
        self._unpack = unpack
        self._pycache = pycache
        self._boto3 = boto3
        self._compiled_boto3_for: set[Interpreter] = set()
        self._endpoints = endpoints
        self._make_keys = make_keys
        self._tasks = tasks

    def launch(self, environment: ExecutionEnvironment) -> None:
        """Start a process in the background and give it to ``environment``."""
        self._tasks.start(self._launch(environment), f"start of environment {environment.id}")

    async def prepare(self, version: FunctionVersion, folder: Path) -> None:
        """Compile the package at ``folder`` to byte code by the Python that will run it."""
        interpreter = self._runtimes.interpreter(version.runtime)
        try:
            await self._compile(folder, interpreter)
        except ZygoteDied:
            # The function runs without byte code too, only its imports take longer.
            _logger.warning("%s was not compiled: its zygote ended", version.key.arn())
            return
        if self._boto3.supports(interpreter) and await asyncio.to_thread(_mentions_boto3, folder):
            self._tasks.start(self._compile_boto3(interpreter), "compilation of boto3")

    async def _compile_boto3(self, interpreter: Interpreter) -> None:
        """Compile boto3 too, once for each Python: its import takes half as long then."""
        done = self._pycache_of(interpreter) / self._boto3.folder.name
        if interpreter not in self._compiled_boto3_for and not done.exists():
            self._compiled_boto3_for.add(interpreter)
            await self._compile(self._boto3.folder, interpreter)
            done.touch()

    async def _compile(self, folder: Path, interpreter: Interpreter) -> None:
        await self._zygotes.get(interpreter, {}).compile(folder, self._pycache_of(interpreter))

    async def _launch(self, environment: ExecutionEnvironment) -> None:
        version = environment.version
        process = FunctionProcess(environment, limits.SYNC_RESPONSE_BYTES)
        try:
            folder = await self._unpack(version.code.sha256)
            interpreter = self._runtimes.interpreter(version.runtime)
            zygote = self._zygotes.get(interpreter, version.variables or {})
            environment.write_init_start(
                f"{version.runtime[:6]}:{interpreter.text_version}", runtime_version_arn(version)
            )
            environment.adopt(process)
            await process.start(zygote, self._order(environment, folder, interpreter))
        except ServiceError as error:
            environment.start_failed(error.message or error.code)
        except Exception:  # a caller waits for this environment, whatever went wrong
            _logger.exception("environment %s could not be started", environment.id)
            environment.start_failed("Runtime could not be started")

    def _order(
        self, environment: ExecutionEnvironment, folder: Path, interpreter: Interpreter
    ) -> dict[str, object]:
        version = environment.version
        return {
            "handler": version.handler,
            "task_root": str(folder),
            "variables": self._variables(environment, folder),
            **self._sandbox.walls(version),
            "pycache_prefix": str(self._pycache_of(interpreter)),
            "extra_path": [str(self._boto3.folder)] if self._boto3.supports(interpreter) else [],
        }

    def _pycache_of(self, interpreter: Interpreter) -> Path:
        return self._pycache / interpreter.text_version

    def _variables(self, environment: ExecutionEnvironment, folder: Path) -> Mapping[str, str]:
        version = environment.version
        key = version.key
        access_key_id, secret, token = self._make_keys(version)
        variables = {
            "AWS_LAMBDA_FUNCTION_NAME": key.name,
            "AWS_LAMBDA_FUNCTION_VERSION": version.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": version.logging.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": environment.log_stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": environment.initialization_type,
            "AWS_REGION": key.region,
            "AWS_DEFAULT_REGION": key.region,
            "AWS_ACCESS_KEY_ID": access_key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.runtime}",
            "_HANDLER": version.handler,
            "LAMBDA_TASK_ROOT": str(folder),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PWD": str(folder),
            "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
            "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
            "_AWS_XRAY_DAEMON_PORT": "2000",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "TZ": ":UTC",
            "LANG": "en_US.UTF-8",
            "LC_CTYPE": "C.UTF-8",
            "PATH": _PATH,
            "SHLVL": "0",
            "TMPDIR": environment.folder,
            "AWS_ENDPOINT_URL_LAMBDA": self._endpoints.own_url,
            "AWS_ENDPOINT_URL_STS": self._endpoints.own_url,
        }
        if self._endpoints.other_url is not None:
            variables["AWS_ENDPOINT_URL"] = self._endpoints.other_url
        if version.logging.format == "JSON":
            variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
            variables["AWS_LAMBDA_LOG_LEVEL"] = version.logging.application_level or "INFO"
        # Last: the reserved names were refused when the function was configured.
        return {**variables, **(version.variables or {})}


def runtime_version_arn(version: FunctionVersion) -> str:
    """Return the ARN that names this server's build of the runtime.

    Constant per identifier and server version; the hash is of both.
    """
    digest = hashlib.sha256(f"{version.runtime} {__version__}".encode()).hexdigest()
    region = version.key.region
    return f"arn:{partition(region)}:lambda:{region}::runtime:{digest}"


def _mentions_boto3(folder: Path) -> bool:
    """Tell whether a package's own modules use an AWS SDK; large packages are not read to the end."""
    modules = itertools.islice(folder.rglob("*.py"), _MODULES_READ)
    return any(_SDK.search(module.read_bytes()) for module in modules if module.is_file())
