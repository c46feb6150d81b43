"""Whatever is asked at level sigv4, in the words of the service model: nobody does more than policies allow.

One real server; ``FUZZ_EXAMPLES=20000`` draws that many requests for each test.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.conftest import ROLE, Functions, RunningServer, running_server
from tests.integration.events_harness import control
from tests.properties.api_requests import KEPT, Drawn, requests
from tests.properties.fuzzed import EXAMPLES, fuzzed
from tests.properties.test_api_fuzz import SERVED, Caller, check

from lambent.wire.sigv4 import Keys, Scope, hash_body, sign

pytestmark = pytest.mark.timeout(0 if EXAMPLES else 120)


class Guarded:
    """A server that checks signatures, with one function and users that have a policy or none."""

    def __init__(self, server: RunningServer) -> None:
        self.caller = Caller(server)
        keys = self.user("admin", {"Effect": "Allow", "Action": "*", "Resource": "*"})
        self._admin = boto3.client(
            "lambda",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret,
        )
        Functions(self._admin)("def handler(event, context): return event", FunctionName=KEPT, Role=ROLE)
        self._admin.publish_version(FunctionName=KEPT)
        self._admin.create_alias(FunctionName=KEPT, Name="live", FunctionVersion="1")

    def user(self, name: str, *statements: Any) -> Keys:
        """Return the keys of a new user."""
        asked: dict[str, str] = {"name": name}
        if statements:
            asked["policy"] = json.dumps({"Version": "2012-10-17", "Statement": statements})
        body = json.dumps(asked).encode()
        made = control(self.caller.server, "POST", "/add-user", body, name="iam").json
        return Keys(made["AccessKeyId"], made["SecretAccessKey"])

    def state(self) -> str:
        """Return all that could have been changed."""
        told = [
            self._admin.get_function(FunctionName=KEPT)["Configuration"],
            self._admin.list_functions(FunctionVersion="ALL")["Functions"],
            self._admin.list_aliases(FunctionName=KEPT)["Aliases"],
            self._admin.get_account_settings()["AccountUsage"],
        ]
        return json.dumps(told, sort_keys=True)

    def send(self, drawn: Drawn, keys: Keys | None) -> int:
        """Send a request as a user, or unsigned, and return the status of its answer."""
        kept = {name: value for name, value in drawn.headers.items() if name.lower() != "authorization"}
        if keys is not None:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            host = f"127.0.0.1:{self.caller.server.port}"
            added = sign(
                drawn.method.encode(),
                drawn.target.encode(),
                {b"host": host.encode()},
                hash_body(drawn.body),
                keys=keys,
                scope=Scope(stamp[:8], "us-east-1"),
                timestamp=stamp,
            )
            kept |= {name.decode(): value.decode() for name, value in added.items()}
        answer = self.caller.send(drawn._replace(headers=kept))
        check(drawn, answer)
        return answer.status


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with running_server(tmp_path_factory.mktemp("guarded"), LAMBENT_AUTH_LEVEL="sigv4") as server:
        yield (guarded := Guarded(server))
        guarded.caller.close()
        assert "Traceback" not in server.errors.read_text()


def ask_everything(operations: list[str], ask: Callable[[Drawn], int]) -> Counter[int]:
    """Draw requests to these operations, and return how often which status came."""
    statuses: Counter[int] = Counter()

    @fuzzed(300)
    @given(drawn=st.sampled_from(operations).flatmap(requests))
    def run(drawn: Drawn) -> None:
        statuses[ask(drawn)] += 1

    run()
    return statuses


def test_who_does_not_sign_does_nothing(guarded: Guarded) -> None:
    before = guarded.state()
    statuses = ask_everything(SERVED, lambda drawn: guarded.send(drawn, None))
    assert min(statuses) >= 400
    assert guarded.state() == before


def test_a_user_without_a_policy_does_nothing(guarded: Guarded) -> None:
    keys = guarded.user("nobody")
    before = guarded.state()
    statuses = ask_everything(SERVED, lambda drawn: guarded.send(drawn, keys))
    assert min(statuses) >= 400
    # Whether something is there is not told either, but for other regions, which are nobody's.
    assert statuses[403] > sum(statuses.values()) / 4
    assert guarded.state() == before


def test_a_user_who_may_read_changes_nothing(guarded: Guarded) -> None:
    keys = guarded.user(
        "reader", {"Effect": "Allow", "Action": ["lambda:Get*", "lambda:List*"], "Resource": "*"}
    )
    before = guarded.state()
    reading = [operation for operation in SERVED if operation.startswith(("Get", "List"))]
    others = sorted(set(SERVED) - set(reading))
    assert min(ask_everything(others, lambda drawn: guarded.send(drawn, keys))) >= 400
    assert min(ask_everything(reading, lambda drawn: guarded.send(drawn, keys))) == 200
    assert guarded.state() == before
