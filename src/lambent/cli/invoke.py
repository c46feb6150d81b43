"""``lambent invoke``: one call; the payload on standard output, everything else beside it."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import click

from lambent.cli.endpoint import INVOKE_TIMEOUT_S, Endpoint, server_options
from lambent.cli.output import CommandError, json_option, note, step, write_json, write_payload, write_result


@click.command()
@click.argument("name")
@click.argument("payload", required=False)
@click.option("--payload", "payload_option", metavar="TEXT|file://…|fileb://…", help="As in the AWS CLI.")
@click.option("--tail", is_flag=True, help="Show the end of the function's log on standard error.")
@click.option("--event", "is_event", is_flag=True, help="Queue it and do not wait; prints the request id.")
@json_option
@server_options
def invoke(
    name: str,
    payload: str | None,
    payload_option: str | None,
    tail: bool,
    is_event: bool,
    as_json: bool,
    endpoint: Endpoint,
) -> None:
    """Call the function NAME and print what it returns.

    PAYLOAD is JSON text, @FILE for a file's content, or - for standard input; without
    one the event is {}. Exit status: 0 the function answered, 1 it failed, 2 the call
    was refused or no server was reached.
    """
    event = read_payload(payload, payload_option)
    if is_event:
        if tail:
            raise click.UsageError("--tail needs the function's answer, for which --event does not wait.")
        _queue(endpoint, name, event, as_json)
        return
    answer = _call(endpoint, name, event, tail)
    result = answer["Payload"].read()
    if tail:
        note(base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace").rstrip("\n"))
    if as_json:
        write_json(_as_json(answer, result))
    else:
        write_payload(result)
    if "FunctionError" in answer:
        note(f"lambent: {name} failed: {_error_text(result)}")
        sys.exit(1)


def read_payload(argument: str | None, option: str | None) -> bytes:
    """Return the event's bytes from the two ways of giving it.

    Args:
        argument: text, ``@file`` or ``-`` for standard input.
        option: text, ``file://path`` or ``fileb://path``.
    """
    if argument is not None and option is not None:
        raise click.UsageError("Give the payload once: as an argument or with --payload.")
    if argument == "-":
        return sys.stdin.buffer.read()
    if argument is not None and argument.startswith("@"):
        return _file(argument.removeprefix("@"))
    for prefix in ("file://", "fileb://"):
        if option is not None and option.startswith(prefix):
            return _file(option.removeprefix(prefix))
    return (argument or option or "").encode("utf-8", "surrogateescape")


def _file(name: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as error:
        raise CommandError(f"The payload's file {name} cannot be read: {error.strerror}.") from error


def _call(endpoint: Endpoint, name: str, event: bytes, tail: bool) -> Any:
    client = endpoint.lambda_client(read_timeout_s=INVOKE_TIMEOUT_S)
    options: dict[str, Any] = {"LogType": "Tail"} if tail else {}
    with endpoint.answers():
        if not sys.stderr.isatty():
            return client.invoke(FunctionName=name, Payload=event, **options)
        with step(f"running {name}"):
            return client.invoke(FunctionName=name, Payload=event, **options)


def _queue(endpoint: Endpoint, name: str, event: bytes, as_json: bool) -> None:
    client = endpoint.lambda_client()
    with endpoint.answers():
        answer = client.invoke(FunctionName=name, Payload=event, InvocationType="Event")
    request_id = answer["ResponseMetadata"]["RequestId"]
    if as_json:
        write_json({"StatusCode": answer["StatusCode"], "RequestId": request_id})
    else:
        write_result(request_id)


def _as_json(answer: Any, result: bytes) -> dict[str, Any]:
    """The answer with AWS's names; a payload that is no JSON stays text.

    What Python takes for JSON and others do not is none: NaN, and numbers that become infinite.
    """
    shown: dict[str, Any] = {"StatusCode": answer["StatusCode"]}
    for member in ("FunctionError", "ExecutedVersion"):
        if member in answer:
            shown[member] = answer[member]
    shown["RequestId"] = answer["ResponseMetadata"].get("RequestId")
    try:
        payload = json.loads(result)
        json.dumps(payload, allow_nan=False)
        shown["Payload"] = payload
    except (ValueError, RecursionError):
        shown["Payload"] = result.decode("utf-8", "replace")
    return shown


def _error_text(result: bytes) -> str:
    try:
        error = json.loads(result)
        kind, message = error.get("errorType"), error.get("errorMessage")
    except (ValueError, AttributeError, RecursionError):
        return "see the payload"
    return ": ".join(str(part) for part in (kind, message) if part) or "see the payload"
