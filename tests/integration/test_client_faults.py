"""The client against networks, proxies and servers that break: nothing runs twice, nobody gets another's answer."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from lambent.client import (
    CallTimeout,
    DecodingError,
    InvokeResult,
    LambentError,
    ServiceError,
    Timeout,
    TooManyRequestsException,
    TransportError,
)
from tests.client_faults.callers import KINDS, Caller, caller
from tests.client_faults.server import (
    Answer,
    End,
    FaultServer,
    Request,
    Step,
    answer,
    chunked,
    fault_server,
    gzipped,
    head,
    mute_address,
    refusal,
    refusing_address,
    success,
)
from tests.properties.fuzzed import fuzzed

# Of a client that is not told otherwise.
ATTEMPTS = 3
HTML = b"<html><head><title>Sign in</title></head><body>Your proxy greets you.</body></html>"
ELSEWHERE = "/2015-03-31/functions/elsewhere/invocations"
READ_TIMEOUT_S = 0.15


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """Which client calls."""
    kind: str = request.param
    return kind


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server of this test's own."""
    with fault_server() as running:
        yield running


@pytest.fixture
def calling(kind: str, server: FaultServer) -> Iterator[Caller]:
    """A client of that server."""
    with caller(kind, server.url) as made:
        yield made


@dataclass(frozen=True)
class Fault:
    """One way to break a request, and what the client is to make of it.

    Attributes:
        code: of the service error; None is a transport error.
        may_have_run: what the error is to say; None where either is honest.
        again: sent again when the caller says that the function is idempotent.
    """

    step: Step
    code: str | None = None
    may_have_run: bool | None = True
    again: bool = True


def page(status: str, *lines: str) -> bytes:
    """Return an answer of something that is no Lambda."""
    return answer(status, HTML, "Content-Type: text/html", "-", *lines)


def cut(made: Answer, at: int, end: End) -> Fault:
    return Fault(Step(made, cut=at, end=end))


def unclear(data: Answer, end: End = End.CLOSE) -> Fault:
    return Fault(Step(data, end=end))


def half(request: Request) -> bytes:
    """Return the honest answer, announced ten bytes longer than it is."""
    head_, blank, body = success(request).partition(b"\r\n\r\n")
    return head_.replace(b"Content-Length: ", b"Content-Length: 1") + blank + body


LENGTHLESS = head("200 OK", "Content-Type: application/json") + b'{"half":1}'

FAULTS = {
    "reset at the first byte": Fault(Step(take=1, end=End.RESET)),
    "closed at the first byte": Fault(Step(take=1, end=End.CLOSE)),
    "reset in the request line": Fault(Step(take=10, end=End.RESET)),
    "reset in the head": Fault(Step(take=100, end=End.RESET)),
    "reset when it was read": Fault(Step(b"", end=End.RESET)),
    "closed when it was read": Fault(Step(b"", end=End.CLOSE)),
    "answer reset in the status line": cut(success, 8, End.RESET),
    "answer closed in the status line": cut(success, 8, End.CLOSE),
    "answer reset in the head": cut(success, 60, End.RESET),
    "answer closed in the head": cut(success, 60, End.CLOSE),
    "answer closed at the end of the head": cut(success, -3, End.CLOSE),
    "answer reset in the body": cut(success, -1, End.RESET),
    "answer closed in the body": cut(success, -1, End.CLOSE),
    "length too long": unclear(half),
    "length too long, reset": unclear(half, End.RESET),
    "no length, no chunks": unclear(LENGTHLESS),
    "no length, no chunks, reset": unclear(LENGTHLESS, End.RESET),
    "no request id": unclear(answer("200 OK", b'{"whose":"answer"}', "-"), End.KEEP),
    "two lengths": unclear(answer("200 OK", b'{"a":1}', "Content-Length: 3")),
    "length that is no number": unclear(head("200 OK", "Content-Length: seven") + b'{"a":1}'),
    "length below zero": unclear(head("200 OK", "Content-Length: -7") + b'{"a":1}'),
    "chunks cut off in a chunk": unclear(chunked(b'{"a":12345}')[:-12]),
    "chunks without the last": unclear(chunked(b'{"a":12345}')[:-5]),
    "chunks reset before the last": unclear(chunked(b'{"a":12345}')[:-5], End.RESET),
    "chunk whose size is no number": unclear(head("200 OK", "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n"),
    "broken gzip": unclear(answer("200 OK", b"\x1f\x8b\x08\x00garbage", "Content-Encoding: gzip"), End.KEEP),
    "garbage": unclear(bytes(range(256)) * 4),
    "garbage, reset": unclear(bytes(range(256)) * 4, End.RESET),
    "HTTP/0.9": unclear(HTML),
    "another protocol": unclear(b"220 mail.example ESMTP\r\n250 OK\r\n\r\n"),
    "status that is no number": unclear(b"HTTP/1.1 fine OK\r\nContent-Length: 2\r\n\r\n{}"),
    "TLS alert": unclear(b"\x15\x03\x01\x00\x02\x02\x46"),
    "endless head": unclear(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"x" * 300_000 + b"\r\n\r\n"),
    "HTML of a proxy, 200": unclear(page("200 OK"), End.KEEP),
    "HTML of a proxy, 403": Fault(Step(page("403 Forbidden"), refused=True), code="403", again=False, may_have_run=False),
    "HTML of a proxy, 407": Fault(
        Step(page("407 Proxy Authentication Required"), refused=True), code="407", again=False, may_have_run=False
    ),
    "HTML of a proxy, 502": Fault(Step(page("502 Bad Gateway")), code="502"),
    "HTML of a proxy, 503": Fault(Step(page("503 Service Unavailable")), code="503"),
    "HTML of a proxy, 504, closed": Fault(Step(page("504 Gateway Timeout"), end=End.CLOSE), code="504"),
    "500": Fault(Step(refusal("500 Internal Server Error", "ServiceException")), code="ServiceException"),
    # The environment could not be made, which the code tells.
    "502": Fault(
        Step(refusal("502 Bad Gateway", "ResourceNotReadyException"), refused=True),
        code="ResourceNotReadyException",
        may_have_run=False,
    ),
    "503": Fault(Step(refusal("503 Service Unavailable", "ServiceUnavailableException")), code="ServiceUnavailableException"),
    "503 without a body": Fault(Step(answer("503 Service Unavailable", b"", "-")), code="503"),
    "503 cut off": Fault(Step(refusal("503 Service Unavailable", "X"), cut=-9, end=End.CLOSE), code=None),
    "404": Fault(
        Step(refusal("404 Not Found", "ResourceNotFoundException"), refused=True),
        code="ResourceNotFoundException",
        may_have_run=False,
        again=False,
    ),
    "413": Fault(
        Step(refusal("413 Payload Too Large", "RequestEntityTooLargeException"), refused=True),
        code="RequestEntityTooLargeException",
        may_have_run=False,
        again=False,
    ),
    **{
        f"redirect {status}": Fault(
            Step(answer(f"{status} Moved", b"", f"Location: {ELSEWHERE}"), refused=True),
            may_have_run=None,
            again=False,
        )
        for status in (301, 302, 303, 307, 308)
    },
}  # fmt: skip

faults = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())


def payload() -> dict[str, str]:
    """Return what no other call sends."""
    return {"call": uuid.uuid4().hex}


def assert_gets_its_own_answer(calling: Caller, **options: Any) -> InvokeResult[Any]:
    mine = payload()
    result = calling.invoke("after", mine, **options)
    assert json.loads(result.payload) == mine
    return result


def wait_for_the_end(server: FaultServer, step: Step, count: int = 1) -> None:
    """Return when the connection has ended: an end in the middle of the next request is another matter."""
    if step.end in {End.CLOSE, End.RESET}:
        server.wait_until_ended(count)


def assert_nothing_ran_twice(server: FaultServer) -> None:
    assert [run for run in server.runs.values() if run > 1] == []


def caught(calling: Caller, *args: Any, **options: Any) -> LambentError:
    with pytest.raises(LambentError) as caught:
        calling.invoke(*args, **options)
    return caught.value


def assert_is_documented(
    error: LambentError, fault: Fault, server: FaultServer, *, ran_before: int = 0
) -> None:
    if fault.code is None:
        assert isinstance(error, TransportError)
        assert not isinstance(error, CallTimeout)
    else:
        assert isinstance(error, ServiceError)
        assert error.code == fault.code
    if fault.may_have_run is not None:
        assert error.may_have_run is fault.may_have_run
    assert error.may_have_run or server.runs.total() == ran_before


# ----------------------------------------------------------------- one request breaks


@faults
def test_default_sends_nothing_again_that_may_have_run(
    calling: Caller, server: FaultServer, fault: Fault
) -> None:
    server.script(fault.step)

    error = caught(calling, "hello", payload())

    assert_is_documented(error, fault, server)
    assert error.attempts == 1
    wait_for_the_end(server, fault.step)
    assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)
    assert ELSEWHERE not in [each.target for each in server.arrivals]


@faults
def test_same_holds_on_a_connection_that_was_used(calling: Caller, server: FaultServer, fault: Fault) -> None:
    server.script(Step(), fault.step)
    assert_gets_its_own_answer(calling)

    error = caught(calling, "hello", payload())

    assert_is_documented(error, fault, server, ran_before=1)
    assert error.attempts == 1
    assert server.connections == 1
    wait_for_the_end(server, fault.step)
    assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


@faults
def test_idempotent_call_is_sent_again(calling: Caller, server: FaultServer, fault: Fault) -> None:
    server.script(fault.step, fault.step)
    mine = payload()

    if fault.again:
        result = calling.invoke("hello", mine, idempotent=True)
        assert json.loads(result.payload) == mine
        assert result.attempts == ATTEMPTS
        assert len(result.timings) == ATTEMPTS
    else:
        error = caught(calling, "hello", mine, idempotent=True)
        assert_is_documented(error, fault, server)
        assert error.attempts == 1


@pytest.mark.parametrize(
    "name", ["reset when it was read", "answer closed in the body", "500", "404", "redirect 307"]
)
def test_idempotent_call_gives_up(calling: Caller, server: FaultServer, name: str) -> None:
    fault = FAULTS[name]
    server.script(*[fault.step] * ATTEMPTS)

    error = caught(calling, "hello", payload(), idempotent=True)

    assert_is_documented(error, fault, server)
    assert error.attempts == (ATTEMPTS if fault.again else 1)


def test_attempts_carry_one_invocation_id_and_count(calling: Caller, server: FaultServer) -> None:
    server.script(FAULTS["500"].step, FAULTS["reset when it was read"].step)

    calling.invoke("hello", payload(), idempotent=True)

    assert len({each.invocation for each in server.arrivals}) == 1
    assert server.arrivals[0].invocation
    assert [each.attempt for each in server.arrivals] == [f"attempt={n}; max={ATTEMPTS}" for n in (1, 2, 3)]


@pytest.mark.parametrize("where", ["call", "client"])
def test_one_attempt_is_never_more(kind: str, server: FaultServer, where: str) -> None:
    server.script(FAULTS["500"].step)
    of_client = {"retries": 1} if where == "client" else {}
    of_call = {"retries": 1} if where == "call" else {}
    with caller(kind, server.url, idempotent=True, **of_client) as calling:
        error = caught(calling, "hello", payload(), **of_call)

    assert error.attempts == 1
    assert len(server.arrivals) == 1


def test_idempotence_of_the_client_can_be_taken_back(kind: str, server: FaultServer) -> None:
    server.script(FAULTS["500"].step)
    with caller(kind, server.url, idempotent=True) as calling:
        error = caught(calling, "hello", payload(), idempotent=False)

    assert error.attempts == 1


# ----------------------------------------------------------------- throttles


def throttle(*lines: str) -> Step:
    made = refusal("429 Too Many Requests", "TooManyRequestsException", *lines)
    return Step(made, refused=True)


def test_throttle_is_sent_again_and_runs_once(calling: Caller, server: FaultServer) -> None:
    server.script(throttle("x-amz-retry-after: 1"))

    result = assert_gets_its_own_answer(calling)

    assert result.attempts == 2
    assert list(server.runs.values()) == [1]


def test_storm_of_throttles_ends_in_its_error(calling: Caller, server: FaultServer) -> None:
    server.script(*[throttle("Retry-After: 7", "x-amz-retry-after: 3")] * ATTEMPTS)

    error = caught(calling, "hello", payload())

    assert isinstance(error, TooManyRequestsException)
    assert error.attempts == ATTEMPTS
    assert not error.may_have_run
    assert error.retry_after == 0.003
    assert_gets_its_own_answer(calling)


def test_throttle_after_an_attempt_that_may_have_run_does_not_clear_it(
    calling: Caller, server: FaultServer
) -> None:
    server.script(FAULTS["500"].step, throttle(), throttle())

    error = caught(calling, "hello", payload(), idempotent=True)

    assert isinstance(error, TooManyRequestsException)
    assert error.may_have_run


def test_throttle_that_is_cut_off_is_not_taken_for_a_whole_one(calling: Caller, server: FaultServer) -> None:
    step = replace(throttle(), cut=-20, end=End.CLOSE)
    server.script(step)

    error = caught(calling, "hello", payload())
    wait_for_the_end(server, step)

    assert isinstance(error, LambentError)
    assert error.attempts == 1 or not error.may_have_run
    assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


def test_map_through_a_storm_gets_every_answer_and_runs_each_once(
    calling: Caller, server: FaultServer
) -> None:
    server.script(*[throttle("x-amz-retry-after: 1")] * 6)
    numbers = list(range(20))

    values = calling.map("hello", numbers, concurrency=4)

    assert values == numbers
    assert set(server.runs.values()) == {1}


def test_connections_of_a_map_are_kept(calling: Caller, server: FaultServer) -> None:
    for _ in range(5):
        assert calling.map("hello", range(20), concurrency=4) == list(range(20))

    assert server.connections <= 4


# ----------------------------------------------------------------- answers that are only odd


@pytest.mark.parametrize(
    "step",
    [
        Step(piece=1),
        Step(lambda request: chunked(request.body)),
        Step(lambda request: chunked(request.body), piece=1),
        Step(lambda request: b"HTTP/1.1 100 Continue\r\n\r\n" + success(request)),
        Step(lambda request: success(request).replace(b"x-amzn-RequestId", b"X-AMZN-REQUESTID")),
        Step(lambda request: success(request).replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ")),
        Step(lambda request: success(request).replace(b"Length: ", b"Length:   "), end=End.CLOSE),
    ],
    ids=["byte by byte", "chunks", "chunks byte by byte", "interim", "upper case", "no reason", "closed after"],
)  # fmt: skip
def test_odd_answer_is_an_answer(calling: Caller, server: FaultServer, step: Step) -> None:
    server.script(step, step)

    for number in range(3):
        wait_for_the_end(server, step, number)
        assert_gets_its_own_answer(calling)


def test_compressed_answer_is_read_or_refused_but_never_handed_on_as_json(
    calling: Caller, server: FaultServer
) -> None:
    server.script(Step(gzipped))
    mine = payload()

    with contextlib.suppress(TransportError, DecodingError):
        assert calling.invoke("hello", mine).value() == mine
    assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


def test_event_and_dry_run_have_no_body(calling: Caller, server: FaultServer) -> None:
    assert calling.invoke("hello", payload(), invocation_type="Event").payload == b""
    assert calling.invoke("hello", payload(), invocation_type="DryRun").payload == b""
    assert_gets_its_own_answer(calling)


# ----------------------------------------------------------------- connections


def test_kept_connection_that_was_closed_is_noticed_before_a_byte_is_written(
    calling: Caller, server: FaultServer
) -> None:
    for _ in range(3):
        assert_gets_its_own_answer(calling)
        server.close_connections()
    assert_gets_its_own_answer(calling)

    assert set(server.runs.values()) == {1}
    assert len(server.arrivals) == 4
    assert server.connections == 4


def test_connection_is_kept_after_a_refusal_and_after_an_answer(calling: Caller, server: FaultServer) -> None:
    server.script(Step(), FAULTS["404"].step, FAULTS["500"].step)

    assert_gets_its_own_answer(calling)
    caught(calling, "hello")
    caught(calling, "hello")
    assert_gets_its_own_answer(calling)

    assert server.connections == 1


@pytest.mark.parametrize(
    "stray",
    [b"stray", answer("200 OK", b'{"whose":"not yours"}'), page("408 Request Timeout"), b"\r\n"],
    ids=["bytes", "answer", "timeout of a proxy", "line end"],
)
@pytest.mark.parametrize("end", [End.KEEP, End.CLOSE, End.RESET])
def test_bytes_behind_an_answer_are_nobodys_answer(
    calling: Caller, server: FaultServer, stray: bytes, end: End
) -> None:
    step = Step(lambda request: success(request) + stray, end=end)
    server.script(step)

    with contextlib.suppress(TransportError):
        assert_gets_its_own_answer(calling)
    wait_for_the_end(server, step)
    for _ in range(3):
        assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


def test_bytes_that_come_while_a_connection_is_idle_are_nobodys_answer(
    calling: Caller, server: FaultServer
) -> None:
    assert_gets_its_own_answer(calling)
    server.say(page("408 Request Timeout"))

    for _ in range(3):
        assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


def test_body_of_a_dry_run_is_nobodys_answer(calling: Caller, server: FaultServer) -> None:
    stray = head("204 No Content") + answer("200 OK", b'{"whose":"not yours"}')
    server.script(Step(stray, refused=True))

    with contextlib.suppress(TransportError):
        calling.invoke("hello", invocation_type="DryRun")
    for _ in range(3):
        assert_gets_its_own_answer(calling)


def test_answer_before_the_request_is_read(calling: Caller, server: FaultServer) -> None:
    early = refusal("413 Payload Too Large", "RequestEntityTooLargeException", "Connection: close")
    step = Step(before=early, take=0, end=End.CLOSE)
    server.script(step)

    error = caught(calling, "hello", b"[" + b"1," * 3_000_000 + b"1]")
    wait_for_the_end(server, step)

    assert isinstance(error, ServiceError | TransportError)
    assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_connection_that_ends_before_it_is_used(calling: Caller, server: FaultServer, end: End) -> None:
    """Whether the first byte was written before the end came decides the race, and the answer."""
    step = Step(take=0, end=end)
    server.script(step)

    with contextlib.suppress(TransportError):
        assert_gets_its_own_answer(calling)
    wait_for_the_end(server, step)
    assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


# ----------------------------------------------------------------- connections that cannot be made


def test_refused_connection_is_tried_again_and_nothing_ran(kind: str) -> None:
    with refusing_address() as url, caller(kind, url) as calling:
        error = caught(calling, "hello")

    assert isinstance(error, TransportError)
    assert not isinstance(error, CallTimeout)
    assert not error.may_have_run
    assert error.attempts == ATTEMPTS


def test_connection_that_is_not_accepted_is_a_timeout_of_connecting(kind: str) -> None:
    with mute_address() as url, caller(kind, url, timeout=Timeout(connect=0.05)) as calling:
        error = caught(calling, "hello")

    assert isinstance(error, CallTimeout)
    assert isinstance(error, TimeoutError)
    assert error.phase == "connect"
    assert not error.may_have_run
    assert error.attempts == ATTEMPTS


def test_name_that_does_not_exist_is_a_transport_error(kind: str) -> None:
    with caller(kind, "http://no-such-host.invalid", retries=1) as calling:
        error = caught(calling, "hello")

    assert isinstance(error, TransportError)
    assert not error.may_have_run


def test_server_that_speaks_no_tls(kind: str, server: FaultServer) -> None:
    with caller(kind, server.url.replace("http:", "https:"), retries=1, timeout=5) as calling:
        server.script(Step(before=b"HTTP/1.1 400 Bad Request\r\n\r\n", take=0, end=End.CLOSE))
        error = caught(calling, "hello")

    assert isinstance(error, TransportError)
    assert not error.may_have_run
    assert not server.arrivals


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificate of the servers with TLS."""
    return trustme.CA()


def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_tls_that_was_not_asked_for(kind: str, authority: trustme.CA) -> None:
    with (
        fault_server(tls(authority)) as server,
        caller(kind, server.url.replace("https:", "http:")) as calling,
    ):
        error = caught(calling, "hello", payload())

    assert isinstance(error, TransportError)
    assert error.may_have_run
    assert error.attempts == 1


def test_certificate_that_is_not_trusted(kind: str, authority: trustme.CA) -> None:
    with fault_server(tls(authority)) as server, caller(kind, server.url) as calling:
        error = caught(calling, "hello", payload())

    assert isinstance(error, TransportError)
    assert not error.may_have_run
    assert not server.arrivals


@pytest.mark.parametrize(
    "name", ["reset when it was read", "answer closed in the body", "500", "closed when it was read"]
)
def test_faults_under_tls(kind: str, authority: trustme.CA, name: str) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    fault = FAULTS[name]
    with fault_server(tls(authority)) as server, caller(kind, server.url, verify=trusting) as calling:
        assert_gets_its_own_answer(calling)
        server.script(fault.step)
        error = caught(calling, "hello", payload())
        assert_is_documented(error, fault, server)
        wait_for_the_end(server, fault.step)
        assert_gets_its_own_answer(calling)
        assert_nothing_ran_twice(server)


# ----------------------------------------------------------------- time


@pytest.mark.parametrize("said", [0, 8, 60, -1])
def test_answer_that_does_not_come_is_a_timeout_of_reading(
    calling: Caller, server: FaultServer, said: int
) -> None:
    server.script(Step(cut=said, end=End.SILENCE))

    error = caught(calling, "hello", payload(), timeout=Timeout(read=READ_TIMEOUT_S))

    assert isinstance(error, CallTimeout)
    assert error.phase == "read"
    assert error.may_have_run
    assert error.attempts == 1
    assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


def test_time_of_the_whole_call_is_bounded(calling: Caller, server: FaultServer) -> None:
    server.script(Step(cut=9, end=End.SILENCE))

    error = caught(calling, "hello", payload(), timeout=Timeout(total=READ_TIMEOUT_S))

    assert isinstance(error, CallTimeout)
    assert error.phase == "total"
    assert error.may_have_run
    assert error.attempts == 1
    assert_gets_its_own_answer(calling)


def test_time_of_the_whole_call_covers_its_attempts(calling: Caller, server: FaultServer) -> None:
    server.script(*[Step(end=End.SILENCE, cut=0)] * ATTEMPTS)

    error = caught(
        calling, "hello", payload(), timeout=Timeout(read=0.1, total=0.15), retries=50, idempotent=True
    )

    assert isinstance(error, CallTimeout)
    assert error.may_have_run
    assert error.attempts <= ATTEMPTS


def test_answer_that_comes_too_late_is_nobodys_answer(calling: Caller, server: FaultServer) -> None:
    late = threading.Event()
    server.script(Step(wait=late))

    error = caught(calling, "hello", payload(), timeout=Timeout(read=READ_TIMEOUT_S))
    late.set()

    assert isinstance(error, CallTimeout)
    for _ in range(3):
        assert_gets_its_own_answer(calling)
    assert_nothing_ran_twice(server)


def test_timeout_of_an_idempotent_call_is_tried_again(calling: Caller, server: FaultServer) -> None:
    server.script(Step(end=End.SILENCE, cut=0))
    mine = payload()

    result = calling.invoke("hello", mine, timeout=Timeout(read=READ_TIMEOUT_S), idempotent=True)

    assert json.loads(result.payload) == mine
    assert result.attempts == 2


# ----------------------------------------------------------------- any place, any order

_ENDS = st.sampled_from([End.CLOSE, End.RESET])
_REQUEST_CUTS = st.builds(Step, take=st.integers(0, 700), end=_ENDS)
_ANSWERS: st.SearchStrategy[Answer] = st.sampled_from(
    [success, gzipped, lambda request: chunked(request.body), LENGTHLESS, page("503 Service Unavailable")]
)
_ANSWER_CUTS = st.builds(
    Step, answer=_ANSWERS, cut=st.integers(0, 400), end=_ENDS, piece=st.sampled_from([1, 7, 65536])
)
_WHOLE = st.builds(Step, answer=_ANSWERS, end=st.sampled_from([End.KEEP, End.CLOSE, End.RESET])).filter(
    # Without a length its end is the connection's.
    lambda step: step.answer != LENGTHLESS or step.end is not End.KEEP
)
_GARBAGE = st.builds(Step, answer=st.binary(max_size=60), end=_ENDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
@fuzzed(80)
@given(steps=st.lists(st.one_of(_REQUEST_CUTS, _ANSWER_CUTS, _WHOLE, _GARBAGE), min_size=1, max_size=6))
def test_whatever_happens_nothing_runs_twice_and_everybody_gets_their_own_answer(
    kind: str, steps: list[Step]
) -> None:
    with fault_server() as server, caller(kind, server.url) as calling:
        server.script(*steps)
        # After each connection that ends, one more call may be sent before its end is seen.
        for _ in range(2 * len(steps) + 2):
            mine = payload()
            before = server.runs
            error = None
            try:
                assert calling.invoke("hello", mine).value() == mine
            except (TransportError, ServiceError, DecodingError) as problem:
                error = problem
            if error is not None:
                assert not isinstance(error, CallTimeout)
                assert error.may_have_run or server.runs == before
                assert error.attempts >= 1
        assert_gets_its_own_answer(calling)
        assert_nothing_ran_twice(server)
        assert server.runs.total() == len(server.runs)
