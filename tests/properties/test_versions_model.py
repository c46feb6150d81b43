"""Any sequence of publish, update, alias, delete and invoke, against a small model of AWS's rules.

Every invocation's answer says which code and which configuration ran, under which version
and ARN; the model says which of them may have.

Source: docs/aws-behaviour.md, versions-permissions 5.1, 5.2 and 5.8.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.integration.conftest import ROLE, RUNTIME, RunningServer, pack, running_server, wait_until_active
from tests.properties.fuzzed import fuzzed

SOURCE = """
import os
def handler(event, context):
    return [{mark!r}, os.environ["MARK"], context.function_version, context.invoked_function_arn]
"""
# Made once: a zip holds the time, and another one would be other code.
CODE = {mark: pack(index=SOURCE.format(mark=mark)) for mark in "abc"}
MARKS = st.sampled_from("abc")
NUMBERS = st.sampled_from(["1", "2", "3", "4"])
VERSIONS = st.sampled_from(["$LATEST", "1", "2", "3", "4"])
ALIASES = st.sampled_from(["live", "next"])
SHARES = st.sampled_from([0.0, 0.5, 1.0])
Content = tuple[str, str]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("model")) as server:
        yield _client(server)


def _client(server: RunningServer) -> Any:
    return server.client()


def test_every_invocation_runs_what_the_rules_say(client: Any) -> None:
    class Bound(Machine):
        def __init__(self) -> None:
            super().__init__(client)

    run_state_machine_as_test(
        Bound,
        settings=fuzzed(9, steps=25),
    )


class Machine(RuleBasedStateMachine):
    """One function, and what is known about it.

    Attributes:
        latest: mark of the code and of the configuration that ``$LATEST`` has.
        versions: the same of every version that is there.
        aliases: version, other version and its share, by name.
        last: number published last; ``frozen`` is what it froze.
    """

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self.name = f"model-{os.urandom(6).hex()}"
        self.latest: Content = ("a", "a")
        self.versions: dict[str, Content] = {}
        self.aliases: dict[str, tuple[str, str | None, float]] = {}
        self.last = 0
        self.frozen: Content | None = None

    @initialize()
    def create(self) -> None:
        self.client.create_function(
            FunctionName=self.name,
            Runtime=RUNTIME,
            Role=ROLE,
            Handler="index.handler",
            Code={"ZipFile": CODE["a"]},
            Environment={"Variables": {"MARK": "a"}},
        )
        wait_until_active(self.client, self.name)
        # Two versions from the start, or most sequences would have nothing to point to.
        self.publish()
        self.update_code("b", publish=True)

    def teardown(self) -> None:
        self.client.delete_function(FunctionName=self.name)

    # -- $LATEST

    @rule(mark=MARKS, publish=st.booleans())
    def update(self, mark: str, publish: bool) -> None:
        self.update_code(mark, publish=publish)

    def update_code(self, mark: str, *, publish: bool) -> None:
        reply = self.client.update_function_code(FunctionName=self.name, ZipFile=CODE[mark], Publish=publish)
        self.latest = (mark, self.latest[1])
        if publish:
            assert reply["Version"] == self._publish()
        wait_until_active(self.client, self.name, "function_updated_v2")
        if publish:
            self.client.get_waiter("published_version_active").wait(
                FunctionName=self.name, Qualifier=reply["Version"]
            )

    @rule(mark=MARKS)
    def update_configuration(self, mark: str) -> None:
        self.client.update_function_configuration(
            FunctionName=self.name, Environment={"Variables": {"MARK": mark}}
        )
        wait_until_active(self.client, self.name, "function_updated_v2")
        self.latest = (self.latest[0], mark)

    # -- versions

    @rule()
    def publish_latest(self) -> None:
        self.publish()

    def publish(self) -> None:
        reply = self.client.publish_version(FunctionName=self.name)
        assert reply["Version"] == self._publish()

    def _publish(self) -> str:
        """Return the number that publishing gives now, and note what it froze."""
        if self.frozen != self.latest or str(self.last) not in self.versions:
            self.last += 1
            self.frozen = self.latest
            self.versions[str(self.last)] = self.latest
        return str(self.last)

    @rule(number=NUMBERS)
    def delete_version(self, number: str) -> None:
        used = any(number in alias[:2] for alias in self.aliases.values())
        code = self._code(self.client.delete_function, Qualifier=number)
        assert code == ("ResourceConflictException" if used else None)
        if not used:
            self.versions.pop(number, None)

    # -- aliases

    @rule(alias=ALIASES, version=VERSIONS, other=st.none() | NUMBERS, share=SHARES)
    def point(self, alias: str, version: str, other: str | None, share: float) -> None:
        self.set_alias(alias, version, other, share)

    def set_alias(self, alias: str, version: str, other: str | None, share: float) -> None:
        exists = alias in self.aliases
        operation = self.client.update_alias if exists else self.client.create_alias
        weights = {} if other is None else {other: share}
        code = self._code(
            operation,
            Name=alias,
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights},
        )
        assert code == self._refusal(version, other)
        if code is None:
            self.aliases[alias] = (version, other, share)

    @rule(alias=ALIASES, share=SHARES, swap=st.booleans())
    def split(self, alias: str, share: float, swap: bool) -> None:
        """As above with two versions that are there, which chance seldom finds."""
        newest = sorted(self.versions, key=int)[-2:]
        if len(newest) == 2:
            version, other = reversed(newest) if swap else newest
            self.set_alias(alias, version, other, share)

    def _refusal(self, version: str, other: str | None) -> str | None:
        if other is not None and version in {"$LATEST", other}:
            return "InvalidParameterValueException"
        there = {"$LATEST", *self.versions, None}
        return None if {version, other} <= there else "ResourceNotFoundException"

    @rule(alias=ALIASES)
    def delete_alias(self, alias: str) -> None:
        assert self._code(self.client.delete_alias, Name=alias) is None
        self.aliases.pop(alias, None)

    # -- what runs

    @rule(qualifier=st.none() | VERSIONS)
    def invoke_version(self, qualifier: str | None) -> None:
        self.invoke(qualifier)

    def invoke(self, qualifier: str | None) -> None:
        possible = self._possible(qualifier)
        options = {} if qualifier is None else {"Qualifier": qualifier}
        try:
            answer = self.client.invoke(FunctionName=self.name, **options)
        except self.client.exceptions.ResourceNotFoundException:
            assert not possible
            return
        code, configuration, version, arn = json.loads(answer["Payload"].read())
        assert version == answer["ExecutedVersion"]
        assert version in possible
        assert (code, configuration) == self._content(version)
        suffix = "" if qualifier is None else f":{qualifier}"
        assert arn.endswith(f":function:{self.name}{suffix}")

    @rule(alias=ALIASES)
    def invoke_alias(self, alias: str) -> None:
        self.invoke(alias)

    @rule(alias=ALIASES)
    def get(self, alias: str) -> None:
        """What is shown of an alias is the version without a weight of its own."""
        if alias in self.aliases:
            shown = self.client.get_function_configuration(FunctionName=self.name, Qualifier=alias)
            assert shown["Version"] == self.aliases[alias][0]
            assert shown["Environment"]["Variables"]["MARK"] == self._content(shown["Version"])[1]

    @rule()
    def list_everything(self) -> None:
        listed = self.client.list_versions_by_function(FunctionName=self.name)["Versions"]
        assert [one["Version"] for one in listed] == ["$LATEST", *sorted(self.versions, key=int)]
        aliases = self.client.list_aliases(FunctionName=self.name)["Aliases"]
        assert {one["Name"]: one["FunctionVersion"] for one in aliases} == {
            name: version for name, (version, _, _) in self.aliases.items()
        }

    def _possible(self, qualifier: str | None) -> set[str]:
        """Return the versions of which one may run; none where nothing is found."""
        if qualifier is None or qualifier == "$LATEST":
            return {"$LATEST"}
        if qualifier.isdigit():
            return {qualifier} & set(self.versions)
        if qualifier not in self.aliases:
            return set()
        version, other, share = self.aliases[qualifier]
        if other is None or share == 0.0:
            return {version}
        return {other} if share == 1.0 else {version, other}

    def _content(self, version: str) -> Content:
        return self.latest if version == "$LATEST" else self.versions[version]

    def _code(self, operation: Any, **members: Any) -> str | None:
        """Return the code of the refusal, None when there was none."""
        try:
            operation(FunctionName=self.name, **members)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return None
