"""What checking a signature costs an invocation: the request that boto3 makes, with its key known.

In this process, not over HTTP, as the slot of ``admission``. The yardstick is the least that
any check must do: one SHA-256 of the body and one HMAC over the same bytes.
"""

import hmac
import time
from collections.abc import Callable
from hashlib import sha256
from statistics import median
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.figures import Figure, Goal
from bench.rounds import Options
from lambent.api.authenticate import SignatureAuthenticator
from lambent.api.request import Request
from lambent.clock import SystemClock
from lambent.model.identities import Credential, root

CALLS = 20_000
GOAL_US = 15.0
BODY = b'{"key": "value"}'
URL = "http://127.0.0.1:3001/2015-03-31/functions/bench/invocations"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def run(options: Options) -> list[Figure]:
    """Return the CPU of one check."""
    credential = Credential("AKIDEXAMPLE", SECRET, root("000000000000"))
    authenticator = SignatureAuthenticator(
        "000000000000", "us-east-1", {credential.access_key_id: credential}.get, SystemClock()
    )
    request = _signed(credential)
    key = sha256(BODY).digest()

    def hash_once() -> None:
        hmac.digest(key, sha256(BODY).digest(), "sha256")

    def check() -> None:
        assert authenticator.identify(request) is not None

    rounds = [(_cost_us(hash_once), _cost_us(check)) for _ in range(options.rounds)]
    yardstick, ours = (median(costs) for costs in zip(*rounds, strict=True))
    return [Figure("signature: a check", "µs", yardstick, ours, Goal("≤", GOAL_US, of="ours"))]


def _signed(credential: Credential) -> Request:
    headers = {"X-Amz-Invocation-Type": "RequestResponse", "User-Agent": "Boto3/1.44.5"}
    signed = AWSRequest("POST", URL, headers, BODY)
    SigV4Auth(Credentials(credential.access_key_id, credential.secret), "lambda", "us-east-1").add_auth(
        signed
    )
    url = urlsplit(URL)
    named = {name.lower().encode(): value.encode() for name, value in signed.headers.items()}
    request = Request(b"POST", url.path.encode(), {b"host": url.netloc.encode(), **named})
    request.body = BODY
    return request


def _cost_us(call: Callable[[], None]) -> float:
    started = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - started) / CALLS * 1e6
