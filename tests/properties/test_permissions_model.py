"""Any sequence of AddPermission, RemovePermission and GetPolicy, against a small model of AWS's rules.

The model writes each statement with the standard library, from the table of parameters
alone, and policies are compared byte by byte.

Source: docs/aws-behaviour.md, versions-permissions 5.4, 5.6 and 5.8.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.integration.conftest import Functions, publish_live, running_server
from tests.properties.fuzzed import fuzzed

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
LIMIT = 20_480

QUALIFIERS = st.sampled_from([None, "1", "live"])
SIDS = st.one_of(st.sampled_from(["a", "b", "A", "-", "0"]), st.text("abcXYZ019-_", min_size=1, max_size=100))
ACCOUNTS = st.text("0123456789", min_size=12, max_size=12)
NAMES = st.text("abzAZ09+=,.@-_", min_size=1, max_size=64)
PATHS = st.text("abzAZ09!:;~", min_size=1, max_size=8).map(lambda part: part + "/")
IDENTITIES = st.one_of(
    st.just("root"),
    st.tuples(st.sampled_from(["user/", "role/"]), st.lists(PATHS, max_size=3).map("".join), NAMES).map(
        "".join
    ),
)
# A principal as it is given, and as it is written.
PRINCIPALS = st.one_of(
    st.just(("*", "*")),
    ACCOUNTS.map(lambda account: (account, {"AWS": f"arn:aws:iam::{account}:root"})),
    st.builds("arn:aws:iam::{}:{}".format, ACCOUNTS, IDENTITIES).map(lambda arn: (arn, {"AWS": arn})),
    st.builds("arn:aws:sts::{}:assumed-role/{}/{}".format, ACCOUNTS, NAMES, NAMES).map(
        lambda arn: (arn, {"AWS": arn})
    ),
    st.builds(
        "{}.{}.com".format,
        st.text("abz09-.", min_size=1, max_size=30),
        st.sampled_from(["amazonaws", "amazon"]),
    ).map(lambda name: (name, {"Service": name})),
)
# What stands behind an ARN's colons: any text of one line, quotes and characters of every width.
RESOURCES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=40),
    st.just("x" * 5000),
)
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "SourceArn": st.builds("arn:aws:{}:us-east-1:{}:{}".format, st.just("s3"), ACCOUNTS, RESOURCES),
        "SourceAccount": ACCOUNTS,
        "PrincipalOrgID": st.text("abz09", min_size=10, max_size=32).map("o-{}".format),
        "EventSourceToken": st.text("aZ0._-", min_size=1, max_size=256),
        "FunctionUrlAuthType": st.sampled_from(["NONE", "AWS_IAM"]),
        "InvokedViaFunctionUrl": st.booleans(),
    },
)
ACTIONS = st.one_of(
    st.sampled_from(["lambda:InvokeFunction", "lambda:*", "*"]),
    st.text("abzAZ", min_size=1, max_size=20).map("lambda:{}".format),
)
REVISIONS = st.sampled_from(["none", "latest", "former"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("permissions")) as server:
        yield server.client()


def test_every_policy_is_what_the_rules_say(client: Any) -> None:
    class Bound(Machine):
        def __init__(self) -> None:
            super().__init__(client)

    run_state_machine_as_test(Bound, settings=fuzzed(12, steps=25))


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Machine(RuleBasedStateMachine):
    """One function with a version and an alias, and the policies that they have to have.

    Attributes:
        statements: texts by their ids, in the order of adding, by qualifier.
        revisions: the latest of each policy that there is.
        former: every revision that was the latest once.
    """

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self.name = f"model-{os.urandom(6).hex()}"
        self.statements: dict[str | None, dict[str, str]] = {}
        self.revisions: dict[str | None, str] = {}
        self.former: set[str] = set()

    @initialize()
    def create(self) -> None:
        publish_live(self.client, Functions(self.client)("handler = print", FunctionName=self.name))

    def teardown(self) -> None:
        self.client.delete_function(FunctionName=self.name)

    @rule(
        qualifier=QUALIFIERS,
        sid=SIDS,
        action=ACTIONS,
        principal=PRINCIPALS,
        conditions=CONDITIONS,
        revision=REVISIONS,
    )
    def add(
        self,
        qualifier: str | None,
        sid: str,
        action: str,
        principal: tuple[str, Any],
        conditions: dict[str, Any],
        revision: str,
    ) -> None:
        text = self._statement(qualifier, sid, action, principal[1], conditions)
        statements = self.statements.get(qualifier, {})
        given = self._revision(qualifier, revision)
        error = None
        if self._is_stale(qualifier, given):
            error = "PreconditionFailedException"
        elif sid in statements:
            error = "ResourceConflictException"
        elif len(self._policy([*statements.values(), text]).encode()) > LIMIT:
            error = "PolicyLengthExceededException"
        reply = self._call(
            self.client.add_permission,
            error,
            **self._place(qualifier),
            **given,
            **conditions,
            StatementId=sid,
            Action=action,
            Principal=principal[0],
        )
        if error is None:
            assert reply["Statement"] == text
            self.statements.setdefault(qualifier, {})[sid] = text
        self._look(qualifier, is_changed=error is None)

    @rule(qualifier=QUALIFIERS, sid=SIDS, chosen=st.integers(0, 5), revision=REVISIONS)
    def remove(self, qualifier: str | None, sid: str, chosen: int, revision: str) -> None:
        statements = self.statements.get(qualifier, {})
        # Mostly one that is there.
        sid = [*statements, sid][min(chosen, len(statements))]
        given = self._revision(qualifier, revision)
        error = None
        if self._is_stale(qualifier, given):
            error = "PreconditionFailedException"
        elif sid not in statements:
            error = "ResourceNotFoundException"
        self._call(self.client.remove_permission, error, **self._place(qualifier), **given, StatementId=sid)
        if error is None:
            del statements[sid]
        self._look(qualifier, is_changed=error is None)

    # -- the rules

    def _statement(
        self, qualifier: str | None, sid: str, action: str, principal: Any, given: dict[str, Any]
    ) -> str:
        arn = ARN + self.name + (f":{qualifier}" if qualifier else "")
        statement: dict[str, Any] = {"Sid": sid, "Effect": "Allow", "Principal": principal}
        statement |= {"Action": action, "Resource": arn}
        equal = {
            key: given[member]
            for member, key in (
                ("SourceAccount", "AWS:SourceAccount"),
                ("PrincipalOrgID", "aws:PrincipalOrgID"),
                ("EventSourceToken", "lambda:EventSourceToken"),
                ("FunctionUrlAuthType", "lambda:FunctionUrlAuthType"),
            )
            if member in given
        }
        condition: dict[str, Any] = {}
        if "SourceArn" in given:
            condition["ArnLike"] = {"AWS:SourceArn": given["SourceArn"]}
        if equal:
            condition["StringEquals"] = equal
        if given.get("InvokedViaFunctionUrl"):
            condition["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
        if condition:
            statement["Condition"] = condition
        return compact(statement)

    def _policy(self, statements: list[str]) -> str:
        return f'{{"Version":"2012-10-17","Id":"default","Statement":[{",".join(statements)}]}}'

    def _is_stale(self, qualifier: str | None, given: dict[str, str]) -> bool:
        return "RevisionId" in given and given["RevisionId"] != self.revisions.get(qualifier)

    def _revision(self, qualifier: str | None, kind: str) -> dict[str, str]:
        latest = self.revisions.get(qualifier, "none yet")
        if kind == "none":
            return {}
        return {"RevisionId": latest if kind == "latest" else min(self.former - {latest}, default="never")}

    # -- the server

    def _place(self, qualifier: str | None) -> dict[str, str]:
        return {"FunctionName": self.name} | ({} if qualifier is None else {"Qualifier": qualifier})

    def _call(self, operation: Callable[..., Any], error: str | None, **given: Any) -> Any:
        if error is None:
            return operation(**given)
        with pytest.raises(ClientError) as caught:
            operation(**given)
        assert caught.value.response["Error"]["Code"] == error
        return None

    def _look(self, changed: str | None, *, is_changed: bool) -> None:
        """Compare all three policies; none but ``changed`` has another revision."""
        for qualifier in (None, "1", "live"):
            statements = list(self.statements.get(qualifier, {}).values())
            error = None if statements else "ResourceNotFoundException"
            shown = self._call(self.client.get_policy, error, **self._place(qualifier))
            latest = None
            if shown is not None:
                assert shown["Policy"] == self._policy(statements)
                latest = shown["RevisionId"]
            if qualifier == changed and is_changed:
                assert latest not in self.former
                self.revisions.pop(qualifier, None)
                if latest is not None:
                    self.revisions[qualifier] = latest
                    self.former.add(latest)
            else:
                assert latest == self.revisions.get(qualifier)
