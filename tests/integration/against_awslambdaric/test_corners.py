"""Corners of a function's life where our bootstrap must look like AWS's runtime client, byte for byte.

The ordinary life is compared in ``test_ordinary_life.py``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.against_awslambdaric.judge import (
    ESCAPED,
    JSON_LOG,
    UNICODE,
    VARIABLES,
    Invocation,
    Outcome,
    check_same,
    run_awslambdaric,
    run_bootstrap,
)
from tests.integration.bootstrap_harness import (
    SUPPORTED_MINORS,
    ZygoteDriver,
    find_interpreter,
    write_files,
)

BOTH_LOGS = [{**ESCAPED}, {**UNICODE, **JSON_LOG}]


def _run_both(
    zygote: ZygoteDriver, folder: Path, source: str, variables: Mapping[str, str], event: bytes = b"1"
) -> tuple[Outcome, Outcome]:
    """Run one invocation on both without comparing."""
    write_files(folder, {"m.py": source})
    variables = {**VARIABLES, **variables}
    invocations = [Invocation(event)]
    theirs = run_awslambdaric(folder, "m.handler", invocations, variables)
    return run_bootstrap(zygote, folder, "m.handler", invocations, variables), theirs


# ---------------------------------------------------------------------------- results

VALUES = """
import array, collections, datetime, decimal, enum, fractions, pathlib, types, uuid
from dataclasses import dataclass
D = decimal.Decimal
class Flag(enum.IntFlag):
    A = 1
    B = 2
class Text(str):
    def __str__(self): return "another text"
    __repr__ = __str__
class Number(int):
    def __str__(self): return "another number"
class Money(D):
    def __str__(self): return "money"
class Later:
    def for_json(self): return {"for": "json"}
    def __json__(self): return {"json": 1}
    toJSON = __json__
class Raises:
    def _asdict(self): raise ValueError("no dict today")
class NotCallable:
    _asdict = {"a": 1}
class WithArguments:
    def _asdict(self, more): return {}
class DictAsDict(dict):
    def _asdict(self): return {"other": 1}
class Elements(list):
    def __iter__(self): return iter([7, 8])
class Pairs(tuple):
    def __iter__(self): return iter([9])
class Missing(dict):
    def __missing__(self, key): return 1
class Raw(bytes):
    pass
class TextKey(str):
    def __str__(self): return "other key"
class FloatKey(float):
    def __repr__(self): return "other float"
@dataclass
class Data:
    a: int = 1
def generator():
    yield 1
async def coroutine():
    return 1
nested = {}
for _ in range(200): nested = {"n": [nested, ()]}
same = [1]
VALUES = [
    datetime.datetime(2020, 1, 2), datetime.date(2020, 1, 2), datetime.timedelta(1), uuid.UUID(int=1),
    pathlib.PurePosixPath("/x"), fractions.Fraction(1, 3), array.array("i", [1]), Data(), Data,
    types.SimpleNamespace(a=1), types.MappingProxyType({"a": 1}), generator(), {}.keys(), {"a": 1}.items(),
    map(str, [1]), zip([1]), enumerate([1]), reversed([1]), slice(1), NotImplemented, print, type, int,
    Flag.A | Flag.B, {Flag.A: 1}, Text("text"), [Text("text")], {Text("k"): Text("v")}, Number(5), [Number(5)],
    {Number(5): 1}, Money("1.5"), [Money("1.5")], Later(), [Later()], Raises(), NotCallable(),
    WithArguments(), DictAsDict(a=1), Elements([1]), Pairs((1, 2)), Missing(a=1), {TextKey("a"): 1},
    {FloatKey(1.5): 1}, Raw(b"raw"), [Raw(b"raw")], nested, [same, same], {"a": same, "b": same},
    1e16, 1e22, 1e-5, 123e-7, 5e-324, 1.7976931348623157e308, 2.0, -2.5, float(2**53), 0.1 + 0.2,
    D("1e16"), D("1E-10"), D("123456789012345678901234567890.123"), D("-NaN"), D("NaN123"), [D("-0.00")],
    {"nan": float("nan"), "inf": [float("inf"), -float("inf")]}, {float("inf"): float("inf")},
    2**64, -2**63, 10**300, {2**64: 1}, True, {True: True, 1.0: 2}, {"": ""}, {"a": None}, {None: None},
    "\\u2028\\u2029", "\\x7f\\x9f", "</script>", "\\ufffe\\uffff", "\\U0010ffff", "e\\u0301", "\\\\u0041", "\\"",
    [[], {}, (), ""], [None] * 3, "x" * 70000, ["y" * 1000] * 100, list(range(5000)),
    b"\\x00" * 70000, memoryview(b"x"), bytearray(b""), {b"a": b"b"}, [b"\\xe2\\x82\\xac"], {b"\\xc3": 1},
    collections.namedtuple("Renamed", ["def", "a"], rename=True)(1, 2), enum.Enum("E", "A B").A,
    {1: {2: {3.5: {None: {False: []}}}}}, {(): 1}, {frozenset([1]): 1}, {D(1): 1}, {1j: 1}, {b"": 1},
]
def handler(event, context):
    return VALUES[event] if event is not None else len(VALUES)
"""
# How many there are; the first test checks it.
VALUES_COUNT = 103


def test_results_of_unusual_types_are_the_same_bytes(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": VALUES})
    payloads = [b"%d" % number for number in range(VALUES_COUNT)]
    for variables in (ESCAPED, UNICODE):
        outcome = check_same(zygote, code, "m.handler", [*payloads, b"null"], variables)
        assert outcome.answers[-1][1] == b"%d" % VALUES_COUNT


def test_lone_surrogates_are_escaped_where_a_runtime_escapes(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": "def handler(e, c): return [e, {e: 1}]"})
    payloads = [b'"\\ud800"', b'"\\udfff x"', b'"\\ud83d\\ude00"']
    check_same(zygote, code, "m.handler", payloads, ESCAPED)


EVENTS = [
    b"1e16", b"1E400", b"-1e400", b"0.1e-400", b"12345678901234567890", b'{"a": {"a": {}}}', b"[[[[]]]]",
    b'"\\u0000\\ud83d\\ude00\\/"', b' {"a" : [ ] } ', b"-0", b'{"": null}',
    b'"\xf0\x9f\x98\x80"', b'"' + b"z" * 100_000 + b'"', b"true", b"null",
]  # fmt: skip


def test_events_are_read_the_same(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": "def handler(e, c): return [repr(e)[:300], type(e).__name__]"})
    check_same(zygote, code, "m.handler", EVENTS, UNICODE)


# ---------------------------------------------------------------------------- errors

ERRORS = """
import sys
class Quiet(Exception):
    def __repr__(self): raise RuntimeError("no repr")
class Subtext(Exception):
    def __str__(self): return type("S", (str,), {})("a text of another type")
class Meta(type):
    @property
    def __name__(cls): return "renamed"
class Renamed(Exception, metaclass=Meta):
    pass
def after(cause, suppress):
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            if cause: raise ValueError("second") from first
            if suppress: raise ValueError("second") from None
            raise ValueError("second")
    except ValueError as second:
        raise TypeError("third")
def ping(n):
    if n == 0: raise OverflowError("deep")
    pong(n - 1)
def pong(n):
    ping(n - 1) if n > 0 else ping(0)
def many_lines():
    return (
        1
        / 0
    )
class Endless(Exception):
    def __str__(self): return "x" * 300_000
def handler(event, context):
    case = event
    if case == "cause": after(True, False)
    if case == "context": after(False, False)
    if case == "suppressed": after(False, True)
    if case == "quiet": raise Quiet(1)
    if case == "subtext": raise Subtext
    if case == "renamed": raise Renamed("x")
    if case == "unicode": raise type("Ünïcode", (Exception,), {})("ö")
    if case == "mutual": ping(400)
    if case == "lines": many_lines()
    if case == "lambda": (lambda: [0][1])()
    if case == "comprehension": [1 / n for n in (1, 0)]
    if case == "endless": raise Endless
    if case == "blank": raise Exception("   \\n\\t\\n")
    if case == "class": raise Exception
    if case == "many": raise Exception(1, "b", [3])
    if case == "bytes": raise Exception(b"bytes")
    if case == "unicode error": b"\\xff".decode()
    if case == "os": open("/not/there")
    if case == "key": {}[("a", 1)]
    if case == "import": import not_there
    if case == "syntax": compile("def", "<x>", "exec")
    if case == "syntax2": raise SyntaxError("by hand")
    if case == "attribute": context.no_such
    if case == "call": context()
    if case == "not": raise "text"
    if case == "notes":
        error = ValueError("with notes")
        if hasattr(error, "add_note"): error.add_note("a note")
        raise error
    if case == "groups" and sys.version_info >= (3, 11):
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError(1), OSError(2, "x")]), ValueError()])
    if case == "base group" and sys.version_info >= (3, 11):
        raise BaseExceptionGroup("base", [ValueError()])
    if case == "traceback":
        try: 1 / 0
        except ZeroDivisionError as error: raise error.with_traceback(None)
    if case == "again":
        try: 1 / 0
        except ZeroDivisionError as error: kept = error
        raise kept
    if case == "async": raise StopAsyncIteration(1)
    if case == "memory": raise MemoryError
    if case == "recursion": raise RecursionError("by hand")
    if case == "marshal": return {1, 2}
    if case == "warning": raise UserWarning("w")
    raise LookupError(case)
"""
ERROR_CASES = [
    "cause", "context", "suppressed", "quiet", "subtext", "renamed", "unicode", "mutual", "lines", "lambda",
    "comprehension", "endless", "blank", "class", "many", "bytes", "unicode error", "os", "key", "import",
    "syntax", "syntax2", "attribute", "call", "not", "notes", "groups", "traceback", "again", "async",
    "memory", "recursion", "marshal", "warning",
]  # fmt: skip


@pytest.mark.parametrize("variables", BOTH_LOGS, ids=["text", "json"])
def test_unusual_errors_are_the_same_bytes(
    zygote: ZygoteDriver, code: Path, variables: dict[str, str]
) -> None:
    write_files(code, {"m.py": ERRORS})
    payloads = [json.dumps(case).encode() for case in ERROR_CASES]
    outcome = check_same(zygote, code, "m.handler", payloads, variables)
    assert {kind for kind, _ in outcome.answers} == {"error"}
    assert len(outcome.answers) == len(ERROR_CASES)


@pytest.mark.parametrize(
    "source",
    [
        "def handler(): pass",
        "def handler(event): pass",
        "def handler(event, context, more): pass",
        "handler = None",
        "handler = len",
        "class handler: pass",
        "import functools\nhandler = functools.partial(int, 'x')",
        "async def handler(event, context): pass",
        "def handler(event, context): yield 1",
        "class H:\n  def __call__(self, e, c): return 1\nhandler = H()",
        "class H:\n  def f(self, e, c): raise KeyError(e)\nhandler = H().f",
    ],
)
def test_handlers_that_are_no_plain_function_behave_the_same(
    zygote: ZygoteDriver, code: Path, source: str
) -> None:
    ours, theirs = _run_both(zygote, code, source, UNICODE)
    assert ours.answers == theirs.answers
    if not source.startswith("async"):
        assert ours.log == theirs.log


FAILED_INITS: list[tuple[dict[str, str | bytes], str]] = [
    ({"m.py": "raise Exception"}, "m.handler"),
    ({"m.py": "raise ImportError"}, "m.handler"),
    ({"m.py": "raise ImportError('by hand', name='x', path='/y')"}, "m.handler"),
    ({"m.py": "raise SyntaxError('by hand')"}, "m.handler"),
    ({"m.py": "compile('x ==', '<s>', 'exec')"}, "m.handler"),
    ({"m.py": "def f():\n  try: 1 / 0\n  except ZeroDivisionError as e: raise KeyError from e\nf()"}, "m.handler"),
    ({"m.py": "raise MemoryError"}, "m.handler"),
    ({"m.py": "def __getattr__(name): raise ValueError(name)"}, "m.handler"),
    ({"m.py": "def __getattr__(name): raise AttributeError(name)"}, "m.handler"),
    ({"m.py": "print('out'); import sys; print('err', file=sys.stderr); 1 / 0"}, "m.handler"),
    ({"m.py": "import warnings; warnings.warn('w'); raise OSError(2, 'x', 'y')"}, "m.handler"),
    ({"m.py": "import m2", "m2.py": "import m3", "m3.py": "import absent"}, "m.handler"),
    ({"m.py": "import m2", "m2.py": "x = {\n"}, "m.handler"),
    ({"m.py": "import pack.inner", "pack/__init__.py": ""}, "m.handler"),
    ({"m.py": "from . import x"}, "m.handler"),
    ({"m.py": "x = 1\n\x00"}, "m.handler"),
    ({"m.py": "# coding: unknown\n"}, "m.handler"),
    ({"m.py": "  x = 1"}, "m.handler"),
    ({"m.py": "x = '" + "y" * 3000}, "m.handler"),
    ({"m.py": "é = )"}, "m.handler"),
    ({"m.py": ""}, "m.handler.more"),
    ({"m.py": ""}, ".handler"),
    ({"m.py": ""}, "m."),
    ({"m.py": ""}, "..m.handler"),
    ({"m.py": ""}, "m..handler"),
    ({"m.py": ""}, "/m.handler"),
    ({"m.py": ""}, "m py.handler"),
    ({"a/m.py": "x = 1", "a/__init__.py": ""}, "a.m.handler"),
    ({"a/m.py": "1 / 0"}, "a.m.handler"),
    ({"time.py": ""}, "time.handler"),
    ({"_io.py": ""}, "_io.x.handler"),
    ({"m.py": "raise Exception('line\\nline', 1)"}, "m.handler"),
    ({"m.py": "class E(Exception):\n  def __repr__(s): 1 / 0\nraise E('text')"}, "m.handler"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "handler"), FAILED_INITS)
def test_unusual_errors_at_import_are_the_same_bytes(
    zygote: ZygoteDriver, code: Path, files: dict[str, str | bytes], handler: str
) -> None:
    write_files(code, files)
    outcome = check_same(zygote, code, handler, [], ESCAPED)
    assert outcome.exit_code == 1
    assert [kind for kind, _ in outcome.answers] == ["init error"]


# ---------------------------------------------------------------------------- ends

ENDS = [
    "import sys\ndef handler(e, c): sys.exit()",
    "import sys\ndef handler(e, c): sys.exit(None)",
    "import sys\ndef handler(e, c): sys.exit(True)",
    "import sys\ndef handler(e, c): sys.exit(-1)",
    "import sys\ndef handler(e, c): sys.exit(300)",
    "import sys\ndef handler(e, c): sys.exit(2.5)",
    "import sys\ndef handler(e, c): sys.exit(['list'])",
    "def handler(e, c): raise SystemExit('é')",
    "import os\ndef handler(e, c): os._exit(0)",
    "import os\ndef handler(e, c): os._exit(9)",
    "import os\ndef handler(e, c): os.abort()",
    "import os\ndef handler(e, c): os.kill(os.getpid(), 9)",
    "import os\ndef handler(e, c): os.kill(os.getpid(), 15)",
    "import os\ndef handler(e, c): os.kill(os.getpid(), 11)",
    "import ctypes\ndef handler(e, c): ctypes.string_at(0)",
    "class E(BaseException): pass\ndef handler(e, c): raise E('mine')",
    "import sys\ndef handler(e, c):\n  try: sys.exit(6)\n  finally: print('finally')",
    "import atexit, sys\natexit.register(print, 'at exit')\ndef handler(e, c): print('x', end=''); sys.exit(7)",
    "import sys, threading\ndef handler(e, c): threading.Timer(0.05, print, 'x').start(); sys.exit(8)",
    "import os\nos._exit(3)",
    "import os\nos.abort()",
    "raise KeyboardInterrupt",
    "raise GeneratorExit('x')",
    "raise SystemExit",
    "import sys\nsys.exit('text')",
]  # fmt: skip


@pytest.mark.parametrize("source", ENDS)
def test_every_way_to_end_the_process_has_the_same_status(
    zygote: ZygoteDriver, code: Path, source: str
) -> None:
    ours, theirs = _run_both(zygote, code, source, UNICODE)
    assert ours.answers == theirs.answers == []
    assert ours.exit_code == theirs.exit_code
    last_lines = [b"".join(data for _, data in log).splitlines()[-1:] for log in (ours.log, theirs.log)]
    assert last_lines[0] == last_lines[1]


# ---------------------------------------------------------------------------- logs

LOGGING = """
import io, logging, sys, threading
root = logging.getLogger()
log = logging.getLogger("a.b")
class Thing:
    def __repr__(self): return "<thing>"
class Broken:
    def __str__(self): raise RuntimeError("no text")
def in_thread():
    log.warning("from a thread")
    print("print of a thread")
def handler(event, context):
    log.warning("one %s %d", "two", 3); log.warning("no %s arguments"); log.warning(Thing())
    log.warning(None); log.warning(""); log.warning(["a", 1]); log.warning("tab\\there\\rreturn")
    log.warning({"nested": {"thing": Thing(), "set": {1}}, "é": "ü"}); log.warning({}, extra={"a": 1})
    log.warning({1: 2}); log.warning("%(a)s %(b)s", {"a": 1, "b": 2}); log.warning("%s", {"a": 1})
    log.warning("extra", extra={"level": "mine", "message_": 1, "requestId": "mine", "tenantId": "t"})
    log.warning("more", extra={"stackTrace": "mine", "location": None, "timestamp": 0, "x": float("nan")})
    try:
        raise ValueError("é\\n line")
    except ValueError as error:
        log.error("caught", exc_info=error); log.error("again", exc_info=True, extra={"errorType": "mine"})
        log.log(logging.CRITICAL, "critical", exc_info=sys.exc_info())
    for level in (1, 9, 10, 15, 20, 29, 30, 39, 40, 49, 50, 51, 100):
        log.log(level, "level %d", level)
    logging.addLevelName(35, "NOTICE"); log.log(35, "notice")
    thread = threading.Thread(target=in_thread); thread.start(); thread.join()
    problems = []
    for message, arguments in (("%d", ("x",)), ("%s %s", (1,)), ("%s", (Broken(),))):
        try: log.warning(message, *arguments)
        except Exception as error: problems.append(repr(error))
    try: log.warning("outside", exc_info=True)
    except Exception as error: problems.append(repr(error))
    if event == "format":
        root.handlers[0].setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(aws_request_id)s:%(message)s"))
        log.warning("formatted"); log.warning("second line\\n")
    if event == "level":
        root.setLevel(logging.ERROR); log.warning("not shown"); log.error("shown")
        log.setLevel(logging.DEBUG); log.debug("shown too"); logging.disable(logging.ERROR); log.error("off")
        logging.disable(logging.NOTSET)
    if event == "handlers":
        stream = io.StringIO(); root.addHandler(logging.StreamHandler(stream)); log.warning("twice")
        problems.append(stream.getvalue())
        root.handlers.clear(); log.warning("nobody listens"); context.log("to stdout\\n")
        logging.basicConfig(stream=sys.stdout, format="%(message)s"); log.warning("basic")
    return problems
"""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        JSON_LOG,
        {"AWS_LAMBDA_LOG_LEVEL": "ERROR"},
        {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "WARN"},
        {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "FATAL"},
        {"AWS_LAMBDA_LOG_FORMAT": "Text", "AWS_LAMBDA_LOG_LEVEL": "NONSENSE"},
    ],
    ids=["text", "json", "text from ERROR", "json from WARN", "json from FATAL", "unknown level"],
)
def test_unusual_log_records_are_the_same_bytes(
    zygote: ZygoteDriver, code: Path, variables: dict[str, str]
) -> None:
    write_files(code, {"m.py": LOGGING})
    invocations = [
        Invocation(b'"plain"'),
        Invocation(b'"format"', tenant_id="tenant"),
        Invocation(b'"level"'),
        Invocation(b'"handlers"'),
    ]
    outcome = check_same(zygote, code, "m.handler", invocations, variables)
    assert [kind for kind, _ in outcome.answers] == ["application/json"] * 4


OUTPUT = """
import os, subprocess, sys
def handler(event, context):
    if event == "binary": sys.stdout.buffer.write(bytes(range(256)) + b"\\n"); sys.stdout.buffer.flush()
    if event == "nul": print("a\\x00b")
    if event == "long line": print("x" * 70_000)
    if event == "megabytes": print(("y" * 99 + "\\n") * 30_000, end="")
    if event == "error": print("z" * 70_000, file=sys.stderr)
    if event == "returns": print("one\\rtwo\\r\\nthree\\x0bfour\\x85five\\u2028six")
    if event == "partial": print("no end", end="")
    if event == "empty": print(); print(""); sys.stdout.write("")
    if event == "lines": sys.stdout.writelines(["a\\n", "b\\n", "c\\n"])
    if event == "raw": os.write(1, b"one\\n"); os.write(2, b"two\\n")
    if event == "child": subprocess.run(["/bin/echo", "child"])
    if event == "flush": print("flushed", end="", flush=True); os.write(1, b" raw\\n")
    if event == "surrogate": print("\\udcff")
    if event == "closed": sys.stdout.close()
    if event == "replaced":
        import io
        sys.stdout, kept = io.StringIO(), sys.stdout
        print("kept to itself"); text = sys.stdout.getvalue(); sys.stdout = kept; print("shown")
        return text
    return event
"""


def test_output_of_every_kind_is_the_same_bytes(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": OUTPUT})
    events = [
        "binary", "nul", "returns", "partial", "empty", "lines", "raw", "child", "flush", "surrogate",
        "replaced", "error", "long line", "megabytes",
    ]  # fmt: skip
    for event in events:
        variables = {**VARIABLES, **UNICODE}
        invocations = [Invocation(json.dumps(event).encode())]
        theirs = run_awslambdaric(code, "m.handler", invocations, variables)
        ours = run_bootstrap(zygote, code, "m.handler", invocations, variables)
        assert ours.answers == theirs.answers, event
        assert b"".join(data for _, data in ours.log) == b"".join(data for _, data in theirs.log), event


# ---------------------------------------------------------------------------- context

CONTEXT = """
import copy, time
names = ("aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version "
         "invoked_function_arn tenant_id").split()
def handler(event, context):
    given = context.client_context
    client = given and given.client
    left = context.get_remaining_time_in_millis()
    copied = copy.copy(context)
    context.mine = 1
    try: context.identity.other = 1
    except AttributeError as error: refused = str(error)
    return {
        "values": [getattr(context, name) for name in names], "repr": repr(context), "str": str(context),
        "vars": list(vars(context)), "types": [type(context).__name__, type(context.identity).__name__],
        "client": [repr(given), client and [getattr(client, name) for name in client.__slots__]],
        "custom": given and given.custom, "env": given and given.env, "w3c": context.w3c(),
        "slots": [context.identity.__slots__, given and given.__slots__, client and client.__slots__],
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "left": [type(left).__name__, left > 10**9], "copied": repr(copied) == repr(context),
        "refused": refused, "public": sorted(name for name in dir(context) if name[0] != "_"),
        "module": type(left).__module__,
    }
"""
CLIENT_CONTEXTS = [
    "", "{}", '{"client": null}', '{"client": {}}', '{"custom": [1], "env": "text"}', "null",
    '{"client": {"installation_id": "i", "app_title": "t", "app_version_name": 1, "more": 2}, "services": {}}',
    '{"client": {"app_version_code": null, "app_package_name": {"a": 1}}, "custom": {"k": "v"}, "env": {}}',
    '{"w3c": {"traceparent": "00-1", "tracestate": 5, "baggage": "b", "x": "y"}, "custom": {}}',
    '{"w3c": "text"}', '{"custom": {"w3c": 1}}', '{"client": {"w3c": {}}}', "not json", "{", '{"a": NaN}',
]  # fmt: skip


def test_the_context_is_the_same_for_every_client_context(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": CONTEXT})
    invocations = [Invocation(b"1", client_context=text) for text in CLIENT_CONTEXTS]
    invocations.append(Invocation(b"1", tenant_id="tenant", trace_id=""))
    outcome = check_same(zygote, code, "m.handler", invocations, {})
    kinds = [kind for kind, _ in outcome.answers]
    assert kinds.count("application/json") == len(invocations) - kinds.count("error")


def test_remaining_time_is_never_negative(zygote: ZygoteDriver, code: Path) -> None:
    with zygote.start(
        code, "def handler(e, c): return [c.get_remaining_time_in_millis() for _ in range(3)]"
    ) as f:
        assert f.call(deadline_ms=0) == [0, 0, 0]
        assert f.call(deadline_ms=1) == [0, 0, 0]


def test_the_trace_variable_is_the_same_whatever_became_of_the_environment(
    zygote: ZygoteDriver, code: Path
) -> None:
    source = """
        import os
        real = os.environ
        def handler(event, context):
            seen = [os.environ.get("_X_AMZN_TRACE_ID"), len(os.environ) > 5]
            if event == "dict": os.environ = {"a": "1"}
            if event == "copy": os.environ = real.copy()
            if event == "clear": os.environ.clear()
            if event == "real": os.environ = real
            if event == "pop": os.environ.pop("_X_AMZN_TRACE_ID", None)
            return seen
    """
    write_files(code, {"m.py": source})
    events = ["dict", "x", "x", "copy", "x", "real", "x", "pop", "x", "dict", "real", "clear", "x"]
    invocations = [
        Invocation(json.dumps(event).encode(), trace_id=f"Root={number}" if number % 3 else "")
        for number, event in enumerate(events)
    ]
    check_same(zygote, code, "m.handler", invocations, {})


def test_variables_of_the_function_are_those_given(zygote: ZygoteDriver, code: Path) -> None:
    source = "import os\ndef handler(e, c): return sorted(os.environ.items())"
    given = {**VARIABLES, **UNICODE, "EMPTY": "", "SPACES": " a b ", "QUOTES": "'\"$HOME`x`", "LINES": "a\nb"}
    with zygote.start(code, source, variables=given) as function:
        assert dict(function.call()) == given


def test_what_a_handler_changes_in_its_process_stays_for_the_next_invocation(
    zygote: ZygoteDriver, code: Path
) -> None:
    source = """
        import os, signal, sys
        def handler(event, context):
            before = [os.getcwd() == "/", os.umask(0o022), sys.getrecursionlimit(), os.environ.get("MINE"),
                      signal.getsignal(signal.SIGTERM) == signal.SIG_IGN]
            os.chdir("/"); os.umask(0o027); sys.setrecursionlimit(500); os.environ["MINE"] = "1"
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return before
    """
    write_files(code, {"m.py": source})
    outcome = check_same(zygote, code, "m.handler", [b"1", b"2", b"3"], {})
    assert outcome.answers[1][1] == outcome.answers[2][1] == b'[true, 23, 500, "1", true]'


HOSTILE = """
import builtins, gc, json, logging, os, resource, signal, struct, sys, threading, time, traceback
def broken(*args, **kwargs): raise RuntimeError("replaced")
def handler(event, context):
    if event == "json": json.dumps = json.loads = json.JSONEncoder = json.JSONDecoder = broken
    if event == "write": os.write = os.read = os.readv = broken
    if event == "clock": time.perf_counter_ns = time.perf_counter = time.monotonic = lambda: 0
    if event == "resource": resource.getrusage = broken
    if event == "struct": struct.pack = struct.unpack = struct.Struct = broken
    if event == "trace": sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)
    if event == "modules":
        for name in ("json", "struct", "resource", "time"): sys.modules.pop(name, None)
    if event == "streams": sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None
    if event == "handlers": logging.getLogger().handlers.clear(); logging.shutdown()
    if event == "gc": gc.disable(); gc.set_threshold(1)
    if event == "alarm": signal.signal(signal.SIGALRM, lambda *a: None); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    if event == "hook": sys.excepthook = threading.excepthook = broken
    if event == "builtins": builtins.print = builtins.open = builtins.__import__ = broken
    return event
"""


@pytest.mark.parametrize(
    "event",
    [
        "json",
        "write",
        "clock",
        "resource",
        "struct",
        "trace",
        "modules",
        "streams",
        "handlers",
        "gc",
        "alarm",
        "hook",
        "builtins",
    ],
)
def test_a_function_that_breaks_its_interpreter_still_answers(
    zygote: ZygoteDriver, code: Path, event: str
) -> None:
    with zygote.start(code, HOSTILE) as function:
        for given in (event, "next", event):
            assert function.call(given) == given
        large = "x" * 200_000
        assert function.call(large) == large


def test_libraries_that_freeze_time_do_not_break_the_answer(zygote: ZygoteDriver, code: Path) -> None:
    source = """
        import sys, time
        real = {time.perf_counter_ns: lambda: 0, time.time: lambda: 0.0, time.time_ns: lambda: 0}
        def handler(event, context):
            for module in list(sys.modules.values()):
                for name, value in list(vars(module).items()):
                    if type(value) is type(time.time) and value in real:
                        setattr(module, name, real[value])
            return time.time()
    """
    with zygote.start(code, source) as function:
        assert function.call() == 0
        reply = function.invoke()
        assert reply.value == 0
        assert reply.duration_us < 60_000_000


def test_environment_of_the_tests_is_not_that_of_the_function(zygote: ZygoteDriver, code: Path) -> None:
    with zygote.start(code, "import os\ndef handler(e, c): return dict(os.environ)") as function:
        assert not set(function.call()) & set(os.environ)


@pytest.mark.parametrize("minor", [minor for minor in SUPPORTED_MINORS if minor != sys.version_info[1]])
def test_other_pythons_look_like_awss_client_too(minor: int, code: Path) -> None:
    interpreter = find_interpreter(minor)
    if interpreter is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    write_files(code, {"errors.py": ERRORS, "logs.py": LOGGING, "values.py": VALUES, "context.py": CONTEXT})
    write_files(code, {"none.py": "handler = None", "fewer.py": "def handler(): pass"})
    runtime = {"AWS_EXECUTION_ENV": f"AWS_Lambda_python3.{minor}"}
    errors = [json.dumps(case).encode() for case in ERROR_CASES]
    values = [b"%d" % number for number in range(VALUES_COUNT)]
    logs = [b'"plain"', b'"format"', b'"level"', b'"handlers"']
    contexts = [Invocation(b"1", client_context=text) for text in CLIENT_CONTEXTS]
    with ZygoteDriver(interpreter) as zygote:
        for variables in (runtime, {**runtime, **JSON_LOG}):
            check_same(zygote, code, "errors.handler", errors, variables, interpreter)
            check_same(zygote, code, "logs.handler", logs, variables, interpreter)
        check_same(zygote, code, "values.handler", values, runtime, interpreter)
        check_same(zygote, code, "context.handler", contexts, runtime, interpreter)
        for handler in ("none.handler", "fewer.handler"):
            check_same(zygote, code, handler, [b"1"], runtime, interpreter)
