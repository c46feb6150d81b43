"""What is sent again, when, and what is said of it: the core on a clock that only sleeping moves."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest
from tests.client_steps import NOW, World, answer, core

from lambent.client import (
    CallTimeout,
    HttpResponse,
    InvalidSignatureException,
    Retries,
    ServiceError,
    Timeout,
    TooManyRequestsException,
    TransportError,
    ValidationError,
)
from lambent.client.retries import Gate, Quota
from lambent.clock import ManualClock


def throttled(**headers: str) -> HttpResponse:
    body = b'{"Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}'
    return answer(429, body, x_amzn_errortype="TooManyRequestsException", **headers)


def refused() -> TransportError:
    return TransportError("refused")


def broken() -> TransportError:
    return TransportError("reset", may_have_run=True)


REDIRECT = answer(307, b"", location="http://elsewhere/")
CLOSED_BEFORE = refused()

ROWS: list[tuple[str, Any, bool, bool]] = [
    # what happened, the answer or error, sent again by default, sent again when idempotent
    ("no connection", refused, True, True),
    ("no connection in time", lambda: CallTimeout("", phase="connect"), True, True),
    ("throttle", throttled, True, True),
    ("throttle by a proxy", lambda: answer(429, b"<html>"), True, True),
    ("internal error", lambda: answer(500, b"{}", x_amzn_errortype="ServiceException"), False, True),
    ("bad gateway", lambda: answer(502, b"<html>"), False, True),
    ("unavailable", lambda: answer(503, b"<html>"), False, True),
    ("gateway timeout", lambda: answer(504, b"<html>"), False, True),
    ("reset", broken, False, True),
    ("read timeout", lambda: CallTimeout("", phase="read", may_have_run=True), False, True),
    ("half an answer", lambda: HttpResponse(200, answer().headers.__class__({}), b"{}"), False, True),
    ("redirect", lambda: REDIRECT, False, False),
    ("not found", lambda: answer(404, b"{}", x_amzn_errortype="ResourceNotFoundException"), False, False),
    ("request timeout", lambda: answer(408, b""), False, False),
    ("forbidden", lambda: answer(403, b"{}", x_amzn_errortype="AccessDeniedException"), False, False),
    ("no time left", lambda: CallTimeout("", phase="total", may_have_run=True), False, False),
]


@pytest.mark.parametrize(
    ("outcome", "default", "idempotent"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_what_is_sent_again(outcome: Any, default: bool, idempotent: bool) -> None:
    for is_idempotent, again in ((False, default), (True, idempotent)):
        world = World(core(idempotent=is_idempotent), outcome(), answer())
        if again:
            assert world.invoke().attempts == 2
        else:
            with pytest.raises((ServiceError, TransportError)) as caught:
                world.invoke()
            assert caught.value.attempts == len(world.sent) == 1


@pytest.mark.parametrize("level", ["client", "call"])
def test_one_attempt_is_never_repeated(level: str) -> None:
    options: dict[str, Any] = {"retries": 1, "idempotent": True}
    world = World(core(**(options if level == "client" else {})), refused())

    with pytest.raises(TransportError):
        world.invoke(**(options if level == "call" else {}))

    assert len(world.sent) == 1


def test_delays_double_with_a_bound_of_20_seconds() -> None:
    world = World(core(retries=8), *[throttled() for _ in range(7)], answer())
    assert world.invoke().attempts == 8
    assert world.slept == [1, 2, 4, 8, 16, 20, 20]

    world = World(core(retries=5), *[refused() for _ in range(4)], answer())
    world.invoke()
    assert world.slept == pytest.approx([0.05, 0.1, 0.2, 0.4])


def test_delays_are_random_below_their_bound() -> None:
    made = core()
    made.random = lambda: 0.25
    world = World(made, throttled(), throttled(), answer())
    world.invoke()
    assert world.slept == [0.25, 0.5]


@pytest.mark.parametrize(
    ("headers", "asked", "slept"),
    [
        ({"x_amz_retry_after": "2500"}, 2.5, 2.5),
        ({"retry_after": "3"}, 3.0, 3.0),
        ({"x_amz_retry_after": "1500", "retry_after": "9"}, 1.5, 1.5),
        ({"x_amz_retry_after": "10"}, 0.01, 1.0),
        ({"retry_after": "Fri, 20 Nov 2026 19:39:07 GMT"}, None, 1.0),
        ({"x_amz_retry_after": "-5", "retry_after": "2"}, 2.0, 2.0),
    ],
)
def test_the_service_says_how_long_to_wait_at_least(
    headers: dict[str, str], asked: float | None, slept: float
) -> None:
    world = World(core(), throttled(**headers), answer())
    world.invoke()
    assert world.slept == [slept]

    with pytest.raises(TooManyRequestsException) as caught:
        World(core(retries=1), throttled(**headers)).invoke()
    assert caught.value.retry_after == asked
    assert caught.value.reason == "ConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize("status", [429, 503])
def test_a_proxy_says_how_long_to_wait_at_least(status: int) -> None:
    world = World(core(idempotent=True), answer(status, b"<html>", retry_after="3"), answer())
    world.invoke()
    assert world.slept == [3.0]


def test_a_service_that_asks_for_more_than_a_minute_is_not_waited_for() -> None:
    world = World(core(), throttled(retry_after="61"))
    with pytest.raises(TooManyRequestsException) as caught:
        world.invoke()
    assert (world.slept, caught.value.retry_after) == ([], 61)


def test_what_may_have_run_is_remembered_over_all_attempts() -> None:
    world = World(core(idempotent=True), answer(500, b"{}"), answer(404, b"{}"))
    with pytest.raises(ServiceError) as caught:
        world.invoke()
    assert (caught.value.status_code, caught.value.may_have_run, caught.value.attempts) == (404, True, 2)

    for failure in (refused(), throttled(), answer(404, b"{}"), answer(413, b"")):
        with pytest.raises((ServiceError, TransportError)) as refusal:
            World(core(retries=1), failure).invoke()
        assert not refusal.value.may_have_run


@pytest.mark.parametrize(
    ("code", "status", "may"),
    [
        ("ServiceException", 500, True),
        ("", 502, True),
        ("", 408, True),
        ("InvalidRuntimeException", 502, False),
        ("KMSDisabledException", 502, False),
        ("EFSMountTimeoutException", 408, False),
        ("", 400, False),
    ],
)
def test_a_refusal_tells_whether_the_function_may_have_run(code: str, status: int, may: bool) -> None:
    with pytest.raises(ServiceError) as caught:
        World(core(), answer(status, b"{}", x_amzn_errortype=code)).invoke()
    assert caught.value.may_have_run is may


def test_a_dry_run_runs_nothing_whatever_happens() -> None:
    with pytest.raises(TransportError) as caught:
        World(core(), broken()).invoke(invocation_type="DryRun")
    assert not caught.value.may_have_run


def test_every_attempt_has_the_same_id_and_its_number() -> None:
    world = World(core(), throttled(), refused(), answer())
    world.invoke()
    headers = [each.headers for each in world.sent]
    assert len({each["amz-sdk-invocation-id"] for each in headers}) == 1
    assert [each["amz-sdk-request"] for each in headers] == [f"attempt={n}; max=3" for n in (1, 2, 3)]


def test_retries_of_all_calls_share_a_quota_that_successes_refill() -> None:
    made = core(retries=Retries(max_attempts=3, quota=12))
    with pytest.raises(TransportError):
        World(made, refused(), refused(), refused()).invoke()
    # 10 of 12 are gone.
    world = World(made, refused())
    with pytest.raises(TransportError):
        world.invoke()
    assert len(world.sent) == 1
    for _ in range(3):
        World(made, answer()).invoke()
    assert World(made, refused(), answer()).invoke().attempts == 2


def test_a_successful_retry_returns_what_it_took() -> None:
    quota = Quota(10)
    assert quota.take(5)
    quota.give_back(5)
    assert quota.take(10)
    assert not quota.take(1)


def test_the_time_of_a_call_bounds_all_its_attempts() -> None:
    world = World(core(timeout=2.5), throttled(), throttled(), answer(), takes_s=0.25)
    with pytest.raises(TooManyRequestsException):
        world.invoke()
    # The second delay would end after the call's time.
    assert world.slept == [1.0]
    assert {each.deadline for each in world.sent} == {NOW + 2.5}


def test_a_number_is_the_time_of_the_whole_call_and_the_rest_stays() -> None:
    world = World(core(timeout=Timeout(connect=1, read=60)), answer())
    world.invoke(timeout=5)
    assert (world.sent[0].connect, world.sent[0].read, world.sent[0].deadline) == (1, 60, NOW + 5)


def test_defaults_are_those_of_long_functions() -> None:
    world = World(core(), answer())
    world.invoke()
    assert (world.sent[0].connect, world.sent[0].read, world.sent[0].deadline) == (3.1, 930, None)


@pytest.mark.parametrize("given", [0, -1, True, "3"])
def test_what_is_no_timeout_and_no_number_of_attempts_is_refused_before_anything_is_sent(given: Any) -> None:
    for name in ("timeout", "retries"):
        world = World(core())
        if (name, given) == ("timeout", "3"):
            continue
        with pytest.raises(ValidationError):
            world.invoke(**{name: given})
        assert world.sent == []


def skewed(ahead_s: float) -> HttpResponse:
    date = formatdate(NOW + ahead_s, usegmt=True)
    return answer(403, b'{"message": "expired"}', x_amzn_errortype="InvalidSignatureException", date=date)


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
def test_a_clock_that_is_off_is_corrected_once_and_for_all_calls(ahead_s: float) -> None:
    clock = ManualClock(NOW)
    made = core(clock)
    world = World(made, skewed(ahead_s), answer(), answer())
    world.invoke()
    world.invoke()
    stamps = [each.headers["x-amz-date"] for each in world.sent]
    assert stamps[0] != stamps[1] == stamps[2]
    assert world.slept == []

    world = World(made, skewed(2 * ahead_s), skewed(3 * ahead_s))
    with pytest.raises(InvalidSignatureException):
        world.invoke()
    assert len(world.sent) == 2


def test_who_wants_one_attempt_gets_one_whatever_the_clock_says() -> None:
    world = World(core(retries=1), skewed(3600.0))
    with pytest.raises(InvalidSignatureException):
        world.invoke()
    assert len(world.sent) == 1


@pytest.mark.parametrize("ahead_s", [0.0, 239.0])
def test_a_signature_that_is_wrong_for_another_reason_is_not_repeated(ahead_s: float) -> None:
    world = World(core(), skewed(ahead_s))
    with pytest.raises(InvalidSignatureException):
        world.invoke()
    assert len(world.sent) == 1


def test_calls_of_a_map_wait_together_and_try_for_a_minute() -> None:
    made, gate = core(), Gate()
    world = World(made, *[throttled() for _ in range(50)])
    with pytest.raises(TooManyRequestsException):
        world.run(made.invoke("hello", b"", {}, None, gate))
    assert len(world.sent) > 3
    assert 40 < sum(world.slept) <= 60

    gate.throttled(made.clock.monotonic(), 1.0, 5.0)
    other = World(made, answer())
    other.run(made.invoke("hello", b"", {}, None, gate))
    assert sum(other.slept) == pytest.approx(20)


def test_a_map_that_may_try_once_does_so_under_throttles_too() -> None:
    made = core(retries=1)
    world = World(made, throttled())
    with pytest.raises(TooManyRequestsException):
        world.run(made.invoke("hello", b"", {}, None, Gate()))


def test_attempts_in_all_can_stand_in_a_variable() -> None:
    world = World(core(environ={"AWS_MAX_ATTEMPTS": "5"}), *[refused() for _ in range(4)], answer())
    assert world.invoke().attempts == 5
