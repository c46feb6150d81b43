"""Environments over real processes: what a function may do to its process, and what becomes of it.

Whatever it does, its caller gets an answer, the next caller the right one, and nothing is left.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from lambent.execution import zygote as zygote_module
from lambent.model.functions import LoggingConfig
from tests.integration.bootstrap_harness import TIMEOUT_S
from tests.integration.environment_rig import RUNTIME, Rig, play
from tests.processes import is_alive

KILLED = "Runtime exited with error: signal: killed"


# ---------------------------------------------------------------------------- init


def test_an_init_beyond_its_limit_is_run_again_inside_the_invocation(tmp_path: Path) -> None:
    source = """
        import os, time
        mark = os.environ["TMPDIR"] + "/mark"
        if not os.path.exists(mark):
            open(mark, "w").close()
            print("first", flush=True)
            time.sleep(99)
        print("second")
        def handler(event, context):
            return os.listdir(os.environ["TMPDIR"])
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source)
        answer = await rig.invoke()
        assert answer.value == ["mark"]
        assert re.search(
            r"^INIT_START .*\nfirst\nINIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: timeout\n"
            r"second\nSTART ",
            rig.log.text,
        )
        assert rig.log.text.count("INIT_START") == 1
        assert "\tInit Duration" not in rig.log.text

    play(tmp_path, script, init_limit_s=0.3)


@pytest.mark.parametrize(
    ("source", "error_type", "shown"),
    [
        ("import absent", "Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("1 / 0", "ZeroDivisionError", "Runtime.Unknown"),
        ("import sys; sys.exit(3)", "Runtime.ExitError", "Runtime.ExitError"),
        ("import os; os.abort()", "Runtime.ExitError", "Runtime.ExitError"),
        ("import os; os.kill(os.getpid(), 9)", "Runtime.ExitError", "Runtime.ExitError"),
    ],
)
def test_an_init_that_fails_is_run_twice_and_answers_with_its_error(
    tmp_path: Path, source: str, error_type: str, shown: str
) -> None:
    async def script(rig: Rig) -> None:
        rig.deploy(f"print('importing', flush=True)\n{source}")
        answer = await rig.invoke()
        assert answer.error[0] == error_type
        report = rf"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: %s\tStatus: error\tError Type: {shown}\n"
        # As AWS writes it: docs/aws-behaviour.md, execution 4.6.
        assert re.fullmatch(
            rf"importing\n(.*\n)*{report % 'init'}importing\n(.*\n)*{report % 'invoke'}"
            r"START RequestId: (\S+) Version: \$LATEST\nEND RequestId: \S+\n"
            r"REPORT RequestId: \S+\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
            rf"Max Memory Used: \d+ MB\tStatus: error\tError Type: {shown}\n",
            answer.tail,
        )
        assert rig.log.text.startswith("INIT_START ")
        assert rig.log.text.partition("\n")[2] == answer.tail

    play(tmp_path, script)


def test_an_init_that_never_ends_is_a_timeout_of_the_invocation(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        rig.deploy("import time\ntime.sleep(99)", timeout_s=1)
        answer = await rig.invoke()
        assert answer.error == ("Sandbox.Timedout", "Task timed out after 1.00 seconds")
        assert "\tPhase: init\tStatus: timeout\n" in rig.log.text
        assert "\tPhase: invoke\tStatus: timeout\nSTART " in rig.log.text

    play(tmp_path, script, init_limit_s=0.1)


# ---------------------------------------------------------------------------- resets

COUNTING = """
    import os, time
    count = 0
    kept = os.environ["TMPDIR"] + "/kept"
    def handler(event, context):
        global count
        count += 1
        open(kept, "a").write("x")
        {action}
        return [count, len(open(kept).read())]
"""


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("time.sleep(99)", ("Sandbox.Timedout", "Task timed out after 1.00 seconds")),
        ("while True: pass", ("Sandbox.Timedout", "Task timed out after 1.00 seconds")),
        ("os._exit(0)", ("Runtime.ExitError", "Runtime exited without providing a reason")),
        ("os._exit(3)", ("Runtime.ExitError", "Runtime exited with error: exit status 3")),
        ("raise SystemExit(4)", ("Runtime.ExitError", "Runtime exited with error: exit status 4")),
        ("os.abort()", ("Runtime.ExitError", "Runtime exited with error: signal: aborted")),
        ("os.kill(os.getpid(), 9)", ("Runtime.ExitError", KILLED)),
        (
            "os.kill(os.getpid(), 11)",
            ("Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        ),
        ("os.kill(os.getpid(), 19)", ("Sandbox.Timedout", "Task timed out after 1.00 seconds")),
    ],
)
def test_a_reset_keeps_the_temporary_folder_and_no_globals(
    tmp_path: Path, action: str, error: tuple[str, str]
) -> None:
    async def script(rig: Rig) -> None:
        rig.deploy(
            COUNTING.format(action=f"if event: {action}" if "while" not in action else WHILE), timeout_s=1
        )
        assert (await rig.invoke()).value == [1, 1]
        assert (await rig.invoke()).value == [2, 2]
        failed = await rig.invoke("fail")
        assert failed.error == error
        status = (
            "Status: timeout" if error[0] == "Sandbox.Timedout" else f"Status: error\tError Type: {error[0]}"
        )
        assert failed.tail.endswith(f" MB\t{status}\n")
        again = await rig.invoke()
        assert again.value == [1, 4]
        assert "Init Duration" not in again.tail
        assert len(list((tmp_path / "tmp").iterdir())) == 1

    play(tmp_path, script)


WHILE = "x = 0\n        while event: x += 1"


def test_memory_that_runs_out_is_an_error_and_the_next_invocation_works(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        rig.deploy("def handler(e, c): return len(bytearray(e << 20))")
        assert (await rig.invoke(4000)).error[0] == "MemoryError"
        assert (await rig.invoke(1)).value == 1 << 20

    play(tmp_path, script)


# ---------------------------------------------------------------------------- pipes

# Descriptors of pipes, by what is done with them: `frames` finds the two for invocations and replies.
PIPES = """
    import os, sys, threading
    def pipes():
        found = [int(n) for n in os.listdir("/proc/self/fd") if int(n) > 2]
        log = os.readlink("/proc/self/fd/1")
        def link(fd):
            try: return os.readlink(f"/proc/self/fd/{{fd}}")
            except OSError: return ""
        return [fd for fd in found if link(fd).startswith("pipe:") and link(fd) != log]
    def handler(event, context):
        if event:
            {action}
        return event
"""


@pytest.mark.parametrize(
    ("action", "is_lost"),
    [
        ("os.close(0); os.close(1); os.close(2)", False),
        ("sys.stdout.close(); sys.stderr.close(); sys.stdin.close()", False),
        ("[os.close(fd) for fd in pipes()]", True),
        ("os.closerange(0, 1024)", True),
        ("os.closerange(3, 1024)", True),
        ("os.closerange(0, 1024); [os.open('/dev/null', os.O_RDWR) for _ in range(50)]", True),
        ("[os.dup2(1, fd) for fd in pipes()]", True),
    ],
)
def test_a_function_that_closes_descriptors_harms_itself_at_most(
    tmp_path: Path, action: str, is_lost: bool
) -> None:
    async def script(rig: Rig) -> None:
        rig.deploy(PIPES.format(action=action))
        rig.deploy("def handler(e, c): return e", "other")
        assert (await rig.invoke()).value is None
        answer = await rig.invoke("harm")
        if is_lost:
            assert answer.error[0] == "Runtime.ExitError"
        else:
            assert answer.value == "harm"
        assert (await rig.invoke()).value is None
        assert (await rig.invoke(5, "other")).value == 5

    play(tmp_path, script)


@pytest.mark.parametrize(
    "garbage",
    [
        b"x",
        b"\n",
        b"hello",
        b"\x00" * 40,
        b"\xff" * 40,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x0d\x00\x00\x00\x02" + b"\x00" * 8 + b"null" + b"\x0d\x00\x00\x00\x02" + b"\x00" * 8 + b"fake",
        b"\x0d\x00\x00\x00\x63" + b"\x00" * 8 + b"null",
        b"\xff\xff\xff\xff\x02" + b"\x00" * 8,
        b"z" * 100_000,
    ],
    ids=lambda garbage: repr(garbage[:20]),
)
def test_garbage_in_the_reply_pipe_never_reaches_another_invocation(tmp_path: Path, garbage: bytes) -> None:
    action = (
        f"[os.write(fd, {garbage!r}) for fd in pipes() if not os.access(f'/proc/self/fd/{{fd}}', os.R_OK)]"
    )

    async def script(rig: Rig) -> None:
        rig.deploy(PIPES.format(action=action), timeout_s=1)
        await rig.invoke("garbage")
        for number in range(3):
            answer = await rig.invoke()
            if answer.result.function_error is None:
                assert answer.value is None, number
        assert (await rig.invoke()).value is None

    play(tmp_path, script)


def test_a_full_log_pipe_stops_nobody(tmp_path: Path) -> None:
    source = """
        import subprocess, sys
        def handler(event, context):
            for _ in range(event): sys.stdout.write("x" * 9_999 + "\\n")
            subprocess.run(["head", "-c", "1000000", "/dev/zero"])
            return "done"
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source)
        answer = await rig.invoke(500)
        assert answer.value == "done"
        assert len(answer.result.log_tail or b"") == 4096
        assert rig.log.text.count("x" * 9_999 + "\n") == 500

    play(tmp_path, script)


# ---------------------------------------------------------------------------- threads and children


def test_a_thread_that_goes_on_does_not_hold_the_answer_and_writes_into_the_stream(tmp_path: Path) -> None:
    source = """
        import threading
        go, gone = threading.Event(), threading.Event()
        def late():
            go.wait(); print("from the thread", flush=True); gone.set()
        def handler(event, context):
            if event == "start": threading.Thread(target=late).start()
            if event == "go": go.set(); gone.wait()
            return event
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source)
        assert "from the thread" not in (await rig.invoke("start")).tail
        assert "from the thread\n" in (await rig.invoke("go")).tail
        assert "from the thread" not in (await rig.invoke("after")).tail

    play(tmp_path, script)


LEAVING = """
    import os, subprocess, sys, time
    NESTED = (
        "import subprocess, os;"
        "p = subprocess.Popen(['sleep', '999'], stdout=-3, stderr=-3, start_new_session=True);"
        "print(p.pid, os.getpid(), flush=True);"
        "os.close(1);"
        "__import__('time').sleep(999)"
    )
    def handler(event, context):
        if event == "timeout": time.sleep(99)
        if event == "crash": os._exit(1)
        if event == "children":
            child = subprocess.Popen(["sleep", "999"])
            leader = subprocess.Popen(["sleep", "999"], start_new_session=True)
            # A detached process with a detached child of its own: found only after its parent has ended.
            nested = subprocess.Popen([sys.executable, "-c", NESTED], stdout=subprocess.PIPE, start_new_session=True)
            return [child.pid, leader.pid, *map(int, nested.stdout.readline().split())]
        return event
"""


@pytest.mark.parametrize("end", ["timeout", "crash", "retire"])
def test_children_hold_no_answer_and_end_with_their_environment(tmp_path: Path, end: str) -> None:
    async def script(rig: Rig) -> None:
        rig.deploy(LEAVING, timeout_s=1)
        children = (await rig.invoke("children")).value
        assert len(children) == 4
        assert all(is_alive(child) for child in children)
        assert (await rig.invoke("next")).value == "next"
        assert all(is_alive(child) for child in children)
        if end == "retire":
            rig.pool.retire(rig.versions["f"].document_id)
        else:
            assert (await rig.invoke(end)).result.function_error == "Unhandled"
        await rig.until(lambda: not any(is_alive(child) for child in children))

    play(tmp_path, script)


def test_children_end_with_the_server(tmp_path: Path) -> None:
    children: list[int] = []

    async def script(rig: Rig) -> None:
        rig.deploy(LEAVING)
        children.extend((await rig.invoke("children")).value)

    play(tmp_path, script)
    assert not any(is_alive(child) for child in children)


def test_a_child_of_an_ended_process_cannot_write_into_a_later_invocation(tmp_path: Path) -> None:
    source = """
        import os, subprocess, time
        def handler(event, context):
            if event == "leave":
                subprocess.Popen("while true; do echo ghost; done", shell=True, start_new_session=True)
                os._exit(1)
            time.sleep(0.05)
            return event
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source)
        assert (await rig.invoke("leave")).error[0] == "Runtime.ExitError"
        for _ in range(3):
            assert "ghost" not in (await rig.invoke("next")).tail

    play(tmp_path, script)


@pytest.mark.parametrize("where", ["import", "handler"])
def test_a_fork_that_comes_back_twice_answers_once(tmp_path: Path, where: str) -> None:
    source = """
        import os
        if {at_import}: os.fork()
        def handler(event, context):
            if {in_handler} and event == "fork": os.fork()
            return [event, context.aws_request_id]
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source.format(at_import=where == "import", in_handler=where == "handler"))
        seen = set()
        for event in ("fork", "a", "b", "fork", "c"):
            answer, request_id = (await rig.invoke(event)).value
            assert answer == event
            seen.add(request_id)
        assert len(seen) == 5

    play(tmp_path, script)


# ---------------------------------------------------------------------------- what else functions do


@pytest.mark.parametrize(
    "action",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN); signal.pthread_sigmask(0, range(1, 64)); time.sleep(99)",
        "leave_group(); time.sleep(99)",
        "threading.Thread(target=time.sleep, args=(99,)).start(); sys.exit(1)",
        "sys.setrecursionlimit(10 ** 9); endless(0)",
    ],
)
def test_a_function_that_does_not_want_to_end_is_ended(tmp_path: Path, action: str) -> None:
    source = """
        import os, signal, subprocess, sys, threading, time
        def endless(n): return endless(n + 1)
        def leave_group():
            child = subprocess.Popen(["sleep", "999"], preexec_fn=os.setpgrp)
            subprocess.Popen(["sleep", "999"])  # keeps the old group alive
            os.setpgid(0, child.pid)
        def handler(event, context):
            if event:
                print(os.getpid(), flush=True)
                {action}
            return event
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source.format(action=action), timeout_s=1)
        answer = await rig.invoke("stay")
        assert answer.error[0] in {"Sandbox.Timedout", "Runtime.ExitError"}
        pid = int(answer.tail.splitlines()[1])
        await rig.until(lambda: not is_alive(pid))
        assert (await rig.invoke()).value is None

    play(tmp_path, script)


def test_a_function_that_stops_its_zygote_does_not_hold_up_the_end_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote_module, "END_S", 0.1)
    source = """
        import os, signal

        def handler(event, context):
            os.kill(os.getppid(), signal.SIGSTOP)
            return [os.getpid(), os.getppid()]
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source)
        processes = (await rig.invoke()).value
        await asyncio.wait_for(rig.zygotes.close(), TIMEOUT_S)
        await rig.until(lambda: not any(map(is_alive, processes)))

    play(tmp_path, script)


def test_a_function_that_kills_its_zygote_ends_and_the_next_call_works(tmp_path: Path) -> None:
    source = """
        import os, time
        def handler(event, context):
            if event: os.kill(os.getppid(), 9); time.sleep(99)
            return "alive"
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source)
        assert (await rig.invoke("kill")).error == ("Runtime.ExitError", KILLED)
        assert (await rig.invoke()).value == "alive"

    play(tmp_path, script)


def test_partial_lines_and_bytes_that_are_no_text_stay_in_their_invocation(tmp_path: Path) -> None:
    source = """
        import os
        def handler(event, context):
            os.write(1, b"\\xff\\x00\\xfe end" if event == "binary" else b"no line end")
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source)
        binary = await rig.invoke("binary")
        assert b"\n\xff\x00\xfe end\nEND " in (binary.result.log_tail or b"")
        assert "\nno line end\nEND " in (await rig.invoke()).tail

    play(tmp_path, script)


# ---------------------------------------------------------------------------- what a function is told


def test_variables_are_those_of_aws(tmp_path: Path) -> None:
    # Source: docs/aws-behaviour.md, execution 4.3.
    async def script(rig: Rig) -> None:
        source = "import os\ndef handler(e, c): return [dict(os.environ), os.getcwd(), c.log_stream_name]"
        rig.deploy(source, variables={"MINE": "é", "AWS_ENDPOINT_URL": "http://mine"}, memory_mb=256)
        variables, folder, stream = (await rig.invoke()).value
        assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
        temporary = variables.pop("TMPDIR")
        assert Path(temporary).parent == tmp_path / "tmp"
        assert variables == {
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "000000000000",
            "AWS_SECRET_ACCESS_KEY": "lambent",
            "AWS_SESSION_TOKEN": "lambent",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}",
            "_HANDLER": "m.handler",
            "LAMBDA_TASK_ROOT": folder,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PWD": folder,
            "_X_AMZN_TRACE_ID": "Root=1",
            "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
            "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
            "_AWS_XRAY_DAEMON_PORT": "2000",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "TZ": ":UTC",
            "LANG": "en_US.UTF-8",
            "LC_CTYPE": "C.UTF-8",
            "SHLVL": "0",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:1",
            "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
            "AWS_ENDPOINT_URL": "http://mine",
            "MINE": "é",
        }

    play(tmp_path, script)


def test_with_json_every_line_of_an_invocation_is_an_object(tmp_path: Path) -> None:
    source = """
        import logging, os
        logging.getLogger().warning("importing")
        def handler(event, context):
            logging.info("hidden"); logging.error({"a": 1}, extra={"level": os.environ["AWS_LAMBDA_LOG_LEVEL"]})
            if event: 1 / 0
    """

    async def script(rig: Rig) -> None:
        rig.deploy(source, logging=LoggingConfig("/aws/lambda/f", "JSON", "WARN", "DEBUG"))
        assert (await rig.invoke()).value is None
        failed = await rig.invoke("fail")
        lines = [json.loads(line) for line in failed.tail.splitlines()]
        assert [line.get("type", line.get("level")) for line in lines] == [
            "platform.start",
            "ERROR",
            "ERROR",
            "platform.runtimeDone",
            "platform.report",
        ]
        assert lines[2]["errorType"] == "ZeroDivisionError"
        assert lines[4]["record"]["errorType"] == "Runtime.Unknown"
        types = [json.loads(line).get("type") for line in rig.log.text.splitlines()]
        assert types[:5] == [
            "platform.initStart",
            None,
            "platform.initRuntimeDone",
            "platform.initReport",
            "platform.start",
        ]

    play(tmp_path, script)
