"""The server that a client meets: real, of its own, with the functions that the script needs."""

from __future__ import annotations

import http.client
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import trustme
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from conformance.steps import fault_names, function_with_fault

FUNCTION = Path(__file__).parent / "function" / "index.py"
RUNTIME = f"python3.{sys.version_info.minor}"
ROLE = "arn:aws:iam::000000000000:role/conformance"
# How a server may be set up; every client walks the script once for each.
PLAIN, TLS, SIGNED = LEVELS = ("http", "https", "signed")

_START_LIMIT_S = 60
_STOP_LIMIT_S = 30
_EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@dataclass(frozen=True)
class Stage:
    """A running server.

    Attributes:
        folder: its data, its log, and where programs run.
        environ: what a program is told: the SDKs' own variables and those of the script.
    """

    url: str
    folder: Path
    environ: dict[str, str]

    def attempts(self, function: str) -> int:
        """Return how many invocations of a function the server's request log tells."""
        lines = (self.folder / "server.log").read_text().splitlines()
        entries = (json.loads(line) for line in lines if line.startswith("{"))
        return sum(each.get("operation") == "Invoke" and each["function"] == function for each in entries)


@contextmanager
def staged(level: str, folder: Path) -> Iterator[Stage]:
    """Run a server of one level with all that the script expects of it.

    Args:
        level: how the server is set up.
        folder: for everything that is written; it is the caller's to remove.
    """
    environ = _clean() | {
        # No profile and no cache of the person who runs this.
        "HOME": str(folder),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "thing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CONFORMANCE_PACKAGE": str(folder / "function.zip"),
        "CONFORMANCE_RUNTIME": RUNTIME,
        "CONFORMANCE_FAULTS": ",".join(fault_names()),
    }
    options = []
    if level == TLS:
        environ |= _make_certificate(folder)
        options = ["--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key")]
    if level == SIGNED:
        environ |= _add_user(folder)
        options = ["--auth", "sigv4"]
    with _server(folder, options) as address:
        # Older TLS libraries take names only.
        url = address.replace("127.0.0.1", "localhost") if level == TLS else address
        stage = Stage(url, folder, environ | {"AWS_ENDPOINT_URL_LAMBDA": url})
        _set(stage)
        yield stage


def package(source: str) -> bytes:
    """Return a zip with ``index.py``."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", source)
    return packed.getvalue()


def _set(stage: Stage) -> None:
    """Make the functions that programs find there."""
    code = package(FUNCTION.read_text())
    (stage.folder / "function.zip").write_bytes(code)
    client = boto3.client(
        "lambda",
        endpoint_url=stage.url,
        region_name=stage.environ["AWS_REGION"],
        aws_access_key_id=stage.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stage.environ["AWS_SECRET_ACCESS_KEY"],
        verify=stage.environ.get("AWS_CA_BUNDLE"),
        config=Config(retries={"total_max_attempts": 1}),
    )
    # Damaged behind its directory: it is taken, fails to unpack and stays in the state Failed.
    _create(client, "broken", code.replace(b"conformance was here", b"conformance was lost", 1))
    throttled = ("throttled", "throttled-twice")
    faulty = {function_with_fault(name): name for name in fault_names()}
    for function in (*throttled, *faulty):
        _create(client, function, code)
    for function in (*throttled, *faulty):
        waiter = client.get_waiter("function_active_v2")
        waiter.wait(FunctionName=function, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1000})
    for function in throttled:
        client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    client.close()
    control = _Control(stage.folder / "data" / "control.sock")
    for function, error in faulty.items():
        control.tell("/_lambent/faults", {"function": function, "error": error})
    control.close()


def _create(client: Any, name: str, code: bytes) -> None:
    client.create_function(
        FunctionName=name, Runtime=RUNTIME, Handler="index.handler", Role=ROLE, Code={"ZipFile": code}
    )


class _Control(http.client.HTTPConnection):
    """The server's own controls; ``lambent fault`` says the same, in a process for each."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))

    def tell(self, path: str, body: object) -> None:
        self.request("POST", path, json.dumps(body))
        answer = self.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(text.decode())


# ---------------------------------------------------------------------------- the process


@contextmanager
def _server(folder: Path, options: Sequence[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options], cwd=folder, env=_clean(), stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], _START_LIMIT_S)
        url = process.stdout.readline().strip() if ready else ""
        if not url:
            raise RuntimeError((folder / "server.log").read_text())
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_LIMIT_S)
        process.stdout.close()


def _clean() -> dict[str, str]:
    """Return this shell's variables without settings of Lambent, of AWS and of certificates."""
    drop = ("LAMBENT_", "AWS_", "CONFORMANCE_", "SSL_CERT", "CURL_CA", "REQUESTS_CA", "NODE_EXTRA_CA")
    return {name: value for name, value in os.environ.items() if not name.startswith(drop)}


def _add_user(folder: Path) -> dict[str, str]:
    """Make a user who may do everything, and return the variables with its key."""
    policy = folder / "policy.json"
    policy.write_text(json.dumps(_EVERYTHING))
    command = [sys.executable, "-m", "lambent", "iam", "add-user", "conformance", "--policy", str(policy)]
    made = subprocess.run(
        [*command, "--json", "--data-dir", str(folder / "data")],
        check=True,
        env=_clean(),
        stdout=subprocess.PIPE,
    )
    user = json.loads(made.stdout)
    return {"AWS_ACCESS_KEY_ID": user["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": user["SecretAccessKey"]}


def _make_certificate(folder: Path) -> dict[str, str]:
    """Write a certificate, and return the variables by which each client is told whom to trust."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    issued.private_key_pem.write_to_path(folder / "server.key")
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    by_path = (
        "AWS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "CURL_CA_BUNDLE",
        "SYSTEM_CERTIFICATE_PATH",
    )
    return dict.fromkeys(by_path, str(trusted)) | {
        "JAVA_TOOL_OPTIONS": _make_java_trust(authority.cert_pem.bytes(), folder / "authority.p12")
    }


def _make_java_trust(authority: bytes, store: Path) -> str:
    """Write the store that Java wants, as keytool does, and return the options that name it."""
    trusted = pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(authority), b"conformance")
    store.write_bytes(pkcs12.serialize_java_truststore([trusted], BestAvailableEncryption(b"changeit")))
    return f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
