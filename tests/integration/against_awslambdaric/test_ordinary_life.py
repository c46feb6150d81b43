"""The bootstrap against AWS's own runtime client: same handlers, same bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.integration.against_awslambdaric.judge import (
    ESCAPED,
    JSON_LOG,
    UNICODE,
    VARIABLES,
    Invocation,
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

# ------------------------------------------------------------------------- the cases

RESULTS = """
import collections, decimal, enum, math
D = decimal.Decimal
Pair = collections.namedtuple("Pair", "a b")
class Colour(enum.IntEnum):
    RED = 1
class Word(str, enum.Enum):
    A = "x"
class Plain(enum.Enum):
    A = 1
class Odd(int):
    def __repr__(self): return "odd"
    __str__ = __repr__
class Third(float):
    def __repr__(self): return "third"
class HasAsDict:
    def _asdict(self): return {"q": (1, None)}
class WrongAsDict:
    def _asdict(self): return 5
class ListWithAsDict(list):
    def _asdict(self): return {"l": 1}
class OtherItems(dict):
    def items(self): return [("z", 1)]
class Broken:
    def __str__(self): raise RuntimeError("no text")
loop = []; loop.append(loop)
loop_dict = {}; loop_dict["again"] = [loop_dict]
deep = []
for _ in range(3000): deep = [deep]
VALUES = [
    None, True, False, 0, -1, 2**70, "", "text", [], {}, (), [1, "a", None, True, 1.5], (1, (2, [3])),
    {"a": {"b": [{}]}, "c": []}, 1e16, 1e15, 123456789012345678.0, 1e-7, -0.0, 0.1, 1e300,
    math.nan, math.inf, -math.inf, [math.nan, math.inf], {"x": math.nan},
    {1: 1, 1.5: 2, None: 3, False: 4, math.nan: 5, math.inf: 6, 2**70: 7, "s": 8}, {True: 1, "true": 2},
    "é ü 漢字 \\U0001f600", {"é": "ñ"}, "a\\ufeffb",
    "\\x00\\x1f\\x7f\\x80\\u2028\\u2029\\"\\\\/\\b\\f\\n\\r\\t",
    D("1.10"), D("1E+3"), D("NaN"), D("-sNaN"), D("Infinity"), D("-Infinity"), D("-0"),
    [D("3.14"), {"k": D(7)}], {D(1): 1},
    Pair(1, 2), [Pair("x", Pair(None, D("2.0")))], {"n": Pair(1, b"bytes")}, Pair,
    Colour.RED, {Colour.RED: Colour.RED}, Word.A, {Word.A: 1}, Plain.A, {Plain.A: 1},
    Odd(5), {Odd(5): Odd(6)}, Third(1.5), {Third(1.5): Third(2.5)},
    HasAsDict(), [HasAsDict()], WrongAsDict(), ListWithAsDict([1]), OtherItems(a=1),
    collections.OrderedDict(b=1, a=2), collections.defaultdict(int, x=1), collections.Counter("aab"),
    collections.deque([1]), collections.UserDict(a=1), collections.ChainMap({"a": 1}),
    b"raw bytes \\xff\\x00", b"", bytearray(b"x"), [b"text"], {"b": b"\\xc3\\xa9"}, {b"key": 1},
    [b"\\xff"], {b"\\xff": 1}, [bytearray(b"x")], [memoryview(b"x")],
    {1, 2}, frozenset(), 1j, object, object.__new__, range(3), ..., iter([]),
    {(1, 2): 3}, {Pair(1, 2): 3}, {frozenset(): 1}, {object: 1}, loop, loop_dict, [loop_dict, 1], 10**4400,
    [1, [2, {"x": {3}}]], deep, lambda: 1, ValueError("x"), decimal, [Plain.A], {"a": [1, {"b": Plain.A}]},
]
def handler(event, context):
    return VALUES[event] if event is not None else len(VALUES)
"""

ERRORS = """
import builtins, json, logging
class Custom(Exception):
    pass
class NoText(Exception):
    def __str__(self): return ""
class Grouped(Exception):
    def __init__(self, a, b): super().__init__(a, b)
def chained():
    try:
        {}["cause"]
    except KeyError as error:
        raise Custom("after the cause") from error
def nested(depth):
    if not depth:
        raise ValueError("at the bottom\\nsecond line\\n\\n    indented é \\u2028 end")
    nested(depth - 1)
def endless():
    endless()
def compiled():
    exec(compile("\\n\\nraise OSError(2, 'generated')", "<generated>", "exec"))
def handler(event, context):
    case = event["case"]
    if case == "chained": chained()
    if case == "nested": nested(2)
    if case == "no text": raise NoText
    if case == "two": raise Grouped("a", 2)
    if case == "library": json.loads("{")
    if case == "endless": endless()
    if case == "compiled": compiled()
    if case == "assert": assert event == 1, (1, "x")
    if case == "one line": raise Custom(("x" * 5000))
    if case == "generator": return [x for x in (1 / n for n in (1, 0))]
    if case == "type": return handler()
    if case == "html": raise Exception("<a href='x'>\\"quoted\\" \\\\ back \\x7f\\x00 </a>")
    if case == "stop": raise StopIteration("enough")
    if case == "group" and hasattr(builtins, "ExceptionGroup"):
        raise builtins.ExceptionGroup("g", [ValueError(1)])
    raise LookupError(case)
"""
ERROR_CASES = [
    "chained", "nested", "no text", "two", "library", "endless", "compiled", "assert", "one line",
    "generator", "type", "html", "stop", "group",
]  # fmt: skip

LOGGING = """
import logging, sys, subprocess, warnings
log = logging.getLogger("my.logger")
print("while importing")
log.warning("while importing %s", 1)
def handler(event, context):
    if event == "level":
        logging.getLogger().setLevel(logging.DEBUG)
    print("out", {"a": 1}); print("err", file=sys.stderr); sys.stdout.write("half ")
    log.debug("debug"); log.info("info"); log.error("several\\nlines"); logging.critical("é \\u2028")
    log.warning("extra", extra={"order": 7, "thing": {1, 2}, "nothing": None, "message2": "m"})
    log.log(25, "between"); log.log(5, "low"); log.log(60, "high")
    log.warning({"an": "object", "n": 1}); log.warning({"a": 1}, extra={"b": 2})
    log.warning("%(name)s", {"name": "mapping"})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
        log.warning("also", stack_info=False, exc_info=True)
    context.log("from context"); context.log({"any": "thing"})
    warnings.warn("warned", stacklevel=1)
    return repr(context)
"""


def test_results_of_every_kind_are_the_same_bytes(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": RESULTS})
    count = int(run_bootstrap(zygote, code, "m.handler", [Invocation(b"null")], VARIABLES).answers[0][1])
    payloads = [b"%d" % number for number in range(count)]
    for variables in (ESCAPED, UNICODE):
        outcome = check_same(zygote, code, "m.handler", payloads, variables)
        assert len(outcome.answers) == count
        assert {kind for kind, _ in outcome.answers} == {"application/json", "application/unknown", "error"}


def test_errors_are_the_same_bytes_in_answer_and_log(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": ERRORS})
    payloads = [json.dumps({"case": case}).encode() for case in ERROR_CASES]
    for variables in (ESCAPED, {**UNICODE, **JSON_LOG}):
        outcome = check_same(zygote, code, "m.handler", payloads, variables)
        assert {kind for kind, _ in outcome.answers} == {"error"}


@pytest.mark.parametrize(
    "variables",
    [{}, JSON_LOG, {"AWS_LAMBDA_LOG_LEVEL": "TRACE"}, {"AWS_LAMBDA_LOG_FORMAT": "json"}],
    ids=["text", "json", "text with a level", "json without a level"],
)
def test_log_is_the_same_bytes_in_the_same_events(
    zygote: ZygoteDriver, code: Path, variables: dict[str, str]
) -> None:
    write_files(code, {"m.py": LOGGING})
    given = json.dumps({"client": {"app_title": "t"}, "custom": {}, "unknown": 1})
    invocations = [
        Invocation(b"1"),
        Invocation(b'"level"', client_context=given, tenant_id="tenant-1"),
        Invocation(b"2", trace_id="", client_context="{}"),
        Invocation(b"3", client_context="not json"),
    ]
    outcome = check_same(zygote, code, "m.handler", invocations, variables)
    assert [kind for kind, _ in outcome.answers] == ["application/json"] * 3 + ["error"]


def test_client_context_of_the_wrong_shape_is_the_same_error(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": "def handler(e, c): return 1"})
    invocations = [Invocation(b"3", client_context=text) for text in ("[1]", '{"client": "text"}')]
    theirs = run_awslambdaric(code, "m.handler", invocations, VARIABLES)
    ours = run_bootstrap(zygote, code, "m.handler", invocations, VARIABLES)
    for mine, other in zip(ours.answers, theirs.answers, strict=True):
        # Its stack is inside of the runtime: nothing of the user's, and not ours to imitate.
        assert {**json.loads(mine[1]), "stackTrace": []} == {**json.loads(other[1]), "stackTrace": []}


FAILED_INITS: list[tuple[dict[str, str | bytes], str]] = [
    ({}, "missing.handler"),
    ({"m.py": "import not_there"}, "m.handler"),
    ({"m.py": "from json import not_there"}, "m.handler"),
    ({"m.py": "from n import not_there", "n.py": ""}, "m.handler"),
    ({"m.py": "x = 1"}, "m.handler"),
    ({"m.py": "x = 1"}, "m"),
    ({"m.py": "x = 1"}, ""),
    ({"m.py": "def handler(:\n  pass"}, "m.handler"),
    ({"m.py": "def handler():\n\tpass\n        pass"}, "m.handler"),
    ({"m.py": "import n", "n.py": "é = 'unterminated"}, "m.handler"),
    ({"m.py": b"x = '\xff'"}, "m.handler"),
    ({"sys.py": ""}, "sys.handler"),
    ({"a/b/m.py": "1 / 0"}, "a/b/m.handler"),
    ({"m.py": "def f():\n  raise ValueError('é\\n  two')\nimport n", "n.py": "import m\nm.f()"}, "m.handler"),
    ({"m.py": "import logging; logging.getLogger().setLevel('ERROR'); {}['x']"}, "m.handler"),
]


@pytest.mark.parametrize(("files", "handler"), FAILED_INITS)
def test_failed_init_is_the_same_bytes(
    zygote: ZygoteDriver, code: Path, files: dict[str, str | bytes], handler: str
) -> None:
    write_files(code, files)
    outcome = check_same(zygote, code, handler, [], ESCAPED)
    assert outcome.exit_code == 1
    assert [kind for kind, _ in outcome.answers] == ["init error"]


@pytest.mark.parametrize(("files", "handler"), FAILED_INITS[::6])
def test_failed_init_is_the_same_bytes_in_a_json_log(
    zygote: ZygoteDriver, code: Path, files: dict[str, str | bytes], handler: str
) -> None:
    write_files(code, files)
    check_same(zygote, code, handler, [], {**UNICODE, **JSON_LOG})


def test_characters_beyond_ascii_in_an_init_error_are_utf8(zygote: ZygoteDriver, code: Path) -> None:
    """The client posts this one body as Latin-1, which no reader of JSON takes: there we differ."""
    write_files(code, {"m.py": "raise ValueError('é')"})
    variables = {**VARIABLES, **UNICODE}
    theirs = run_awslambdaric(code, "m.handler", [], variables)
    ours = run_bootstrap(zygote, code, "m.handler", [], variables)
    assert ours.answers[0][1].decode() == theirs.answers[0][1].decode("latin-1")


@pytest.mark.parametrize(
    ("source", "exit_code"),
    [
        ("def handler(e, c): return '\\ud800'", 1),
        ("def handler(e, c): raise ValueError('\\ud800')", 1),
        ("import sys; sys.exit(4)", 4),
        ("import sys\ndef handler(e, c): sys.exit(5)", 5),
        ("import sys\ndef handler(e, c): sys.exit('text')", 1),
        ("class E(Exception):\n  def __str__(s): 1 / 0\ndef handler(e, c): raise E", 1),
        ("def handler(e, c): raise KeyboardInterrupt", -2),
        ("def handler(e, c): raise GeneratorExit", 1),
    ],
)
def test_ends_of_the_process_are_the_same(
    zygote: ZygoteDriver, code: Path, source: str, exit_code: int
) -> None:
    write_files(code, {"m.py": source})
    variables = {**VARIABLES, **UNICODE}
    theirs = run_awslambdaric(code, "m.handler", [Invocation(b"1")], variables)
    ours = run_bootstrap(zygote, code, "m.handler", [Invocation(b"1")], variables)
    assert ours.answers == theirs.answers == []
    assert ours.exit_code == theirs.exit_code == exit_code
    # What Python prints then ends alike; the frames of the runtime itself differ.
    last_lines = [b"".join(data for _, data in log).splitlines()[-1:] for log in (ours.log, theirs.log)]
    assert last_lines[0] == last_lines[1]


def test_numbers_that_python_refuses_to_read_are_the_same_error(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": "def handler(e, c): return str(type(e)) + str(e)[:20]"})
    payloads = [b"1" * 4301, b"1" * 4300, b"-0", b"-0.0", b"1e400", b" \n[1]\t ", b'{"a":1,"a":2}', b""]
    check_same(zygote, code, "m.handler", payloads, UNICODE)


def test_without_frames_each_message_is_whole_lines(zygote: ZygoteDriver, code: Path) -> None:
    write_files(code, {"m.py": LOGGING})
    invocations = [Invocation(b"1")]
    framed = run_bootstrap(zygote, code, "m.handler", invocations, VARIABLES)
    plain = run_bootstrap(zygote, code, "m.handler", invocations, VARIABLES, has_frames=False)
    whole = [data if kind == "raw" or data.endswith(b"\n") else data + b"\n" for kind, data in framed.log]
    assert plain.log == [("raw", b"".join(whole))]


@pytest.mark.parametrize("minor", [minor for minor in SUPPORTED_MINORS if minor != sys.version_info[1]])
def test_errors_and_logs_are_the_same_bytes_on_other_pythons(minor: int, code: Path) -> None:
    interpreter = find_interpreter(minor)
    if interpreter is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    write_files(code, {"m.py": ERRORS, "n.py": LOGGING, "broken.py": "def f(:", "zero.py": "1 / 0"})
    runtime = {"AWS_EXECUTION_ENV": f"AWS_Lambda_python3.{minor}"}
    payloads = [json.dumps({"case": case}).encode() for case in ERROR_CASES]
    # Where the C stack ends, and in which words, is not the runtime's doing.
    payloads.remove(b'{"case": "endless"}')
    with ZygoteDriver(interpreter) as zygote:
        outcome = check_same(zygote, code, "m.handler", payloads, runtime, interpreter)
        assert [kind for kind, _ in outcome.answers] == ["error"] * len(payloads)
        for variables in ({}, JSON_LOG):
            outcome = check_same(zygote, code, "n.handler", [b"1"], {**runtime, **variables}, interpreter)
            assert len(outcome.log) > 10
        for handler in ("broken.handler", "zero.handler", "none.handler"):
            outcome = check_same(zygote, code, handler, [], runtime, interpreter)
            assert [kind for kind, _ in outcome.answers] == ["init error"]
