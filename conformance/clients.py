"""The clients: how each program is built and run, what it differs in, and what it needs on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import botocore

from conformance.stage import LEVELS, TLS
from conformance.steps import Step

HERE = Path(__file__).parent

# What cargo calls the public registry, whichever mirror of it is configured.
_CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"

# The longest that building a program may take, with all that it needs.
_BUILD_LIMIT_S = 1800


class Missing(Exception):
    """What a client needs is not on this machine; the text says what."""


class BuildError(Exception):
    """A program cannot be built; the text is what the tool said."""


@dataclass(frozen=True)
class Difference:
    """Where a client differs from the expected table, by its own nature.

    Attributes:
        why: the footnote: the defect or gap of the client, with its source.
        detail: what its program tells instead; None when it has no such step.
    """

    why: str
    detail: str | None = None


@dataclass(frozen=True)
class Client:
    """One client system.

    Attributes:
        build: makes the program and returns the command that runs it.
        levels: the servers that it can talk to.
        attempts: what the server must see in the steps ``throttled`` and ``retries``.
        tells_status: whether its errors have the HTTP status.
        differences: by the step's name.
        untyped: modelled errors that this version of the client has no type for.
        level_gap: why it cannot talk to servers of the other levels.
    """

    name: str
    build: Callable[[], Sequence[str]]
    attempts: Mapping[str, int]
    levels: Sequence[str] = LEVELS
    tells_status: bool = True
    differences: Mapping[str, Difference] = field(default_factory=dict)
    untyped: frozenset[str] = frozenset()
    level_gap: str = ""

    def difference(self, step: Step) -> Difference | None:
        """Return what is different in a step, if anything is."""
        if step.name.removeprefix("fault:") in self.untyped:
            return Difference(
                "this version has no type for the error: its code tells", f"untyped {step.detail}"
            )
        return self.differences.get(step.name)


def cache() -> Path:
    """Return the folder for what is built: ``CONFORMANCE_CACHE``, else one in the user's cache."""
    chosen = os.environ.get("CONFORMANCE_CACHE")
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen) if chosen else user_cache / "lambent-conformance"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# ---------------------------------------------------------------------------- builds


def _need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise Missing(f"{tool} is not on PATH")
    return found


def _make(command: Sequence[str], folder: Path, **environ: str) -> None:
    told = f"{' '.join(command)}\n"
    try:
        subprocess.run(
            ["nice", *command],
            check=True,
            cwd=folder,
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_LIMIT_S,
        )
    except subprocess.CalledProcessError as failure:
        raise BuildError(told + failure.stdout[-4000:]) from failure
    except subprocess.TimeoutExpired as failure:
        raise BuildError(f"{told}it takes more than {_BUILD_LIMIT_S} s") from failure


def copy_of(name: str) -> Path:
    """Return a copy of a program's folder in the cache, where tools may build beside the source.

    Only files that differ are written: the tools compare times, and checkouts share the cache.
    """
    target = cache() / name
    for source in filter(Path.is_file, (HERE / name).rglob("*")):
        place = target / source.relative_to(HERE / name)
        if not place.is_file() or place.read_bytes() != source.read_bytes():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    return target


def _python() -> Sequence[str]:
    return [sys.executable, str(HERE / "python" / "walk.py")]


def _go() -> Sequence[str]:
    _need("go")
    program = cache() / "go" / "walk"
    _make(["go", "build", "-mod=readonly", "-o", str(program), "."], HERE / "go")
    return [str(program)]


def _js() -> Sequence[str]:
    node = _need("node")
    npm = _need("npm")
    folder = copy_of("js")
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    mark = folder / "node_modules" / f".{lock}"
    if not mark.exists():
        _make([npm, "ci", "--no-audit", "--no-fund"], folder)
        mark.touch()
    return [node, str(folder / "walk.mjs")]


def _cargo(name: str, target: str, *options: str) -> Sequence[str]:
    _need("cargo")
    built = cache() / target
    folder = copy_of(name)
    # The file here holds versions and checksums; cargo wants the name of their source with each.
    versions = (folder / "Cargo.lock.in").read_text()
    text = versions.replace("\nchecksum = ", f'\nsource = "{_CRATES_IO}"\nchecksum = ')
    lock = folder / "Cargo.lock"
    if not lock.is_file() or lock.read_text() != text:
        lock.write_text(text)
    _make(["cargo", "build", "--locked", *options], folder, CARGO_TARGET_DIR=str(built))
    return [str(built / "debug" / f"conformance-{name}")]


def _java() -> Sequence[str]:
    java = _need("java")
    _need("javac")
    maven = _need("mvn")
    folder = copy_of("java")
    _make([maven, "-B", "-q", "process-classes"], folder)
    return [java, "-cp", f"{folder}/target/classes:{folder}/target/dependency/*", "Walk"]


def _cli(major: int) -> Sequence[str]:
    """Find an AWS CLI of that major version beside this Python, on PATH, or where Debian has it."""
    named = os.environ.get(f"CONFORMANCE_AWS_CLI_V{major}")
    beside = Path(sys.executable).parent / "aws"
    for program in filter(
        None, (named, str(beside), shutil.which("aws"), "/usr/bin/aws", "/usr/local/bin/aws")
    ):
        if not Path(program).exists():
            continue
        told = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
        if f"aws-cli/{major}." in told.stdout + told.stderr:
            return [_need("bash"), str(HERE / "cli" / "walk.sh"), f"aws-cli-v{major}", program]
    raise Missing(f"no AWS CLI of version {major}; CONFORMANCE_AWS_CLI_V{major} may name one")


def _haskell() -> Sequence[str]:
    cabal = _need("cabal")
    folder = copy_of("haskell")
    _make([cabal, "build"], folder)
    found = subprocess.run(
        [cabal, "list-bin", "walk"], check=True, cwd=folder, capture_output=True, text=True
    )
    return [found.stdout.strip()]


def _r() -> Sequence[str]:
    script = _need("Rscript")
    probe = "quit(status = !requireNamespace('paws.compute', quietly = TRUE))"
    if subprocess.run([script, "-e", probe], check=False).returncode != 0:
        raise Missing("R has no package paws.compute: install.packages('paws.compute')")
    return [script, str(HERE / "r" / "walk.R")]


# ---------------------------------------------------------------------------- the table


# In the service model of newest botocore, in no released SDK of these versions.
_NEW_ERRORS = frozenset(("RuntimeAliasDeletedException", "RuntimeVersionDeletedException"))
_NEWER_THAN_RUSOTO = _NEW_ERRORS | frozenset(
    (
        "CodeArtifactUserDeletedException",
        "CodeArtifactUserFailedException",
        "CodeArtifactUserPendingException",
        "DurableExecutionAlreadyStartedException",
        "ENINotReadyException",
        "ModeNotSupportedException",
        "NoPublishedVersionException",
        "RecursiveInvocationException",
        "S3FilesMountConnectivityException",
        "S3FilesMountFailureException",
        "S3FilesMountTimeoutException",
        "SerializedRequestEntityTooLargeException",
        "ServiceQuotaExceededException",
        "SnapStartException",
        "SnapStartNotReadyException",
        "SnapStartRegenerationFailureException",
        "SnapStartTimeoutException",
    )
)
_THREE = {"throttled": 3, "retries": 2}
_FOUR = {"throttled": 4, "retries": 2}
_FIVE = {"throttled": 5, "retries": 2}
_ONCE = {"throttled": 1, "retries": 1}
# Its retries changed with 1.44: docs/clients.md.
_BOTOCORE = tuple(int(part) for part in botocore.__version__.split(".")[:2])

_CLI_LACKS = dict.fromkeys(
    ("stream", "stream-error"),
    Difference("it has no such command (awscli/customizations/removals.py)"),
)
_AMAZONKA_LACKS = dict.fromkeys(
    ("stream", "stream-error"), Difference("it reads an event stream as JSON (brendanhay/amazonka#1041)")
)
_AMAZONKA_UNTYPED = _NEWER_THAN_RUSOTO - {
    "SnapStartException",
    "SnapStartNotReadyException",
    "SnapStartTimeoutException",
}
_PAWS_LACKS = {
    "request-id": Difference("it is not in its answers (get_request_output, paws.common/R/request.R)"),
    "hook": Difference("it has no hooks"),
    "retries": Difference("a 429 is never tried again (check_if_retryable, paws.common/R/retry.R)"),
    **dict.fromkeys(
        ("stream", "stream-error"),
        Difference("it reads every chunk as JSON (json_parse_stream, paws.common/R/handlers_jsonrpc.R)"),
    ),
}
_RUSOTO_LACKS = {
    "retries": Difference("it never tries again (rusoto/rusoto#234)"),
    **dict.fromkeys(("stream", "stream-error"), Difference("its last release is older than the operation")),
}

CLIENTS = (
    Client("boto3", _python, _FIVE if _BOTOCORE < (1, 44) else _THREE),
    Client("aws-cli-v1", lambda: _cli(1), _FIVE, tells_status=False, differences=_CLI_LACKS),
    Client("aws-cli-v2", lambda: _cli(2), _THREE, tells_status=False, differences=_CLI_LACKS),
    Client("go", _go, _THREE, untyped=_NEW_ERRORS),
    Client("js", _js, _THREE, untyped=_NEW_ERRORS),
    Client("java", _java, _FOUR, untyped=_NEW_ERRORS),
    Client("rust", lambda: _cargo("rust", "rust-target"), _THREE, untyped=_NEW_ERRORS),
    Client(
        "rusoto",
        lambda: _cargo("rusoto", "rusoto-target"),
        _ONCE,
        tells_status=False,
        differences=_RUSOTO_LACKS,
        untyped=_NEWER_THAN_RUSOTO,
    ),
    Client(
        "rusoto-rustls",
        lambda: _cargo("rusoto", "rusoto-rustls-target", "--no-default-features", "--features", "rustls"),
        _ONCE,
        levels=(TLS,),
        tells_status=False,
        differences=_RUSOTO_LACKS,
        untyped=_NEWER_THAN_RUSOTO,
        level_gap="built with rustls it speaks https only",
    ),
    Client(
        "amazonka",
        _haskell,
        {"throttled": 6, "retries": 2},
        differences=_AMAZONKA_LACKS,
        untyped=_AMAZONKA_UNTYPED,
    ),
    Client("paws", _r, _ONCE, differences=_PAWS_LACKS),
)
