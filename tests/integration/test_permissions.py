"""Resource policies over the API: what is answered, byte by byte, and every refusal.

Source: docs/aws-behaviour.md, versions-permissions 5.2, 5.4, 5.6 and 5.8.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Functions, publish_live, running_server
from tests.integration.functions_harness import ARN, UUID, members_of, place, refusal, status_of
from tests.integration.wire import Peer

Deploy = Callable[..., str]
Refusal = tuple[int, str, str]

QUICK = "def handler(event, context):\n    return event\n"
TARGETS = [None, "1", "live"]
BAD_PRINCIPAL = "The provided principal was invalid. Please check the principal and try again."
NO_POLICY = "The resource you requested does not exist."
TAKEN = (
    "The statement id (s3) provided already exists. "
    "Please provide a new statement id, or remove the existing statement."
)
STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetPolicy API to retrieve the latest Revision Id"
)


@pytest.fixture
def name(deploy: Deploy, client: Any) -> str:
    """A function with the version 1 and the alias live."""
    return publish_live(client, deploy(QUICK))


def statement(sid: str = "s3", **changes: Any) -> dict[str, Any]:
    """Return AddPermission's members beside the target."""
    return {
        "StatementId": sid,
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
        **changes,
    }


def invalid(text: str) -> Refusal:
    return 400, "InvalidParameterValueException", text


def not_found(text: str) -> Refusal:
    return 404, "ResourceNotFoundException", text


def sids(client: Any, **where: str) -> list[str]:
    """Return the ids of a policy's statements, in their order."""
    return [one["Sid"] for one in json.loads(client.get_policy(**where)["Policy"])["Statement"]]


# -- what is answered


@pytest.mark.parametrize("qualifier", TARGETS)
def test_a_permission_is_added_shown_and_removed(client: Any, name: str, qualifier: str | None) -> None:
    where = place(name, qualifier)
    arn = f"{ARN}{name}" if qualifier is None else f"{ARN}{name}:{qualifier}"
    added = client.add_permission(**where, **statement(SourceArn="arn:aws:s3:::b", SourceAccount="0" * 12))
    assert status_of(added) == 201
    assert members_of(added) == {"Statement"}
    assert added["Statement"] == (
        '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
        f'"Action":"lambda:InvokeFunction","Resource":"{arn}",'
        '"Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"},'
        '"StringEquals":{"AWS:SourceAccount":"000000000000"}}}'
    )
    other = client.add_permission(**where, **statement("other"))["Statement"]

    got = client.get_policy(**where)
    assert status_of(got) == 200
    assert members_of(got) == {"Policy", "RevisionId"}
    statements = f"{added['Statement']},{other}"
    assert got["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{statements}]}}'
    assert UUID.fullmatch(got["RevisionId"])
    for absent in {None, "1", "live"} - {qualifier}:
        assert refusal(client.get_policy, **place(name, absent)) == not_found(NO_POLICY)

    removed = client.remove_permission(**where, StatementId="s3")
    assert (status_of(removed), members_of(removed)) == (204, set())
    assert sids(client, **where) == ["other"]
    client.remove_permission(**where, StatementId="other")
    assert refusal(client.get_policy, **where) == not_found(NO_POLICY)
    # The policy is gone, not empty.
    assert refusal(client.remove_permission, **where, StatementId="other") == not_found(
        "No policy is associated with the given resource."
    )


def test_on_the_wire_policies_are_texts(client: Any, peer: Peer, name: str) -> None:
    path = f"/2015-03-31/functions/{name}/policy"
    body = json.dumps(statement(Principal="*")).encode()
    peer.send(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    answer = peer.receive()
    assert answer.status == 201
    written = answer.json["Statement"]
    assert answer.json == {"Statement": written}
    assert written == (
        '{"Sid":"s3","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction",'
        f'"Resource":"{ARN}{name}"}}'
    )
    peer.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = peer.receive()
    assert answer.status == 200
    assert list(answer.json) == ["Policy", "RevisionId"]
    assert answer.json["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{written}]}}'
    peer.send(f"DELETE {path}/s3 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = peer.receive()
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("qualifier", ["1", "live"])
def test_a_name_may_end_in_the_qualifier(client: Any, name: str, qualifier: str) -> None:
    full = f"{ARN}{name}:{qualifier}"
    added = client.add_permission(FunctionName=full, **statement())
    assert json.loads(added["Statement"])["Resource"] == full
    assert sids(client, **place(name, qualifier)) == ["s3"]
    client.remove_permission(FunctionName=f"{name}:{qualifier}", Qualifier=qualifier, StatementId="s3")
    assert refusal(client.get_policy, FunctionName=full) == not_found(NO_POLICY)


@pytest.mark.parametrize("action", ["lambda:InvokeFunction", "lambda:GetFunction", "lambda:*", "*"])
def test_actions_are_kept_as_they_are_given(client: Any, name: str, action: str) -> None:
    added = client.add_permission(FunctionName=name, **statement(Action=action))
    assert json.loads(added["Statement"])["Action"] == action


@pytest.mark.parametrize(
    ("given", "principal", "condition"),
    [
        ({"Principal": "*"}, "*", None),
        ({"Principal": "events.amazonaws.com"}, {"Service": "events.amazonaws.com"}, None),
        ({"Principal": "111122223333"}, {"AWS": "arn:aws:iam::111122223333:root"}, None),
        (
            {"Principal": "arn:aws:iam::111122223333:role/deploy"},
            {"AWS": "arn:aws:iam::111122223333:role/deploy"},
            None,
        ),
        (
            {"Principal": "*", "SourceArn": "arn:aws:sns:us-east-1:111122223333:t"},
            "*",
            {"ArnLike": {"AWS:SourceArn": "arn:aws:sns:us-east-1:111122223333:t"}},
        ),
        (
            {"Principal": "*", "SourceAccount": "111122223333"},
            "*",
            {"StringEquals": {"AWS:SourceAccount": "111122223333"}},
        ),
        (
            {"Principal": "*", "PrincipalOrgID": "o-abcdefghij"},
            "*",
            {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        ),
        (
            {"Principal": "alexa-appkit.amazon.com", "EventSourceToken": "amzn1.ask.skill.x-1"},
            {"Service": "alexa-appkit.amazon.com"},
            {"StringEquals": {"lambda:EventSourceToken": "amzn1.ask.skill.x-1"}},
        ),
        (
            {"Principal": "*", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
            "*",
            {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        ),
        (
            {"Principal": "*", "InvokedViaFunctionUrl": True},
            "*",
            {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
        ),
    ],
)
def test_each_parameter_becomes_its_part_of_the_statement(
    client: Any, name: str, given: dict[str, Any], principal: Any, condition: Any
) -> None:
    added = json.loads(client.add_permission(FunctionName=name, **statement(**given))["Statement"])
    assert list(added)[:5] == ["Sid", "Effect", "Principal", "Action", "Resource"]
    assert (added["Principal"], added.get("Condition")) == (principal, condition)


def test_a_policy_has_a_revision_of_its_own(client: Any, name: str) -> None:
    own = client.get_function_configuration(FunctionName=name)["RevisionId"]
    seen = {own}
    for number in range(3):
        client.add_permission(FunctionName=name, **statement(f"s{number}"))
        seen.add(client.get_policy(FunctionName=name)["RevisionId"])
    latest = client.get_policy(FunctionName=name)["RevisionId"]
    client.remove_permission(FunctionName=name, StatementId="s0", RevisionId=latest)
    latest = client.get_policy(FunctionName=name)["RevisionId"]
    client.add_permission(FunctionName=name, **statement("s3", RevisionId=latest))
    seen |= {latest, client.get_policy(FunctionName=name)["RevisionId"]}
    assert len(seen) == 6
    assert client.get_function_configuration(FunctionName=name)["RevisionId"] == own


def test_policies_survive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        made = Functions(client)(QUICK)
        client.add_permission(FunctionName=made, **statement())
        before = client.get_policy(FunctionName=made)
    with running_server(tmp_path) as server:
        after = server.client().get_policy(FunctionName=made)
    assert (after["Policy"], after["RevisionId"]) == (before["Policy"], before["RevisionId"])


def test_a_policy_goes_with_what_it_belongs_to(client: Any, name: str) -> None:
    for qualifier in TARGETS:
        client.add_permission(**place(name, qualifier), **statement())
    client.delete_alias(FunctionName=name, Name="live")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    assert refusal(client.get_policy, **place(name, "live")) == not_found(NO_POLICY)
    client.delete_function(FunctionName=name, Qualifier="1")
    assert refusal(client.get_policy, **place(name, "1")) == not_found(NO_POLICY)
    assert sids(client, FunctionName=name) == ["s3"]
    client.delete_function(FunctionName=name)
    Functions(client)(QUICK, FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    for qualifier in TARGETS:
        assert refusal(client.get_policy, **place(name, qualifier)) == not_found(NO_POLICY)


# -- what is refused


def refused_add(client: Any, name: str, **changes: Any) -> Refusal:
    return refusal(client.add_permission, FunctionName=name, **statement(**changes))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"sid": "s.3"},
            (
                "Value 's.3' at 'statementId' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"
            ),
        ),
        (
            {"sid": "a" * 101},
            (
                f"Value '{'a' * 101}' at 'statementId' failed to satisfy constraint: "
                "Member must have length less than or equal to 100"
            ),
        ),
        (
            {"Action": "s3:GetObject"},
            (
                "Value 's3:GetObject' at 'action' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])"
            ),
        ),
        (
            {"Action": "lambda:Invoke*"},
            (
                "Value 'lambda:Invoke*' at 'action' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])"
            ),
        ),
        (
            {"Principal": "a b"},
            (
                "Value 'a b' at 'principal' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: [^\s]+"
            ),
        ),
        (
            {"SourceAccount": "1"},
            (
                "Value '1' at 'sourceAccount' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: \d{12}"
            ),
        ),
        (
            {"FunctionUrlAuthType": "OPEN"},
            (
                "Value 'OPEN' at 'functionUrlAuthType' failed to satisfy constraint: "
                "Member must satisfy enum value set: [NONE, AWS_IAM]"
            ),
        ),
    ],
)
def test_what_the_model_forbids_is_a_validation_error(
    trusting: Any, name: str, given: dict[str, Any], problem: str
) -> None:
    text = f"1 validation error detected: {problem}"
    assert refused_add(trusting, name, **given) == (400, "ValidationException", text)


@pytest.mark.parametrize("principal", ["nonsense", "1234", "arn:aws:s3:::bucket", "arn:aws:iam::1:root"])
def test_a_principal_that_is_none(client: Any, name: str, principal: str) -> None:
    assert refused_add(client, name, Principal=principal) == invalid(BAD_PRINCIPAL)
    assert refusal(client.get_policy, FunctionName=name) == not_found(NO_POLICY)


@pytest.mark.parametrize("qualifier", TARGETS)
def test_a_statement_id_that_is_taken(client: Any, name: str, qualifier: str | None) -> None:
    where = place(name, qualifier)
    client.add_permission(**where, **statement())
    before = client.get_policy(**where)["RevisionId"]
    assert refusal(client.add_permission, **where, **statement(Principal="*")) == (
        409,
        "ResourceConflictException",
        TAKEN,
    )
    assert client.get_policy(**where)["RevisionId"] == before


def test_latest_is_refused_by_name_and_by_qualifier(client: Any, name: str) -> None:
    text = "We currently do not support adding policies for $LATEST."
    add = client.add_permission
    assert refusal(add, FunctionName=name, Qualifier="$LATEST", **statement()) == invalid(text)
    assert refusal(add, FunctionName=f"{name}:$LATEST", **statement()) == invalid(text)
    client.add_permission(FunctionName=name, **statement())
    latest = place(name, "$LATEST")
    assert refusal(client.get_policy, **latest) == not_found(NO_POLICY)
    assert refusal(client.remove_permission, **latest, StatementId="s3") == not_found(
        "No policy is associated with the given resource."
    )


@pytest.mark.parametrize(
    ("of", "qualifier", "text"),
    [
        ("nothing", None, f"Function not found: {ARN}nothing"),
        ("nothing", "7", f"Function not found: {ARN}nothing:7"),
        (None, "7", f"Function not found: {ARN}{{name}}:7"),
        (None, "007", f"Function not found: {ARN}{{name}}:007"),
        (None, "other", f"Cannot find alias arn: {ARN}{{name}}:other"),
    ],
)
def test_a_target_that_is_not_there(
    client: Any, name: str, of: str | None, qualifier: str | None, text: str
) -> None:
    where = place(of or name, qualifier)
    expected = not_found(text.format(name=name))
    # It is told before the principal is looked at.
    for principal in ("*", "nonsense"):
        assert refusal(client.add_permission, **where, **statement(Principal=principal)) == expected
    assert refusal(client.get_policy, **where) == not_found(NO_POLICY)
    removed = refusal(client.remove_permission, **where, StatementId="s3")
    assert removed == (not_found(f"No policy found for: {ARN}nothing") if of else expected)


def test_what_cannot_be_removed(client: Any, name: str) -> None:
    remove = client.remove_permission
    assert refusal(remove, FunctionName=name, StatementId="x") == not_found(
        "No policy is associated with the given resource."
    )
    client.add_permission(FunctionName=name, **statement())
    for sid in ("x", "S3", "s3.x"):
        assert refusal(remove, FunctionName=name, StatementId=sid) == not_found(
            f"Statement {sid} is not found in resource policy."
        )
    assert sids(client, FunctionName=name) == ["s3"]


@pytest.mark.parametrize("operation", ["add", "remove"])
@pytest.mark.parametrize("has_policy", [False, True])
def test_a_revision_that_is_not_the_latest(client: Any, name: str, operation: str, has_policy: bool) -> None:
    if has_policy:
        client.add_permission(FunctionName=name, **statement())
    # The function's own is another one.
    revision = client.get_function_configuration(FunctionName=name)["RevisionId"]
    call = getattr(client, f"{operation}_permission")
    given = statement() if operation == "add" else {"StatementId": "s3"}
    assert refusal(call, FunctionName=name, RevisionId=revision, **given) == (
        412,
        "PreconditionFailedException",
        STALE,
    )


def test_a_policy_that_would_be_too_long(client: Any, name: str) -> None:
    arn = "arn:aws:s3:::" + "b" * 6000
    for number in range(3):
        client.add_permission(FunctionName=name, **statement(f"s{number}", SourceArn=arn))
    before = client.get_policy(FunctionName=name)
    last = json.loads(before["Policy"])["Statement"][-1]
    size = len(before["Policy"]) + 1 + len(json.dumps(last, separators=(",", ":")))
    assert refused_add(client, name, sid="s3", SourceArn=arn) == (
        400,
        "PolicyLengthExceededException",
        f"The final policy size ({size}) is bigger than the limit (20480).",
    )
    assert client.get_policy(FunctionName=name)["RevisionId"] == before["RevisionId"]
    client.remove_permission(FunctionName=name, StatementId="s1")
    client.add_permission(FunctionName=name, **statement("s3", SourceArn=arn))
    assert sids(client, FunctionName=name) == ["s0", "s2", "s3"]


@pytest.mark.parametrize("operation", ["add_permission", "remove_permission", "get_policy"])
def test_two_qualifiers_that_differ(client: Any, name: str, operation: str) -> None:
    given = {
        "add_permission": statement(),
        "remove_permission": {"StatementId": "s3"},
        "get_policy": {},
    }[operation]
    where = {"FunctionName": f"{name}:live", "Qualifier": "1"}
    assert refusal(getattr(client, operation), **where, **given) == invalid(
        "The derived qualifier from the function name does not match the specified qualifier."
    )
