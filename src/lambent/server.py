"""The one file that knows all rooms: builds the parts, starts, drains and stops them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import random
import resource
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from lambent.api.answers import Answers
from lambent.api.authenticate import Authenticator, SignatureAuthenticator
from lambent.api.codec import Codec
from lambent.api.connection import Listener
from lambent.api.controls import Controls
from lambent.api.dead_letters import DeadLetters
from lambent.api.doors import Doors
from lambent.api.faults import Faults
from lambent.api.identities import Identities
from lambent.api.large_events import LargeEventCheck
from lambent.api.origin import OriginCheck
from lambent.api.queued_events import QueuedEvents
from lambent.api.security_tokens import SecurityTokens
from lambent.api.service import Service
from lambent.clock import Clock, SystemClock
from lambent.config import ConfigurationError, Settings, environment
from lambent.control.activation import finish_unsettled, keep_collecting
from lambent.control.code_source import S3CodeSource
from lambent.control.operation import Services
from lambent.execution.launcher import FunctionEndpoints, ProcessLauncher
from lambent.execution.pool import EnvironmentPool
from lambent.execution.runtimes import (
    Interpreter,
    OfferedPackages,
    Runtimes,
    ask_interpreter,
    find_interpreters,
    offer_boto3,
)
from lambent.execution.sandbox.contract import Sandbox
from lambent.execution.sandbox.process import ProcessSandbox
from lambent.execution.zygote import Zygotes
from lambent.invocation.admission import Admission
from lambent.invocation.authorize import Authorizer
from lambent.invocation.delivery.deliveries import Deliveries
from lambent.invocation.delivery.functions import FunctionDestinations
from lambent.invocation.delivery.sender import Sender
from lambent.invocation.dispatcher import Dispatcher
from lambent.invocation.invoker import Invoker
from lambent.invocation.provisioning import Provisioner
from lambent.invocation.resolve import Resolver
from lambent.invocation.sessions import Sessions
from lambent.model.observer import AccountUse, Observer, ServerUse
from lambent.observability.event_counts import EventCounts
from lambent.observability.line_writer import LineHandler, LineWriter
from lambent.observability.request_log import RequestLog
from lambent.observability.stats import Report, Stats
from lambent.side_process import SideProcess
from lambent.storage.directory import (
    DataDirectory,
    DataDirectoryDamaged,
    DataDirectoryInUse,
    DataDirectoryTooNew,
    open_directory,
)
from lambent.storage.event_queue import SqliteEventQueue
from lambent.storage.files import FileCodeStore
from lambent.storage.identities import SqliteIdentityStore
from lambent.storage.logs import FileLogStore
from lambent.storage.sealed_columns import KeyLost
from lambent.storage.sealing import KeyFileUnusable, open_sealer
from lambent.storage.sqlite import SqliteFunctionStore
from lambent.tasks import Tasks

_logger = logging.getLogger("lambent")
_MB_PER_ENVIRONMENT = 64
_LEAST_ENVIRONMENTS = 64
# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 1 << 20
# For answers that are on their way when the grace period is used up.
_LAST_ANSWERS_S = 0.5


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    The first line of standard output is the address; everything else goes to
    standard error. What keeps the server from starting is told in one sentence, with
    status 2.
    """
    _raise_descriptor_limit()
    _map_large_blocks()
    logging.basicConfig(
        handlers=[LineHandler(LineWriter(2))],
        level=logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings))
    except OSError as error:
        # Without the number that Python puts before the system's words.
        reason = error.strerror or str(error)
        sys.stderr.write(f"lambent: {error.filename + ': ' if error.filename else ''}{reason}\n")
        return 2
    except (
        ConfigurationError,
        DataDirectoryDamaged,
        DataDirectoryInUse,
        DataDirectoryTooNew,
        KeyFileUnusable,
        KeyLost,
    ) as error:
        sys.stderr.write(f"lambent: {error}\n")
        return 2
    return 0


async def serve(settings: Settings) -> None:
    """Start, say where, wait for a signal, stop in order.

    Raises:
        ConfigurationError: a setting cannot be followed on this machine.
        OSError: the address or the data directory cannot be had.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        storage = await _open_storage(settings, clock, stack)
        side_process = SideProcess()
        stack.callback(side_process.close)
        doors = await Doors.bind(settings, storage.directory.root, stack)
        counts = _Counts(Stats(clock), EventCounts())
        execution = await _build_execution(settings, clock, storage, doors.internal_url, counts.stats, stack)
        ready = asyncio.Event()
        invocation = await _build_invocation(settings, clock, storage, execution, counts, side_process)
        parts = _Parts(settings, clock, storage, execution, invocation, doors, counts, ready, side_process)
        services = _build_services(parts)
        service = _build_service(parts, services, stack)
        await finish_unsettled(services)
        await invocation.dispatcher.start()
        # Records that go to functions come into the queue: whoever serves it has seen what waits there.
        await invocation.deliveries.start()
        execution.tasks.start(keep_collecting(services), "sweep of packages")
        _freeze_garbage()
        await doors.open(
            lambda trusted: Listener(
                service, clock, settings.server.max_connections, settings.server.request_timeout, trusted
            )
        )
        ready.set()
        sys.stdout.write(f"{doors.public_url}\n")
        sys.stdout.flush()
        sys.stderr.write(_summary(settings, storage, execution, doors))
        await stopping.wait()
        ready.clear()
        _logger.info("stopping; %d invocations are running", execution.pool.busy)
        doors.stop_accepting()
        end = clock.monotonic() + settings.server.shutdown_grace
        invocation.dispatcher.stop()
        await execution.pool.drain(settings.server.shutdown_grace)
        await invocation.dispatcher.settle()
        await invocation.deliveries.stop()
        await doors.send_what_is_owed(clock, max(end - clock.monotonic(), _LAST_ANSWERS_S))
        doors.close_connections()


@dataclass(frozen=True, slots=True)
class _Counts:
    stats: Stats
    events: EventCounts


@dataclass(frozen=True, slots=True)
class _Storage:
    directory: DataDirectory
    functions: SqliteFunctionStore
    code: FileCodeStore
    logs: FileLogStore
    events: SqliteEventQueue
    identities: SqliteIdentityStore
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class _Execution:
    runtimes: Runtimes
    boto3: OfferedPackages
    sandbox: Sandbox
    launcher: ProcessLauncher
    pool: EnvironmentPool
    machine_limit: int
    tasks: Tasks


@dataclass(frozen=True, slots=True)
class _Invocation:
    admission: Admission
    provisioner: Provisioner
    resolver: Resolver
    authorizer: Authorizer
    invoker: Invoker
    dispatcher: Dispatcher
    deliveries: Deliveries


@dataclass(frozen=True, slots=True)
class _Parts:
    """Whatever there is before the API."""

    settings: Settings
    clock: Clock
    storage: _Storage
    execution: _Execution
    invocation: _Invocation
    doors: Doors
    counts: _Counts
    ready: asyncio.Event
    side_process: SideProcess


async def _open_storage(settings: Settings, clock: Clock, stack: AsyncExitStack) -> _Storage:
    directory = await open_directory(settings.server.data_dir or ":memory:", clock)
    stack.callback(directory.close)
    sealer = open_sealer(directory, settings.server.key_file)
    functions = SqliteFunctionStore(directory, sealer)
    code = FileCodeStore(directory, clock=clock)
    logs = FileLogStore(
        directory, max_bytes=settings.logs.max_bytes, retention_s=settings.logs.retention, clock=clock
    )
    for store in (functions, logs):
        stack.push_async_callback(store.stop)
        await store.start()
    await code.start()
    events = SqliteEventQueue(directory, settings.async_.max_backlog)
    stack.push_async_callback(events.stop)
    came_back = await events.start()
    if came_back:
        _logger.warning("%d events ran when the last server ended; they run again", came_back)
    identities = SqliteIdentityStore(directory, sealer)
    stack.push_async_callback(identities.stop)
    await identities.start()
    sessions = Sessions(sealer, identities.role, clock)
    return _Storage(directory, functions, code, logs, events, identities, sessions)


async def _build_execution(
    settings: Settings,
    clock: Clock,
    storage: _Storage,
    internal_url: str,
    observer: Observer,
    stack: AsyncExitStack,
) -> _Execution:
    runtimes = await _find_runtimes(settings)
    root = storage.directory.root
    boto3 = await asyncio.to_thread(offer_boto3, root / "packages")
    temporary = root / "tmp"
    await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    # Called after the zygotes have ended: until then a function may still write there.
    stack.push_async_callback(asyncio.to_thread, shutil.rmtree, temporary, ignore_errors=True)
    zygotes = Zygotes(storage.directory.lock)
    stack.push_async_callback(zygotes.close)
    tasks = Tasks()
    stack.push_async_callback(tasks.close)
    sandbox = ProcessSandbox()
    launcher = ProcessLauncher(
        runtimes=runtimes,
        zygotes=zygotes,
        sandbox=sandbox,
        unpack=storage.code.unpack,
        pycache=storage.directory.byte_code,
        boto3=boto3,
        endpoints=FunctionEndpoints(internal_url, settings.functions.endpoint_url),
        make_keys=storage.sessions.begin,
        tasks=tasks,
    )
    machine_limit = settings.concurrency.machine_limit or _machine_limit()
    pool = EnvironmentPool(
        launcher=launcher,
        log_store=storage.logs,
        clock=clock,
        tasks=tasks,
        temporary=temporary,
        machine_limit=machine_limit,
        idle_timeout_s=settings.execution.idle_timeout,
        observer=observer,
    )
    return _Execution(runtimes, boto3, sandbox, launcher, pool, machine_limit, tasks)


async def _build_invocation(
    settings: Settings,
    clock: Clock,
    storage: _Storage,
    execution: _Execution,
    counts: _Counts,
    side_process: SideProcess,
) -> _Invocation:
    tasks, pool = execution.tasks, execution.pool
    admission = Admission(settings.concurrency.account_limit, clock)
    await admission.start(storage.functions)
    provisioner = Provisioner(storage.functions, admission, pool, tasks)
    await provisioner.start()
    resolver = Resolver(storage.functions, tasks, pool.retire)
    invoker = Invoker(admission, pool, counts.stats)
    dispatcher = Dispatcher(
        queue=storage.events,
        store=storage.functions,
        resolver=resolver,
        admission=admission,
        invoker=invoker,
        clock=clock,
        tasks=tasks,
        retry_delays=settings.async_.retry_delays,
        retention_s=settings.async_.dead_letter_retention,
        side_process=side_process,
        observer=counts.events,
    )
    authorizer = Authorizer(clock)
    deliveries = _build_deliveries(
        settings, clock, storage, tasks, resolver, authorizer, dispatcher, counts.events
    )
    dispatcher.on_letter = deliveries.notice
    return _Invocation(admission, provisioner, resolver, authorizer, invoker, dispatcher, deliveries)


def _build_deliveries(
    settings: Settings,
    clock: Clock,
    storage: _Storage,
    tasks: Tasks,
    resolver: Resolver,
    authorizer: Authorizer,
    dispatcher: Dispatcher,
    event_counts: EventCounts,
) -> Deliveries:
    endpoint_url = settings.aws.endpoint_url
    is_checked = settings.auth.level == "sigv4"
    functions = FunctionDestinations(
        queue=storage.events,
        resolver=resolver,
        authorizer=authorizer,
        notice=dispatcher.notice,
        find_credential=storage.sessions.credential_of if is_checked else None,
        clock=clock,
    )
    return Deliveries(
        queue=storage.events,
        sender=Sender(endpoint_url, tasks) if endpoint_url is not None else None,
        functions=functions,
        clock=clock,
        tasks=tasks,
        observer=event_counts,
    )


def _build_services(parts: _Parts) -> Services:
    settings, storage, execution = parts.settings, parts.storage, parts.execution
    return Services(
        functions=storage.functions,
        code=storage.code,
        clock=parts.clock,
        prepare=execution.launcher.prepare,
        runtime_check=execution.runtimes.check,
        account_limit=settings.concurrency.account_limit,
        start_task=execution.tasks.start,
        provisioned_use=parts.invocation.provisioner.use,
        fetch_code=S3CodeSource(settings.aws.endpoint_url, parts.clock).fetch,
        can_deliver=settings.aws.endpoint_url is not None,
    )


def _build_service(parts: _Parts, services: Services, stack: AsyncExitStack) -> Service:
    settings, clock, storage = parts.settings, parts.clock, parts.storage
    invocation, tasks = parts.invocation, parts.execution.tasks
    answers = Answers(clock)
    request_log = RequestLog(clock)
    stack.callback(request_log.close)
    # Of its own: an event does not wait until a package has been read.
    large_events = LargeEventCheck()
    stack.callback(large_events.close)
    faults = Faults(functions=storage.functions, clock=clock, tasks=tasks, draw=random.random)
    return Service(
        answers=answers,
        authenticator=_make_authenticator(settings, storage, clock),
        origins=OriginCheck(frozenset((settings.server.host, socket.gethostname()))),
        codec=Codec(),
        resolver=invocation.resolver,
        authorizer=invocation.authorizer,
        invoker=invocation.invoker,
        dispatcher=invocation.dispatcher,
        large_events=large_events,
        side_process=parts.side_process,
        faults=faults,
        services=services,
        security_tokens=SecurityTokens(
            assume=storage.sessions.assume,
            find_role=storage.identities.role,
            authorizer=invocation.authorizer,
            clock=clock,
            is_checking=settings.auth.level == "sigv4",
        ),
        controls=_build_controls(parts, services, answers, faults),
        observer=request_log,
        clock=clock,
        tasks=tasks,
        scheme=parts.doors.scheme,
    )


def _build_controls(parts: _Parts, services: Services, answers: Answers, faults: Faults) -> Controls:
    clock, storage, invocation, execution = parts.clock, parts.storage, parts.invocation, parts.execution
    doors, counts, server = parts.doors, parts.counts, parts.settings.server
    report = Report(
        stats=counts.stats,
        clock=clock,
        environments=execution.pool.usage,
        accounts=lambda: _account_use(invocation.admission),
        server=lambda: ServerUse(execution.machine_limit, doors.connections, doors.buffered_bytes),
    )
    return Controls(
        services=services,
        logs=storage.logs,
        answers=answers,
        clock=clock,
        runtimes={name: found.text_version for name, found in execution.runtimes.interpreters.items()},
        is_ready=parts.ready.is_set,
        stats=report.make,
        dead_letters=DeadLetters(
            queue=storage.events,
            dispatcher=invocation.dispatcher,
            deliveries=invocation.deliveries,
            resolver=invocation.resolver,
            clock=clock,
        ),
        queued_events=QueuedEvents(storage.events, clock, counts.events.counts),
        identities=Identities(
            store=storage.identities, clock=clock, account=server.account, region=server.region
        ),
        faults=faults,
        admin_token=server.admin_token,
        account=server.account,
        region=server.region,
    )


def _account_use(admission: Admission) -> list[AccountUse]:
    running: Counter[tuple[str, str]] = Counter()
    reserved: Counter[tuple[str, str]] = Counter()
    for key, slots in admission.snapshot().items():
        where = key.account, key.region
        running[where] += slots.busy
        reserved[where] += slots.reserved or 0
    return [
        AccountUse(*where, running[where], scope.account_limit, scope.account_limit - reserved[where])
        for where, scope in admission.scopes().items()
    ]


async def _find_runtimes(settings: Settings) -> Runtimes:
    configured: dict[str, Interpreter] = {}
    for identifier, path in settings.runtimes.interpreters.items():
        interpreter = await ask_interpreter(path)
        if interpreter is None:
            raise ConfigurationError(
                f'[runtimes] "{identifier}": {path} does not answer as a Python interpreter.'
            )
        configured[identifier] = interpreter
    found = await find_interpreters(environment())
    return Runtimes(found, configured, refuse_missing=settings.runtimes.missing == "refuse")


def _machine_limit() -> int:
    """Return how many environments fit: three quarters of the memory at 64 MB, but 256 a core at most."""
    memory_mb = (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) >> 20
    by_memory = memory_mb * 3 // 4 // _MB_PER_ENVIRONMENT
    return max(_LEAST_ENVIRONMENTS, min(by_memory, 256 * (os.cpu_count() or 1)))


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system does: connections take one each, environments three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _freeze_garbage() -> None:
    """Leave what start-up made out of every later collection: it lives as long as the server."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _map_large_blocks() -> None:
    """Have the C library map what is large by itself: it grows without a copy, and goes back at once.

    By default glibc keeps blocks of up to 32 MB for reuse as soon as one of that size was freed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        # Once one is set, the other does not follow any more: its default of 128 KB is too eager.
        mallopt(_M_TRIM_THRESHOLD, 2 * _MAPPED_BYTES)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's loop, or asyncio's own where uvloop is missing."""
    try:
        import uvloop  # noqa: PLC0415 - not there on every system
    except ImportError:
        return None
    return uvloop.new_event_loop


def _make_authenticator(settings: Settings, storage: _Storage, clock: Clock) -> Authenticator:
    account, region = settings.server.account, settings.server.region
    find, find_session = storage.identities.find_credential, storage.sessions.find
    if settings.auth.level == "sigv4":
        return SignatureAuthenticator(account, region, find, clock, find_session)
    return Authenticator(account, region, find, find_session)


def _summary(settings: Settings, storage: _Storage, execution: _Execution, doors: Doors) -> str:
    found = execution.runtimes.interpreters
    runtimes = ", ".join(f"{name} ({one.text_version})" for name, one in found.items())
    without_boto3 = [name for name, one in found.items() if not execution.boto3.supports(one)]
    kept = "" if settings.server.data_dir else " (removed at the end)"
    account, region = settings.server.account, settings.server.region
    boto3 = execution.boto3.version + (f", not for {', '.join(without_boto3)}" if without_boto3 else "")
    limit = settings.concurrency.account_limit
    callers = f"any credentials or none; else account {account}, {region}"
    if settings.auth.level == "sigv4":
        callers = "signatures are checked; callers are made with lambent iam"
    lines = {
        "address": doors.public_url,
        "data": f"{storage.directory.root}{kept}",
        "sandbox": execution.sandbox.describe(),
        "auth": f"{settings.auth.level} ({callers})",
        "runtimes": runtimes or "none: install a Python 3.9 or newer, or name one under [runtimes]",
        "boto3": boto3,
        "limits": f"{limit} concurrent per account, {execution.machine_limit} environments on this machine",
    }
    return "".join(f"{name:>9}  {text}\n" for name, text in lines.items())
