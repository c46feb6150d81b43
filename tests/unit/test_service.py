"""One request to one answer, where it depends on what storage holds or fails to hold.

States that last for milliseconds on a server last here for as long as a test wants.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import pytest
from tests.contract.rig import ACCOUNT, REGION, Rig, open_rig

from lambent.api.answers import Answers
from lambent.api.authenticate import SMALL_BODY_BYTES, Authenticator, SignatureAuthenticator
from lambent.api.codec import Codec
from lambent.api.controls import Controls
from lambent.api.dead_letters import DeadLetters
from lambent.api.faults import Faults
from lambent.api.identities import Identities
from lambent.api.large_events import LargeEventCheck
from lambent.api.origin import OriginCheck
from lambent.api.queued_events import QueuedEvents
from lambent.api.request import Request
from lambent.api.security_tokens import SecurityTokens
from lambent.api.service import Service
from lambent.control.aliases import create_alias
from lambent.control.functions import create_function, update_function_configuration
from lambent.control.versions import publish_version
from lambent.execution.pool import EnvironmentPool
from lambent.invocation.admission import Admission
from lambent.invocation.authorize import Authorizer
from lambent.invocation.dispatcher import Dispatcher
from lambent.invocation.invoker import Invoker
from lambent.invocation.resolve import Resolver
from lambent.model.errors import InvalidZipFileException
from lambent.model.identities import Credential, root
from lambent.model.invocations import Invocation, InvocationResult, Origin
from lambent.observability.request_log import RequestLog
from lambent.side_process import SideProcess
from lambent.storage.contracts import LogEvent, LogStore, StorageFailed
from lambent.tasks import Tasks
from lambent.wire.sigv4 import Keys, Scope, hash_body, sign

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
SEED = 7
KEY = Credential("AKIDEXAMPLE", "s", root(ACCOUNT))
INVOKE = "/2015-03-31/functions/{}/invocations"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def refusal(self) -> tuple[int, str, dict[str, str]]:
        """Status, code and body of an error."""
        return self.status, self.headers["x-amzn-errortype"], json.loads(self.body)


class Caller:
    """The caller's end of one exchange."""

    is_closed = False
    is_congested = False
    is_streaming = False
    rests = False
    origin = Origin("127.0.0.1", is_secure=False)

    def __init__(self) -> None:
        self._response = asyncio.get_running_loop().create_future()

    def write(self, part: bytes) -> None:
        raise AssertionError(part)

    def begin(self, head: bytes) -> None:
        raise AssertionError(head)

    def abort(self) -> None:
        raise AssertionError

    def call_when_gone(self, step: Callable[[], object]) -> None:
        raise AssertionError(step)

    def rest(self) -> None:
        self.rests = True

    def respond(self, response: bytes, *, keep_alive: bool) -> None:
        self._response.set_result(response)

    async def answer(self) -> Answer:
        response: bytes = await asyncio.wait_for(self._response, 20)
        head, _, body = response.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Answer(int(status.split()[1]), headers | {"x-amzn-errortype": _value(lines)}, body)


def _value(lines: list[str]) -> str:
    return next((line.partition(": ")[2] for line in lines if line.startswith("x-amzn-ErrorType")), "")


class Environments:
    """Stands for the pool: an invocation answers the memory size of what it runs, unless its event is 0.

    Attributes:
        running: what answers an invocation whose event is 0.
        has_begun: set when there is one.
    """

    def __init__(self) -> None:
        self.running: list[Callable[[InvocationResult], None]] = []
        self.has_begun = asyncio.Event()

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        if invocation.payload == b"0":
            self.running.append(done)
            self.has_begun.set()
        else:
            done(InvocationResult(str(invocation.version.memory_mb).encode()))


class Front:
    """A service over a rig's stores; one invocation at a time may run."""

    def __init__(self, rig: Rig, tasks: Tasks) -> None:
        self._clock = rig.clock
        self.large_events = LargeEventCheck()
        self.side_process = SideProcess()
        self.environments = Environments()
        answers = Answers(rig.clock)
        resolver = Resolver(rig.functions, tasks, lambda _: None)
        draw = random.Random(SEED).random
        faults = Faults(functions=rig.functions, clock=rig.clock, tasks=tasks, draw=draw)
        self.controls = Controls(
            services=rig.services,
            logs=cast("LogStore", None),
            answers=answers,
            clock=rig.clock,
            runtimes={},
            is_ready=lambda: True,
            stats=cast("Any", None),
            dead_letters=cast("DeadLetters", None),
            queued_events=cast("QueuedEvents", None),
            identities=cast("Identities", None),
            faults=faults,
            admin_token=None,
            account=ACCOUNT,
            region=REGION,
        )
        self._service = Service(
            answers=answers,
            authenticator=Authenticator(ACCOUNT, REGION),
            origins=OriginCheck(frozenset()),
            codec=Codec(),
            resolver=resolver,
            authorizer=Authorizer(rig.clock),
            invoker=Invoker(Admission(1, rig.clock), cast("EnvironmentPool", self.environments)),
            dispatcher=cast("Dispatcher", None),
            large_events=self.large_events,
            side_process=self.side_process,
            faults=faults,
            services=rig.services,
            security_tokens=cast("SecurityTokens", None),
            controls=self.controls,
            observer=RequestLog(rig.clock),
            clock=rig.clock,
            tasks=tasks,
            scheme="http",
            draw=draw,
        )

    def check_signatures(self) -> None:
        """Go on at level sigv4."""
        find_credential = {credential.access_key_id: credential for credential in (KEY,)}.get
        authenticator = SignatureAuthenticator(ACCOUNT, REGION, find_credential, self._clock)
        self._service._authenticator = authenticator
        self._service._is_checking = True

    def handle(self, request: Request, caller: Caller) -> None:
        """Hand one request over."""
        self._service.handle(request, caller)

    async def send_signed(self, method: str, target: str, body: bytes = b"", *, secret: str = "s") -> Answer:
        """Sign a request, hand it over and wait for its answer."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock.now()))
        added = sign(
            method.encode(),
            target.encode(),
            {b"host": b"127.0.0.1"},
            hash_body(body),
            keys=Keys(KEY.access_key_id, secret),
            scope=Scope(stamp[:8], REGION),
            timestamp=stamp,
        )
        headers = {name.decode(): value.decode() for name, value in added.items()}
        return await self.send(method, target, body, **{"host": "127.0.0.1"} | headers)

    async def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Hand one request over and wait for its answer."""
        named = {name.replace("_", "-").lower().encode(): value.encode() for name, value in headers.items()}
        request = Request(method.encode(), target.encode(), named)
        request.body = body
        caller = Caller()
        self._service.handle(request, caller)
        return await caller.answer()


Run = Callable[[Callable[[Rig, Front], Awaitable[None]]], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a scenario with a service over a fresh data directory."""

    @asynccontextmanager
    async def fronted(rig: Rig) -> AsyncIterator[Front]:
        tasks = Tasks()
        front = Front(rig, tasks)
        try:
            yield front
        finally:
            front.large_events.close()
            front.side_process.close()
            await tasks.close()

    def run(scenario: Callable[[Rig, Front], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_rig(tmp_path / "data") as rig, fronted(rig) as front:
                await scenario(rig, front)

        asyncio.run(main())

    return run


# docs/aws-behaviour.md, invoke 1.4: what is checked after a function's state, and so never told here.
WRONG_OTHERWISE: list[dict[str, Any]] = [
    {"body": b"{"},
    {"X_Amz_Client_Context": "no!"},
    {"x_amzn_RequestId": "7"},
    {"X_Amz_Invocation_Type": "DryRun"},
]


def _in_state(state: str) -> tuple[int, str, dict[str, str]]:
    # docs/aws-behaviour.md, invoke 1.4, "Catalogue".
    text = (
        "The operation cannot be performed at this time. "
        f"The function is currently in the following state: {state}"
    )
    return 409, "ResourceConflictException", {"Type": "User", "message": text}


@pytest.mark.parametrize("wrong", WRONG_OTHERWISE)
def test_a_pending_function_is_a_conflict_whatever_else_is_wrong(run: Run, wrong: dict[str, Any]) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        rig.gate.clear()
        await create_function(rig.services, rig.create_call())
        for target in (INVOKE.format("f"), INVOKE.format("f:$LATEST")):
            assert (await front.send("POST", target)).refusal == _in_state("Pending")
            assert (await front.send("POST", target, **wrong)).refusal == _in_state("Pending")
        rig.gate.set()
        await rig.settled()
        assert (await front.send("POST", INVOKE.format("f"))).status == 200

    run(scenario)


@pytest.mark.parametrize("wrong", WRONG_OTHERWISE)
def test_a_function_that_could_not_be_created_is_a_conflict_whatever_else_is_wrong(
    run: Run, wrong: dict[str, Any]
) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        rig.fault = InvalidZipFileException("damaged")
        await create_function(rig.services, rig.create_call())
        await rig.settled()
        assert (await front.send("POST", INVOKE.format("f"))).refusal == _in_state("Failed")
        assert (await front.send("POST", INVOKE.format("f"), **wrong)).refusal == _in_state("Failed")

    run(scenario)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({}, "TooManyRequestsException"),
        ({"body": b"{"}, "InvalidRequestContentException"),
        ({"X_Amz_Client_Context": "no!"}, "InvalidRequestContentException"),
        ({"x_amzn_RequestId": "7"}, "InvalidRequestContentException"),
        ({"X_Amz_Log_Type": "Head"}, "ValidationException"),
    ],
)
def test_concurrency_is_looked_at_last_and_not_for_a_dry_run(
    run: Run, wrong: dict[str, Any], code: str
) -> None:
    # docs/aws-behaviour.md, invoke 1.4 and concurrency 3.2.
    async def scenario(rig: Rig, front: Front) -> None:
        await create_function(rig.services, rig.create_call())
        await rig.settled()
        first = asyncio.create_task(front.send("POST", INVOKE.format("f"), b"0"))
        await front.environments.has_begun.wait()
        refused = await front.send("POST", INVOKE.format("f"), **wrong)
        assert refused.refusal[1] == code
        if not wrong:
            assert refused.status == 429
            assert refused.body == (
                b'{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
            )
            assert (
                await front.send("POST", INVOKE.format("f"), X_Amz_Invocation_Type="DryRun")
            ).status == 204
        front.environments.running.pop()(InvocationResult(b"1"))
        assert (await first).body == b"1"
        assert (await front.send("POST", INVOKE.format("f"))).status == 200

    run(scenario)


def test_a_version_that_is_not_there_wins_over_the_functions_state(run: Run) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        rig.gate.clear()
        await create_function(rig.services, rig.create_call())
        status, code, body = (await front.send("POST", INVOKE.format("f:7"))).refusal
        assert (status, code) == (404, "ResourceNotFoundException")
        assert body == {"Type": "User", "Message": f"Function not found: {ARN}:f:7"}

    run(scenario)


@pytest.mark.parametrize("fault", [None, InvalidZipFileException("damaged")])
def test_invocations_run_the_former_configuration_until_an_update_is_successful(
    run: Run, fault: Exception | None
) -> None:
    # docs/aws-behaviour.md, invoke 1.4, "Catalogue".
    async def scenario(rig: Rig, front: Front) -> None:
        await create_function(rig.services, rig.create_call(MemorySize=128))
        await rig.settled()
        rig.gate.clear()
        rig.fault = fault
        await update_function_configuration(rig.services, rig.call(FunctionName="f", MemorySize=256))
        assert (await front.send("POST", INVOKE.format("f"))).body == b"128"
        rig.gate.set()
        await rig.settled()
        assert (await front.send("POST", INVOKE.format("f"))).body == (b"256" if fault is None else b"128")

    run(scenario)


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", INVOKE.format("absent")), ("GET", "/2015-03-31/functions/absent")],
)
def test_a_refusal_is_answered_although_storage_fails_while_its_hint_is_looked_up(
    run: Run, caplog: pytest.LogCaptureFixture, method: str, target: str
) -> None:
    async def fail(name: str) -> NoReturn:
        raise StorageFailed("the disk is gone")

    async def scenario(rig: Rig, front: Front) -> None:
        rig.functions.elsewhere = fail  # type: ignore[method-assign]
        answer = await front.send(method, target)
        assert answer.refusal[:2] == (404, "ResourceNotFoundException")
        assert "x-lambent-hint" not in answer.headers

    with caplog.at_level(logging.ERROR, "lambent.api"):
        run(scenario)
    assert "is refused without a hint" in caplog.text


def test_storage_that_fails_is_our_own_fault_and_says_nothing_of_it(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> NoReturn:
        raise StorageFailed("the disk is gone")

    async def scenario(rig: Rig, front: Front) -> None:
        rig.functions.load = fail  # type: ignore[method-assign, assignment]
        for method, target in (("POST", INVOKE.format("f")), ("GET", "/2015-03-31/functions/f")):
            status, code, body = (await front.send(method, target)).refusal
            # docs/aws-behaviour.md, invoke 1.4: member and Type of ServiceException.
            assert (status, code, body["Type"]) == (500, "ServiceException", "Service")
            assert "disk" not in body["Message"]

    run(scenario)
    assert "the disk is gone" in caplog.text


class Follower(Caller):
    """Reads a log as it grows."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []
        self.is_cut = asyncio.Event()
        self.leave: Callable[[], object] = lambda: None

    def write(self, part: bytes) -> None:
        self.is_streaming = True
        self.parts.append(part)

    def call_when_gone(self, step: Callable[[], object]) -> None:
        self.leave = step

    def abort(self) -> None:
        self.is_closed = True
        self.is_cut.set()


class BrokenLogs:
    """A log whose store fails after the first line."""

    async def read(self, *_: object, **__: object) -> AsyncIterator[LogEvent]:
        yield LogEvent(1.0, "stream", "first")
        raise StorageFailed("the disk is gone")


def test_a_follower_whose_log_fails_is_cut_off_and_reads_nothing_that_is_no_line(run: Run) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        await create_function(rig.services, rig.create_call())
        await rig.settled()
        front.controls._logs = cast("LogStore", BrokenLogs())
        request = Request(b"GET", b"/_lambent/logs/f?follow=1", {}, trusted=True)
        follower = Follower()
        front.handle(request, follower)
        await asyncio.wait_for(follower.is_cut.wait(), 20)
        head, line = follower.parts
        assert head.startswith(b"HTTP/1.1 200 ")
        assert json.loads(line)["message"] == "first"

    run(scenario)


class QuietLogs:
    """A log that grows no more, whose followers are counted."""

    def __init__(self) -> None:
        self.followers = 0
        self.is_followed = asyncio.Event()

    async def read(self, *_: object, **__: object) -> AsyncIterator[LogEvent]:
        yield LogEvent(1.0, "stream", "last")
        self.followers += 1
        self.is_followed.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.followers -= 1


def test_a_follower_who_has_gone_is_not_waited_for(run: Run) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        await create_function(rig.services, rig.create_call())
        await rig.settled()
        logs = QuietLogs()
        front.controls._logs = cast("LogStore", logs)
        follower = Follower()
        front.handle(Request(b"GET", b"/_lambent/logs/f?follow=1", {}, trusted=True), follower)
        await asyncio.wait_for(logs.is_followed.wait(), 20)
        follower.is_closed = True
        follower.leave()
        assert await asyncio.wait_for(follower._response, 20) == b""
        assert logs.followers == 0

    run(scenario)


class LongLogs:
    """A log of a million lines."""

    def __init__(self) -> None:
        self.read_lines = 0
        self.is_read = asyncio.Event()

    async def read(self, *_: object, **__: object) -> AsyncIterator[LogEvent]:
        self.is_read.set()
        while self.read_lines < 1_000_000:
            self.read_lines += 1
            yield LogEvent(1.0, "stream", "line")


@pytest.mark.parametrize("query", [b"", b"?follow=1"])
def test_a_long_log_is_sent_while_it_is_read_in_many_turns_of_the_loop(run: Run, query: bytes) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        await create_function(rig.services, rig.create_call())
        await rig.settled()
        logs = LongLogs()
        front.controls._logs = cast("LogStore", logs)
        reader = Follower()
        front.handle(Request(b"GET", b"/_lambent/logs/f" + query, {}, trusted=True), reader)
        await asyncio.wait_for(logs.is_read.wait(), 20)
        assert 1 < len(reader.parts) < logs.read_lines + 2 < 1000
        reader.is_closed = True
        rig.clock.advance(0)
        await asyncio.wait_for(reader._response, 20)
        assert logs.read_lines < 2000

    run(scenario)


def test_an_alias_draws_anew_for_each_call_and_tells_which_version_ran(run: Run) -> None:
    # docs/aws-behaviour.md, versions-permissions 5.2
    async def scenario(rig: Rig, front: Front) -> None:
        await create_function(rig.services, rig.create_call(Publish=True, MemorySize=128))
        await rig.settled()
        await update_function_configuration(rig.services, rig.call(FunctionName="f", MemorySize=256))
        await rig.settled()
        await publish_version(rig.services, rig.call(FunctionName="f"))
        routing = {"AdditionalVersionWeights": {"2": 0.3}}
        await create_alias(
            rig.services, rig.call(FunctionName="f", Name="live", FunctionVersion="1", RoutingConfig=routing)
        )
        drawn = random.Random(SEED)
        for _ in range(50):
            rig.clock.advance(1)
            answer = await front.send("POST", f"{INVOKE.format('f')}?Qualifier=live")
            version, memory_mb = ("2", b"256") if drawn.random() < 0.3 else ("1", b"128")
            assert (answer.headers["x-amz-executed-version"], answer.body) == (version, memory_mb)

    run(scenario)


# -- level sigv4


@pytest.mark.parametrize("size", [0, 2, SMALL_BODY_BYTES, SMALL_BODY_BYTES + 1, 2_000_000])
def test_a_signed_event_of_any_size_runs_and_a_changed_one_never_does(run: Run, size: int) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        await create_function(rig.services, rig.create_call())
        await rig.settled()
        front.check_signatures()
        event = b"1" * size
        assert (await front.send_signed("POST", INVOKE.format("f"), event)).status == 200
        answer = await front.send_signed("POST", INVOKE.format("f"), event, secret="other")
        assert answer.refusal[:2] == (403, "InvalidSignatureException")

    run(scenario)


@pytest.mark.parametrize(
    ("method", "target", "refusal"),
    [
        ("POST", INVOKE.format("f"), (403, "MissingAuthenticationTokenException")),
        ("POST", INVOKE.format("no%20name"), (403, "MissingAuthenticationTokenException")),
        ("GET", "/2015-03-31/functions", (403, "MissingAuthenticationTokenException")),
        ("POST", "/2014-11-13/functions/f/invoke-async/", (403, "MissingAuthenticationTokenException")),
        ("POST", "/anything/invocations", (404, "UnknownOperationException")),
        ("GET", "/anything", (404, "UnknownOperationException")),
        ("POST", "/_lambent/functions/f/invocations", (404, "UnknownOperationException")),
        ("GET", INVOKE.format("f"), (405, "UnknownOperationException")),
    ],
)
def test_who_does_not_sign_is_told_what_is_no_path_and_nothing_else(
    run: Run, method: str, target: str, refusal: tuple[int, str]
) -> None:
    # docs/aws-behaviour.md, versions-permissions 5.8.
    async def scenario(rig: Rig, front: Front) -> None:
        front.check_signatures()
        answer = await front.send(method, target, b"x" * 100_000)
        assert answer.refusal[:2] == refusal
        if refusal[0] == 403:
            assert answer.body == b'{"message":"Missing Authentication Token"}'

    run(scenario)


def test_nobody_signs_for_our_own_paths(run: Run) -> None:
    async def scenario(rig: Rig, front: Front) -> None:
        front.check_signatures()
        assert (await front.send("GET", "/_lambent/health")).status == 200
        assert (await front.send("GET", "/_lambent/stats")).refusal[:2] == (403, "AccessDeniedException")

    run(scenario)
