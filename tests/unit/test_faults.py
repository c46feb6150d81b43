"""Faults on demand: when they meet a call, when they end, and that time is the clock's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tests.contract.rig import ACCOUNT, REGION, Rig, open_rig
from tests.unit.test_service import INVOKE, Caller, Front

from lambent.api.request import Request
from lambent.control.functions import create_function
from lambent.model.errors import INVOKE_ERRORS
from lambent.tasks import Tasks

FAULTS = "/_lambent/faults"


class Lost(Caller):
    """A caller whose connection is cut, or stalls."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.lost = asyncio.Event()

    def write(self, part: bytes) -> None:
        assert part == b""
        self._lose("stalled")

    def abort(self) -> None:
        self._lose("cut")

    def _lose(self, event: str) -> None:
        self.events.append(event)
        self.lost.set()


class Owner:
    """Sets faults over the owner's socket."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def post(self, path: str = FAULTS, **members: Any) -> tuple[int, Any]:
        request = Request(b"POST", path.encode(), {}, trusted=True)
        request.body = json.dumps(members).encode()
        caller = Caller()
        self._front.handle(request, caller)
        answer = await caller.answer()
        return answer.status, json.loads(answer.body)

    async def arm(self, error: str, **members: Any) -> None:
        assert (await self.post(function="f", error=error, **members))[0] == 200

    async def list(self) -> list[dict[str, Any]]:
        caller = Caller()
        self._front.handle(Request(b"GET", FAULTS.encode(), {}, trusted=True), caller)
        return cast("list[dict[str, Any]]", json.loads((await caller.answer()).body)["faults"])


Scenario = Callable[[Rig, Front, Owner], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a scenario with a service that has the active function ``f``."""

    @asynccontextmanager
    async def fronted(rig: Rig) -> AsyncIterator[Front]:
        tasks = Tasks()
        try:
            yield Front(rig, tasks)
        finally:
            await tasks.close()

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with open_rig(tmp_path / "data") as rig, fronted(rig) as front:
                await create_function(rig.services, rig.create_call())
                await rig.settled()
                await scenario(rig, front, Owner(front))

        asyncio.run(main())

    return run


async def _turns() -> None:
    """Let the event loop do what it can without time going on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def _statuses(front: Front, count: int) -> list[int]:
    return [(await front.send("POST", INVOKE.format("f"))).status for _ in range(count)]


async def _dry_statuses(front: Front, count: int) -> list[int]:
    """Return the statuses of dry runs, which no limit concerns."""
    dry = {"X_Amz_Invocation_Type": "DryRun"}
    return [(await front.send("POST", INVOKE.format("f"), b"", **dry)).status for _ in range(count)]


def test_a_fault_meets_every_call_until_it_is_cleared(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        await owner.arm("KMSDisabled")
        assert await _statuses(front, 3) == [502] * 3
        assert (await front.send("POST", INVOKE.format("f"), X_Amz_Invocation_Type="DryRun")).status == 502
        assert [(each["count"], each["answered"]) for each in await owner.list()] == [(None, 4)]
        cleared = await owner.post(f"{FAULTS}/clear", function="f")
        assert [each["error"] for each in cleared[1]["cleared"]] == ["KMSDisabledException"]
        assert await _statuses(front, 2) == [200] * 2
        assert await owner.post(f"{FAULTS}/clear", all=True) == (200, {"cleared": []})

    run(scenario)


def test_a_count_ends_by_itself(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        await owner.arm("KMSDisabled", count=2)
        assert await _statuses(front, 1) == [502]
        assert [(each["count"], each["answered"]) for each in await owner.list()] == [(1, 1)]
        assert await _statuses(front, 2) == [502, 200]
        assert await owner.list() == []

    run(scenario)


def test_a_rate_meets_that_share(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        await owner.arm("KMSDisabled", rate=0.25)
        statuses = await _dry_statuses(front, 400)
        assert set(statuses) == {204, 502}
        # Drawn from a fixed seed.
        assert 60 < statuses.count(502) < 140
        await owner.arm("KMSDisabled", rate=0.5, count=3)
        assert (await _dry_statuses(front, 40)).count(502) == 3

    run(scenario)


def test_a_delay_is_that_of_the_clock(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        await owner.arm("KMSDisabled", delayMs=1500, count=1)
        waiting = asyncio.create_task(front.send("POST", INVOKE.format("f")))
        await _turns()
        assert await owner.list() == []
        rig.clock.advance(1.499)
        await _turns()
        assert not waiting.done()
        rig.clock.advance(0.002)
        assert (await waiting).status == 502

    run(scenario)


def test_the_last_fault_of_a_function_takes_the_place_of_the_former(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        await owner.arm("KMSDisabled")
        await owner.arm("EFSIO")
        assert await _statuses(front, 2) == [410, 410]
        assert len(await owner.list()) == 1

    run(scenario)


@pytest.mark.parametrize(("error", "event"), [("connection.cut", "cut"), ("Connection.Stalled", "stalled")])
def test_connections_are_lost_without_an_answer(run: Run, error: str, event: str) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        await owner.arm(error)
        caller = Lost()
        front.handle(Request(b"POST", INVOKE.format("f").encode(), {}), caller)
        await asyncio.wait_for(caller.lost.wait(), 20)
        assert caller.events == [event]

    run(scenario)


def test_what_is_checked_before_a_run_is_checked_before_a_fault(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        await owner.arm("KMSDisabled")
        for target, body, status in ((INVOKE.format("f:9"), b"", 404), (INVOKE.format("f"), b"{", 400)):
            assert (await front.send("POST", target, body)).status == status
        assert [each["answered"] for each in await owner.list()] == [0]

    run(scenario)


def test_a_fault_comes_before_limits_and_uses_none_of_them(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        # One invocation at a time may run.
        running = asyncio.create_task(front.send("POST", INVOKE.format("f"), b"0"))
        await front.environments.has_begun.wait()
        assert await _statuses(front, 1) == [429]
        await owner.arm("KMSDisabled", count=1)
        assert await _statuses(front, 2) == [502, 429]
        front.environments.running.pop()(cast("Any", (b"1", None, "application/json", None, 0.0)))
        assert (await running).status == 200

    run(scenario)


NAMES = [
    *((name, name) for name in INVOKE_ERRORS),
    ("kmsdisabled", "KMSDisabledException"),
    ("KMSDISABLEDEXCEPTION", "KMSDisabledException"),
    ("EFSIO", "EFSIOException"),
    ("CONNECTION.CUT", "connection.cut"),
]


def test_names_are_taken_in_any_case_and_without_exception(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        for given, name in NAMES:
            status, fault = await owner.post(function="f", error=given)
            assert (status, fault["error"]) == (200, name)
        expected = {
            "function": "f",
            "error": "connection.cut",
            "reason": None,
            "count": None,
            "rate": 1.0,
            "delayMs": 0.0,
            "answered": 0,
        }
        assert await owner.list() == [expected]

    run(scenario)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"error": "kms"}, "'kms' is no error of Invoke. Do you mean KMSAccessDeniedException, KMSDisabledException, "),
    ({"error": "KMSDisable"}, "Do you mean KMSDisabledException?"),
    ({"error": "RessourceNotFound"}, "Do you mean ResourceNotFoundException"),
    ({"error": "xyzzy"}, "There are AccessDeniedException, CodeArtifactUserDeletedException, "),
    ({"error": ""}, "There are AccessDeniedException, "),
    ({"error": "ServiceException", "reason": "x"}, "Only TooManyRequestsException has a reason."),
    ({"error": "TooManyRequests", "reason": "Caller"}, "Do you mean CallerRateLimitExceeded?"),
    ({"error": "EFSIO", "count": 0}, "The body cannot be read: Expected `int` >= 1"),
    ({"error": "EFSIO", "rate": 0}, "The body cannot be read: Expected `float` > 0"),
    ({"error": "EFSIO", "rate": 1.5}, "The body cannot be read: Expected `float` <= 1"),
    ({"error": "EFSIO", "delayMs": -1}, "The body cannot be read: Expected `float` >= 0"),
    ({"error": "EFSIO", "other": 1}, "The body cannot be read: Object contains unknown field `other`"),
    ({}, "The body cannot be read: Object missing required field `error`"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "text"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_cannot_be_meant_is_refused(run: Run, members: dict[str, Any], text: str) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        status, body = await owner.post(function="f", **members)
        assert status == 400
        assert text in body["message"]
        assert await owner.list() == []

    run(scenario)


def test_functions_that_are_not_there_have_no_faults(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        status, body = await owner.post(function="g", error="EFSIO")
        assert status == 404
        assert body["Message"] == f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:g"
        for members in ({}, {"all": True, "function": "f"}, {"all": False}):
            assert (await owner.post(f"{FAULTS}/clear", **members))[0] == 400
        assert (await owner.post(f"{FAULTS}/other"))[0] == 405

    run(scenario)


def test_strangers_can_neither_set_nor_see_faults(run: Run) -> None:
    async def scenario(rig: Rig, front: Front, owner: Owner) -> None:
        body = b'{"function": "f", "error": "EFSIO"}'
        assert (await front.send("POST", FAULTS, body)).refusal[:2] == (403, "AccessDeniedException")
        assert (await front.send("GET", FAULTS)).status == 403
        assert (await front.send("POST", f"{FAULTS}/clear", b'{"all": true}')).status == 403
        assert await owner.list() == []

    run(scenario)
