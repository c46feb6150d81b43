"""Tags through boto3. Expected values: docs/aws-behaviour.md, functions 7.10."""

from __future__ import annotations

import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.integration.conftest import RunningServer, wait_until_active
from tests.integration.functions_harness import ARN, create, members_of, refusal, status_of

PATTERN = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+"
    r"(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:"
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
)


def test_tags_come_and_go(client: Any, name: str) -> None:
    arn = create(client, name, Tags={"team": "grün"})["FunctionArn"]
    wait_until_active(client, name)
    before = client.get_function(FunctionName=name)
    assert members_of(before) == {"Configuration", "Code", "Tags"}
    assert before["Tags"] == {"team": "grün"}
    tagged = client.tag_resource(Resource=arn, Tags={"a b": "c=d", "team": "x"})
    assert (status_of(tagged), members_of(tagged)) == (204, set())
    listed = client.list_tags(Resource=arn)
    assert (status_of(listed), listed["Tags"]) == (200, {"a b": "c=d", "team": "x"})
    untagged = client.untag_resource(Resource=arn, TagKeys=["a b", "team", "never"])
    assert (status_of(untagged), members_of(untagged)) == (204, set())
    emptied = client.list_tags(Resource=arn)
    assert (members_of(emptied), emptied["Tags"]) == ({"Tags"}, {})
    after = client.get_function(FunctionName=name)
    assert members_of(after) == {"Configuration", "Code"}
    # The revision changed with the tags, and nothing else did.
    changed = {key for key, value in before["Configuration"].items() if after["Configuration"][key] != value}
    assert changed == {"RevisionId"}


@pytest.mark.parametrize(
    ("resource", "status", "code", "text"),
    [
        (f"{ARN}never", 404, "ResourceNotFoundException", f"Function not found: {ARN}never"),
        (
            f"{ARN}never:live",
            400,
            "InvalidParameterValueException",
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ),
        (
            "never",
            400,
            "ValidationException",
            (
                "1 validation error detected: Value 'never' at 'resource' failed to satisfy constraint: "
                f"Member must satisfy regular expression pattern: {PATTERN}"
            ),
        ),
    ],
)
def test_all_three_operations_refuse_in_the_words_of_aws(
    trusting: Any, resource: str, status: int, code: str, text: str
) -> None:
    for call, given in (
        (trusting.list_tags, {}),
        (trusting.tag_resource, {"Tags": {"a": "b"}}),
        (trusting.untag_resource, {"TagKeys": ["a"]}),
    ):
        assert refusal(call, Resource=resource, **given) == (status, code, text)


def test_untag_needs_keys(server: RunningServer, client: Any, name: str) -> None:
    arn = create(client, name)["FunctionArn"]
    path = f"/2017-03-31/tags/{urllib.parse.quote(arn, safe='')}"
    # No SDK sends it.
    request = urllib.request.Request(server.url + path, method="DELETE")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as answer:
        assert answer.status == 400
        assert answer.headers["x-amzn-ErrorType"] == "ValidationException"
        assert answer.read() == (
            b'{"message":"1 validation error detected: Value null at \'tagKeys\' failed to satisfy constraint: '
            b'Member must not be null"}'
        )


def test_fifty_tags_are_the_most(client: Any, name: str) -> None:
    too_many = (
        400,
        "InvalidParameterValueException",
        "Number of tags exceeds resource tag limit.",
    )
    tags = {f"k{number}": "v" for number in range(51)}
    assert refusal(lambda: create(client, name, Tags=tags)) == too_many
    tags.popitem()
    arn = create(client, name, Tags=tags)["FunctionArn"]
    assert refusal(client.tag_resource, Resource=arn, Tags={"k50": "v"}) == too_many
    assert client.list_tags(Resource=arn)["Tags"] == tags
    empty = (400, "InvalidParameterValueException", "An error occurred and the request cannot be processed.")
    assert refusal(client.tag_resource, Resource=arn, Tags={}) == empty
