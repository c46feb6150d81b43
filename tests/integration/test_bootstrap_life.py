"""A function's process from its spawn to its end, over every Python that this machine has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent.wire import frames
from tests.integration.bootstrap_harness import (
    ARN,
    REQUEST_ID,
    SUPPORTED_MINORS,
    FunctionDriver,
    ZygoteDriver,
    find_interpreter,
    own_interpreter,
    wait_until_gone,
    write_files,
)


@pytest.fixture(scope="module", params=SUPPORTED_MINORS, ids=lambda minor: f"python3.{minor}")
def zygote(request: pytest.FixtureRequest) -> Iterator[ZygoteDriver]:
    """A zygote of each Python; functions of all tests are forked from it."""
    interpreter = find_interpreter(request.param)
    if interpreter is None:
        pytest.skip(f"no Python 3.{request.param} on this machine")
    with ZygoteDriver(interpreter) as driver:
        assert driver.version[:2] == [3, request.param]
        yield driver


@pytest.fixture(scope="module")
def own_zygote() -> Iterator[ZygoteDriver]:
    """A zygote of the Python that runs the tests, for what does not depend on the version."""
    with ZygoteDriver(own_interpreter()) as driver:
        yield driver


# ------------------------------------------------------------------ every Python


def test_handler_gets_event_and_context_and_its_result_comes_back(
    zygote: ZygoteDriver, tmp_path: Path
) -> None:
    source = """
        def handler(event, context):
            return {"event": event, "id": context.aws_request_id, "arn": context.invoked_function_arn,
                    "memory": context.memory_limit_in_mb, "left": context.get_remaining_time_in_millis()}
    """
    variables = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}
    with zygote.start(tmp_path, source, variables=variables) as function:
        reply = function.invoke(b'{"a": [1, 2.5, null, "\xc3\xa9"]}')
        assert reply.kind == frames.RESULT
        assert reply.max_rss_kb > 1000
        answer = reply.value
        assert answer["event"] == {"a": [1, 2.5, None, "é"]}
        assert answer["id"] == REQUEST_ID
        assert answer["arn"] == ARN
        assert answer["memory"] == "128"
        assert answer["left"] > 10**9
        assert function.invoke(deadline_ms=1).value["left"] == 0
    assert function.exit_status() == 0


def test_environment_is_exactly_what_was_given(zygote: ZygoteDriver, tmp_path: Path) -> None:
    source = """
        import os, subprocess
        ENVIRONMENT = dict(os.environ)
        def handler(event, context):
            child = subprocess.run(["/usr/bin/env"], stdout=subprocess.PIPE, universal_newlines=True)
            return [ENVIRONMENT, child.stdout.splitlines()]
    """
    variables = {"A": "1", "NAME": "é=ü", "AWS_LAMBDA_FUNCTION_NAME": "f"}
    with zygote.start(tmp_path, source, variables=variables) as function:
        seen, seen_by_child = function.call()
        assert seen == variables
        assert sorted(seen_by_child) == sorted(f"{key}={value}" for key, value in variables.items())


def test_interpreter_looks_as_on_aws(zygote: ZygoteDriver, tmp_path: Path) -> None:
    source = """
        import builtins, gc, os, signal, sys, time
        PATH, MAIN = list(sys.path), sys.modules["__main__"]
        def handler(event, context):
            return {
                "path": PATH, "cwd": os.getcwd(), "main": sorted(k for k in vars(MAIN) if k[0] != "_"),
                "argv": sys.argv, "exit": hasattr(builtins, "exit") and hasattr(builtins, "quit"),
                "gc": gc.isenabled(), "zone": time.tzname[0], "utf8": sys.getfilesystemencoding(),
                "signals": [signal.getsignal(s) == signal.SIG_DFL for s in (signal.SIGTERM, signal.SIGCHLD)],
                "interrupt": signal.getsignal(signal.SIGINT) == signal.default_int_handler,
                "leader": os.getpgid(0) == os.getpid(),
                "streams": [(s.encoding, s.errors, s.name) for s in (sys.stdin, sys.stdout, sys.stderr)],
                "prefix": sys.pycache_prefix,
            }
    """
    variables = {"TZ": "XYZ-3", "PYTHONPATH": "/somewhere"}
    with zygote.start(tmp_path, source, variables=variables, extra_path=["/extra"]) as function:
        seen = function.call()
    assert seen["path"][:2] == [str(tmp_path), "/somewhere"]
    assert seen["path"][-1] == "/extra"
    assert not any("lambent" in path for path in seen["path"])
    assert seen["cwd"] == str(tmp_path)
    assert seen["main"] == []
    assert len(seen["argv"]) == 1
    assert seen["exit"] is True
    assert seen["gc"] is True
    assert seen["zone"] == "XYZ"
    assert seen["utf8"] == "utf-8"
    assert seen["signals"] == [True, True]
    assert seen["interrupt"] is True
    assert seen["leader"] is True
    assert seen["streams"] == [
        ["utf-8", "surrogateescape", "<stdin>"],
        ["utf-8", "surrogateescape", "<stdout>"],
        ["utf-8", "backslashreplace", "<stderr>"],
    ]
    assert seen["prefix"] is None


def test_log_keeps_the_order_of_all_writers(zygote: ZygoteDriver, tmp_path: Path) -> None:
    source = """
        import logging, os, subprocess, sys
        logging.getLogger().setLevel("INFO")
        def handler(event, context):
            print("one")
            logging.info("two")
            subprocess.run(["echo", "three"])
            print("four", file=sys.stderr)
            context.log("five")
            os.write(1, b"six\\n")
            sys.stdout.write("half")
            logging.warning("eight")
            sys.stdout.buffer.write(b"nine\\n")
    """
    with zygote.start(tmp_path, source) as function:
        function.call()
        lines = function.log().decode().splitlines()
    assert [line.rpartition("\t")[2] for line in lines] == [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "eight",
        "nine",
    ]
    assert lines[1].startswith("[INFO]\t")
    assert lines[1].split("\t")[2] == REQUEST_ID
    assert lines[6].startswith("half[WARNING]\t")


def test_stack_trace_names_var_task_and_shows_source_lines(zygote: ZygoteDriver, tmp_path: Path) -> None:
    source = """\
        import logging
        def fail():
            raise KeyError("what")
        def handler(event, context):
            try:
                fail()
            except KeyError:
                logging.exception("caught")
                raise
    """
    with zygote.start(tmp_path, source) as function:
        reply = function.invoke()
        log = function.log().decode()
    assert reply.kind == frames.ERROR
    trace = [
        '  File "/var/task/m.py", line 6, in handler\n    fail()\n',
        '  File "/var/task/m.py", line 3, in fail\n    raise KeyError("what")\n',
    ]
    assert reply.payload.decode() == json.dumps(
        {"errorMessage": "'what'", "errorType": "KeyError", "requestId": REQUEST_ID, "stackTrace": trace}
    )
    caught, _, failed = log.partition("[ERROR] KeyError: 'what'\n")
    assert f'\t{REQUEST_ID}\tcaught\nTraceback (most recent call last):\n  File "/var/task/m.py"' in caught
    expected = "Traceback (most recent call last):\n" + "".join(trace).replace("    ", "\u00a0" * 4).replace(
        "  File", "\u00a0\u00a0File"
    )
    assert failed == expected


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import sys\ndef handler(e, c): sys.exit(3)", 3 << 8),
        ("def handler(e, c): exit()", 0),
        ("import os\ndef handler(e, c): os._exit(7)", 7 << 8),
        ("def handler(e, c): raise KeyboardInterrupt", signal.SIGINT),
        ("import os, signal\ndef handler(e, c): os.kill(os.getpid(), signal.SIGSEGV)", signal.SIGSEGV),
        ("def handler(e, c): return chr(0xD800)", 1 << 8),
    ],
    ids=["sys.exit", "exit", "os._exit", "interrupt", "segfault", "surrogate"],
)
def test_end_inside_the_handler_is_reported_with_its_status(
    zygote: ZygoteDriver, tmp_path: Path, source: str, status: int
) -> None:
    variables = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}
    with zygote.start(tmp_path, source, variables=variables) as function:
        function.send()
        assert function.receive() is None
        assert function.exit_status() == status


def test_sys_exit_while_importing_ends_the_process_with_that_status(
    zygote: ZygoteDriver, tmp_path: Path
) -> None:
    write_files(tmp_path, {"m.py": "import sys; print('going'); sys.exit(9)"})
    with zygote.spawn(tmp_path) as function:
        assert function.receive() is None
        assert function.exit_status() == 9 << 8
        assert function.log() == b"going\n"


def test_limits_are_those_of_an_environment(zygote: ZygoteDriver, tmp_path: Path) -> None:
    source = """
        import resource
        def handler(event, context):
            if event:
                return len(bytearray(event))
            return [resource.getrlimit(getattr(resource, "RLIMIT_" + n)) for n in ("DATA", "CORE", "NOFILE")]
    """
    with zygote.start(tmp_path, source, data_limit_mb=320) as function:
        data, core, files = function.call()
        assert data == [320 << 20, 320 << 20]
        assert core == [0, 0]
        assert files[0] == 1024
        reply = function.invoke(str(500 << 20).encode())
        assert reply.value["errorType"] == "MemoryError"
        assert function.call(1000) == 1000


def test_modules_of_the_user_win_over_what_the_zygote_has_loaded(
    zygote: ZygoteDriver, tmp_path: Path
) -> None:
    names = ["zygote", "context", "logs", "practice", "resource", "ctypes", "socket", "uuid", "gzip"]
    write_files(tmp_path, {f"{name}.py": f"MINE = '{name}'" for name in names[:-1]})
    write_files(tmp_path, {"gzip/__init__.py": "MINE = 'gzip'", "xml/data.txt": "no module"})
    names.append("base64")
    write_files(tmp_path / "more", {"base64.py": "MINE = 'base64'"})
    source = f"""
        import {", ".join(names)}, xml.etree.ElementTree
        MINE = [module.MINE for module in ({", ".join(names)})]
        def handler(event, context):
            return MINE
    """
    with zygote.start(tmp_path, source, variables={"PYTHONPATH": str(tmp_path / "more")}) as function:
        assert function.call() == names


def test_thread_and_forked_child_and_closed_descriptors_are_survived(
    zygote: ZygoteDriver, tmp_path: Path
) -> None:
    source = """
        import os, threading
        stop = threading.Event()
        def handler(event, context):
            if event == "thread":
                threading.Thread(target=stop.wait).start()
            if event == "fork" and os.fork() == 0:
                if os.fork() == 0:
                    os.open("/dev/null", os.O_RDONLY)
                return "from a child"
            if event == "close":
                for fd in (0, 1, 2):
                    os.close(fd)
                os.open("/dev/null", os.O_RDONLY)
            return event
    """
    with zygote.start(tmp_path, source) as function:
        for event in ("thread", "fork", "next", "close", "last"):
            assert function.call(event) == event
        function.hang_up()
        assert function.exit_status() == 0


def test_functions_of_one_zygote_share_no_random_numbers(zygote: ZygoteDriver, tmp_path: Path) -> None:
    source = """
        import random, uuid, os
        VALUES = [random.random(), str(uuid.uuid4()), os.urandom(8).hex()]
        def handler(event, context):
            return VALUES
    """
    write_files(tmp_path, {"m.py": source})
    functions = [zygote.spawn(tmp_path).ready() for _ in range(3)]
    seen = [tuple(function.call()) for function in functions]
    for position in range(3):
        assert len({values[position] for values in seen}) == 3
    for function in functions:
        function.close()


def test_byte_code_of_the_package_is_used_and_no_other_is_written(
    zygote: ZygoteDriver, tmp_path: Path
) -> None:
    task, extra, prefix = tmp_path / "task", tmp_path / "extra", tmp_path / "cache"
    write_files(
        task, {"m.py": "import n, linked\ndef handler(e, c): return [n.V, linked.V]", "n.py": "V = 1"}
    )
    write_files(task, {"broken.py": "def", "warns.py": 'V = 1 is 1 or "x"\n'})
    write_files(tmp_path, {"real/linked/__init__.py": "V = 1"})
    extra.mkdir()
    (extra / "linked").symlink_to(tmp_path / "real" / "linked")
    zygote.compile(task, prefix)
    zygote.compile(extra, prefix)
    # Byte code is not checked against its source, which shows whether it is used.
    write_files(task, {"n.py": "V = 2"})
    write_files(tmp_path, {"real/linked/__init__.py": "V = 2"})
    before = sorted(map(str, tmp_path.rglob("*")))
    function = zygote.spawn(task, pycache_prefix=str(prefix), extra_path=[str(extra)]).ready()
    assert function.call() == [1, 1]
    function.close()
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    compiled = {path.name.partition(".")[0] for path in prefix.rglob("*.pyc")}
    assert compiled == {"m", "n", "__init__"}


# ------------------------------------------------------------- one Python is enough


def test_large_values_pass_both_ways(own_zygote: ZygoteDriver, tmp_path: Path) -> None:
    with own_zygote.start(tmp_path, "def handler(e, c): return e or bytes(range(256)) * 30000") as function:
        text = "x" * (6 << 20)
        payload = json.dumps(text).encode()
        assert function.invoke(payload).payload == payload
        reply = function.invoke(b"0")
        assert reply.kind == frames.BINARY
        assert reply.payload == bytes(range(256)) * 30000


def test_frame_that_arrives_in_pieces_is_put_together(own_zygote: ZygoteDriver, tmp_path: Path) -> None:
    with own_zygote.start(tmp_path, "def handler(e, c): return e") as function:
        payload = b'"' + b"y" * 100 + b'"'
        frame = frames.render_invocation_head(REQUEST_ID, 1, ARN, "", "", "", len(payload)) + payload
        for cut in (1, 3, 4, 5, 8, 9, 40):
            function.write(frame[:cut])
            # The pieces must not melt together: the function has read the first when its queue is empty.
            _wait_until_read(function)
            function.write(frame[cut:])
            reply = function.receive()
            assert reply is not None
            assert reply.value == "y" * 100


def _wait_until_read(function: FunctionDriver) -> None:
    import fcntl
    import termios

    # A pipe tells at either end how much lies in it.
    while int.from_bytes(fcntl.ioctl(function.requests_fd, termios.FIONREAD, b"\0" * 4), sys.byteorder):
        os.sched_yield()


def test_environment_of_hundreds_of_kilobytes_fits(own_zygote: ZygoteDriver, tmp_path: Path) -> None:
    variables = {f"V{number}": "x" * 1000 for number in range(150)}
    source = "import os\ndef handler(e, c): return len(os.environ)"
    with own_zygote.start(tmp_path, source, variables=variables) as function:
        assert function.call() == 150


def test_client_context_identity_and_tenant_reach_the_context(
    own_zygote: ZygoteDriver, tmp_path: Path
) -> None:
    source = "def handler(event, context): return [repr(context), context.w3c()]"
    given = {
        "client": {"app_title": "t", "x": 1},
        "custom": {"k": "v\n"},
        "w3c": {"traceparent": "p"},
        "y": 2,
    }
    with own_zygote.start(tmp_path, source, variables={"AWS_LAMBDA_FUNCTION_NAME": "f"}) as function:
        shown, w3c = function.call(client_context=json.dumps(given, indent=1), tenant_id="t1")
        assert "client_context=ClientContext([custom={'k': 'v\\n'},env=None,client=Client([" in shown
        assert "installation_id=None,app_title=t," in shown
        assert "tenant_id=t1" in shown
        assert "function_name=f" in shown
        assert w3c == {"traceparent": "p"}
        shown, _ = function.call()
        assert "client_context=None,identity=CognitoIdentity([cognito_identity_id=None," in shown
        assert "tenant_id=None" in shown
        reply = function.invoke(client_context="{")
        assert reply.kind == frames.ERROR
        assert reply.value["errorType"] == "Runtime.LambdaContextUnmarshalError"
        assert reply.value["errorMessage"].startswith("Unable to parse Client Context JSON: ")


def test_trace_id_is_seen_by_python_and_by_subprocesses_and_goes_away(
    own_zygote: ZygoteDriver, tmp_path: Path
) -> None:
    source = """
        import os
        def handler(event, context):
            name = "_X_AMZN_TRACE_ID"
            seen = [os.environ.get(name), os.popen("echo $" + name).read().strip()]
            if event == "set":
                os.environ[name] = "user's"
            if event == "clear":
                os.environ.clear()
            return seen
    """
    with own_zygote.start(tmp_path, source) as function:
        for number, event in enumerate(["", "set", "", "clear", "", "", "set", ""]):
            trace = f"Root=1-{number}" * (1 if number < 5 else 200)
            assert function.call(event, trace_id=trace) == [trace, trace]
        assert function.call() == [None, ""]


def test_function_has_no_descriptor_of_the_zygote_or_of_others(
    own_zygote: ZygoteDriver, tmp_path: Path
) -> None:
    source = """
        import os
        def handler(event, context):
            return [os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")
                    if os.path.exists("/proc/self/fd/" + n)]
    """
    write_files(tmp_path, {"m.py": source})
    functions = [own_zygote.spawn(tmp_path).ready() for _ in range(3)]
    for function in functions:
        links = function.call()
        assert not any(link.startswith("socket:") for link in links), links
        # Frames in, frames out, and the log, which stands on three numbers.
        assert len({link for link in links if link.startswith("pipe:")}) == 3, links
        assert links.count("/dev/null") == 1, links
    for function in functions:
        function.close()
        assert function.exit_status() == 0


def test_parked_child_becomes_the_function(tmp_path: Path) -> None:
    write_files(tmp_path, {"m.py": "def handler(e, c): return e"})
    with ZygoteDriver(own_interpreter(), "--parked=2") as zygote:
        children = Path(f"/proc/{zygote.process.pid}/task/{zygote.process.pid}/children")
        while len(parked := set(map(int, children.read_text().split()))) < 2:
            os.sched_yield()
        functions = [zygote.spawn(tmp_path).ready() for _ in range(3)]
        assert parked < {function.pid for function in functions}
        for function in functions:
            assert function.call(5) == 5
            function.close()
            assert function.exit_status() == 0


def test_parked_child_that_died_is_replaced_by_a_fork(tmp_path: Path) -> None:
    write_files(tmp_path, {"m.py": "def handler(e, c): return e"})
    with ZygoteDriver(own_interpreter()) as zygote:
        children = Path(f"/proc/{zygote.process.pid}/task/{zygote.process.pid}/children")
        while not (parked := children.read_text().split()):
            os.sched_yield()
        os.kill(int(parked[0]), signal.SIGKILL)
        wait_until_gone(int(parked[0]))
        with zygote.spawn(tmp_path).ready() as function:
            assert function.call(5) == 5


def test_variables_that_are_read_at_start_work_in_a_zygote_of_their_own(tmp_path: Path) -> None:
    source = """
        import sys
        def handler(event, context):
            assert False
            return [sys.path[:3], sys.flags.optimize]
    """
    variables = {"PYTHONPATH": "/one:/two", "PYTHONOPTIMIZE": "1", "PYTHONUNBUFFERED": "1"}
    with ZygoteDriver(own_interpreter(), exec_variables=variables) as zygote:
        folder = write_files(tmp_path / "task", {"zygote.py": ""})
        with zygote.start(folder, source, variables={**variables, "A": "B"}) as function:
            assert function.call() == [[str(folder), "/one", "/two"], 1]


def test_piece_of_a_line_is_written_at_once_when_python_is_unbuffered(
    own_zygote: ZygoteDriver, tmp_path: Path
) -> None:
    source = "import os\ndef handler(e, c):\n  print('.', end='')\n  os._exit(0)"
    with own_zygote.start(tmp_path, source, variables={"PYTHONUNBUFFERED": "1"}) as function:
        function.send()
        assert function.exit_status() == 0
        assert function.log() == b"."


def test_kill_ends_the_function_and_its_group(own_zygote: ZygoteDriver, tmp_path: Path) -> None:
    source = """
        import subprocess
        def handler(event, context):
            return subprocess.Popen(["sleep", "1000"]).pid
    """
    with own_zygote.start(tmp_path, source) as function:
        helper = function.call()
        own_zygote.kill(function.id)
        assert function.exit_status() == signal.SIGKILL
        wait_until_gone(helper)
        own_zygote.kill(function.id)  # is gone: nothing happens


_DETACHING = """
    import subprocess, sys
    def handler(event, context):
        # A double fork with sessions of their own: the parent of the sleeper ends at once.
        text = ("import subprocess;"
                "print(subprocess.Popen(['sleep', '99'], stdout=-3, start_new_session=True).pid)")
        out = subprocess.run([sys.executable, "-I", "-S", "-c", text], stdout=subprocess.PIPE,
                             start_new_session=True)
        return int(out.stdout)
"""


def test_detached_helper_lives_as_long_as_its_function(own_zygote: ZygoteDriver, tmp_path: Path) -> None:
    with own_zygote.start(tmp_path, _DETACHING) as function:
        helper = function.call()
        with own_zygote.start(tmp_path, "def handler(e, c): return 1") as other:
            other.close()
            other.exit_status()
        os.kill(helper, 0)  # the end of another function is none of its business
        function.hang_up()
        function.exit_status()
        wait_until_gone(helper)


def test_closed_control_socket_ends_every_descendant(tmp_path: Path) -> None:
    zygote = ZygoteDriver(own_interpreter())
    with zygote.start(tmp_path, _DETACHING) as function:
        helper = function.call()
        pid = function.pid
        assert zygote.close() == 0
        wait_until_gone(helper)
        wait_until_gone(pid)


def test_death_of_the_server_ends_every_descendant_though_another_holds_the_socket(tmp_path: Path) -> None:
    write_files(tmp_path, {"m.py": _DETACHING})
    server = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.integration.bootstrap_harness import *
zygote = ZygoteDriver(own_interpreter())
function = zygote.spawn(Path({str(tmp_path)!r})).ready()
helper = function.call()
os.set_inheritable(zygote.control.fileno(), True)
keeper = subprocess.Popen(["sleep", "1000"], close_fds=False, stdout=subprocess.DEVNULL)
print(zygote.process.pid, function.pid, helper, keeper.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    ended = subprocess.run(
        [sys.executable, "-c", server], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    *others, keeper = map(int, ended.stdout.split())
    try:
        for pid in others:
            wait_until_gone(pid)
    finally:
        os.kill(keeper, signal.SIGKILL)


def test_killed_zygote_takes_its_functions_along(tmp_path: Path) -> None:
    zygote = ZygoteDriver(own_interpreter())
    with zygote.start(tmp_path, "def handler(e, c): return 1") as function:
        pid = function.pid
        zygote.process.kill()
        wait_until_gone(pid)
        zygote.close()


def test_zygote_and_functions_are_out_of_reach_of_the_servers_terminal(
    own_zygote: ZygoteDriver, tmp_path: Path
) -> None:
    with own_zygote.start(tmp_path, "import os\ndef handler(e, c): return os.getsid(0)") as function:
        assert function.call() == own_zygote.process.pid
        assert own_zygote.process.pid != os.getsid(0)


@pytest.mark.parametrize(
    "packet",
    [b"nonsense", b"[]", b'{"op": "dance", "id": 77}', b'{"op": "spawn", "id": 77}', b'{"op": "kill"}'],
)
def test_message_that_cannot_be_obeyed_is_answered_and_the_zygote_goes_on(
    own_zygote: ZygoteDriver, tmp_path: Path, packet: bytes
) -> None:
    own_zygote.send_raw(packet)
    failed = own_zygote.wait_for("failed")
    own_zygote._reports.remove(failed)
    assert failed["reason"]
    with own_zygote.start(tmp_path, "def handler(e, c): return 1") as function:
        assert function.call() == 1


def test_folder_that_is_missing_ends_the_function_and_says_so(
    own_zygote: ZygoteDriver, tmp_path: Path
) -> None:
    with own_zygote.spawn(tmp_path / "missing") as function:
        assert function.receive() is None
        assert function.exit_status() == 1 << 8
        assert b"FileNotFoundError" in function.log()
