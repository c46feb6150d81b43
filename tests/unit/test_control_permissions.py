"""Statements as AWS writes them, and policies that several change at once.

Source: docs/aws-behaviour.md, versions-permissions 5.4, 5.6 and 5.8.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.contract.rig import ACCOUNT, ARN, KEY, Rig, Run, created, refused

from lambent import limits
from lambent.control.aliases import create_alias, delete_alias
from lambent.control.functions import create_function, delete_function
from lambent.control.operation import Call
from lambent.control.permissions import add_permission, get_policy, remove_permission
from lambent.control.versions import publish_version
from lambent.invocation.resolve import Resolver
from lambent.model.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambent.tasks import Tasks

TARGETS = [None, "1", "live"]
STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetPolicy API to retrieve the latest Revision Id"
)
NO_POLICY = "The resource you requested does not exist."
BAD_PRINCIPAL = "The provided principal was invalid. Please check the principal and try again."
TAKEN = (
    "The statement id (s) provided already exists. "
    "Please provide a new statement id, or remove the existing statement."
)
BEGINNING = '{"Sid":"s","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction","Resource":"' + ARN


def add_call(rig: Rig, sid: str = "s", **members: Any) -> Call:
    """Return a call of AddPermission that succeeds unless ``members`` say otherwise."""
    given = {
        "FunctionName": "f",
        "StatementId": sid,
        "Action": "lambda:InvokeFunction",
        "Principal": "*",
        **members,
    }
    return rig.call(**{name: value for name, value in given.items() if value is not None})


def remove_call(rig: Rig, sid: str = "s", **members: Any) -> Call:
    given = {"FunctionName": "f", "StatementId": sid, **members}
    return rig.call(**{name: value for name, value in given.items() if value is not None})


async def add(rig: Rig, sid: str = "s", **members: Any) -> str:
    """Add a statement and return its text."""
    reply = await add_permission(rig.services, add_call(rig, sid, **members))
    assert set(reply) == {"Statement"}
    return str(reply["Statement"])


async def policy(rig: Rig, qualifier: str | None = None) -> tuple[str, str]:
    """Return a policy's text and RevisionId."""
    named = {} if qualifier is None else {"Qualifier": qualifier}
    reply = await get_policy(rig.services, rig.call(FunctionName="f", **named))
    assert set(reply) == {"Policy", "RevisionId"}
    return reply["Policy"], reply["RevisionId"]


async def function_with_targets(rig: Rig) -> None:
    """Make the function ``f`` with the version 1 and the alias ``live``."""
    await created(rig)
    await publish_version(rig.services, rig.call(FunctionName="f"))
    await create_alias(rig.services, rig.call(FunctionName="f", Name="live", FunctionVersion="1"))


@pytest.mark.parametrize(
    ("members", "condition"),
    [
        ({}, None),
        ({"SourceArn": "arn:aws:s3:::b"}, '{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}'),
        ({"SourceArn": 'arn:aws:s3:::ü"\\'}, '{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::ü\\"\\\\"}}'),
        ({"SourceAccount": ACCOUNT}, '{"StringEquals":{"AWS:SourceAccount":"123456789012"}}'),
        (
            {"PrincipalOrgID": "o-0123456789"},
            '{"StringEquals":{"aws:PrincipalOrgID":"o-0123456789"}}',
        ),
        ({"EventSourceToken": "token"}, '{"StringEquals":{"lambda:EventSourceToken":"token"}}'),
        ({"FunctionUrlAuthType": "NONE"}, '{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}'),
        ({"FunctionUrlAuthType": "AWS_IAM"}, '{"StringEquals":{"lambda:FunctionUrlAuthType":"AWS_IAM"}}'),
        ({"InvokedViaFunctionUrl": True}, '{"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}'),
        ({"InvokedViaFunctionUrl": False}, None),
        (
            {"SourceAccount": ACCOUNT, "SourceArn": "arn:aws:s3:::b"},
            '{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"},"StringEquals":{"AWS:SourceAccount":"123456789012"}}',
        ),
        (
            {
                "InvokedViaFunctionUrl": True,
                "FunctionUrlAuthType": "NONE",
                "EventSourceToken": "t",
                "PrincipalOrgID": "o-0123456789",
                "SourceAccount": ACCOUNT,
                "SourceArn": "arn:aws:s3:::b",
            },
            (
                '{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"},'
                '"StringEquals":{"AWS:SourceAccount":"123456789012","aws:PrincipalOrgID":"o-0123456789",'
                '"lambda:EventSourceToken":"t","lambda:FunctionUrlAuthType":"NONE"},'
                '"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}'
            ),
        ),
    ],
)
def test_what_narrows_a_statement_is_its_condition(
    run: Run, members: dict[str, Any], condition: str | None
) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        text = await add(rig, **members)
        assert text == BEGINNING + ('"}' if condition is None else f'","Condition":{condition}}}')
        assert (await policy(rig))[0] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{text}]}}'

    run(scenario)


@pytest.mark.parametrize(
    ("principal", "written"),
    [
        ("*", "*"),
        ("222233334444", {"AWS": "arn:aws:iam::222233334444:root"}),
        *(
            (name, {"Service": name})
            for name in (
                "s3.amazonaws.com",
                "events.amazonaws.com",
                "logs.eu-west-1.amazonaws.com",
                "alexa-appkit.amazon.com",
            )
        ),
        *(
            (arn, {"AWS": arn})
            for arn in (
                "arn:aws:iam::222233334444:root",
                "arn:aws:iam::222233334444:user/Ann",
                "arn:aws:iam::222233334444:user/division_abc/sub-division/A.nn+=,@-_",
                "arn:aws:iam::222233334444:role/service-role/deploy",
                "arn:aws:sts::222233334444:assumed-role/deploy/session@example.com",
            )
        ),
    ],
)
def test_principals_are_written_by_their_kind(run: Run, principal: str, written: Any) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        assert json.loads(await add(rig, Principal=principal))["Principal"] == written

    run(scenario)


@pytest.mark.parametrize(
    "principal",
    [
        "s3",
        "amazonaws.com",
        ".amazonaws.com",
        "*.amazonaws.com",
        "s3.amazonaws.com.example.org",
        "s3.amazonaws.org",
        'x".amazonaws.com',
        "**",
        "12345678901",
        "1234567890123",
        # Twelve digits of another script.
        "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660\u0661\u0662",
        "arn:aws:iam::222233334444:user/*",
        "arn:aws:iam::222233334444:role/path/*/r",
        "arn:aws:iam::222233334444:user/",
        "arn:aws:iam::222233334444:user//Ann",
        "arn:aws:iam::222233334444:group/g",
        "arn:aws:iam::222233334444:policy/p",
        "arn:aws:iam::22223333444:root",
        "arn:aws:iam::222233334444:rooter",
        "arn:aws:iam::222233334444:user/" + "a" * 65,
        "arn:aws:iam:us-east-1:222233334444:root",
        "arn:aws:sts::222233334444:assumed-role/deploy",
        "arn:aws:sts::222233334444:assumed-role/path/deploy/session",
        "arn:aws:sts::222233334444:user/Ann",
        "arn:aws:s3:::bucket",
        "arn:aws-cn:iam::222233334444:root",
        "a/" * 1000,
        "arn:aws:iam::222233334444:user/" + "a/" * 900,
    ],
)
def test_nonsense_is_no_principal(run: Run, principal: str) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        call = add_call(rig, Principal=principal)
        await refused(rig, add_permission, call, InvalidParameterValueException, BAD_PRINCIPAL)
        await refused(rig, get_policy, rig.call(FunctionName="f"), ResourceNotFoundException, NO_POLICY)

    run(scenario)


@pytest.mark.parametrize(
    ("region", "name"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_an_account_is_its_root_in_the_regions_partition(run: Run, region: str, name: str) -> None:
    async def scenario(rig: Rig) -> None:
        made = rig.create_call()
        role = made.input["Role"].replace("arn:aws:", f"arn:{name}:")
        await create_function(rig.services, rig.call(region=region, **{**made.input, "Role": role}))
        await rig.settled()
        given = {"FunctionName": "f", "StatementId": "s", "Action": "lambda:*"}
        reply = await add_permission(rig.services, rig.call(region=region, Principal="222233334444", **given))
        assert json.loads(reply["Statement"]) == {
            "Sid": "s",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{name}:iam::222233334444:root"},
            "Action": "lambda:*",
            "Resource": f"arn:{name}:lambda:{region}:{ACCOUNT}:function:f",
        }

    run(scenario)


def test_each_target_has_a_policy_of_its_own(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await function_with_targets(rig)
        for qualifier in TARGETS:
            arn = ARN if qualifier is None else f"{ARN}:{qualifier}"
            assert json.loads(await add(rig, Qualifier=qualifier))["Resource"] == arn
        revisions = {qualifier: (await policy(rig, qualifier))[1] for qualifier in TARGETS}
        assert len(set(revisions.values())) == 3
        await add(rig, "other", Qualifier="1")
        changed = {qualifier: (await policy(rig, qualifier))[1] for qualifier in TARGETS}
        assert {qualifier for qualifier in TARGETS if changed[qualifier] != revisions[qualifier]} == {"1"}
        for qualifier in TARGETS:
            await remove_permission(rig.services, remove_call(rig, Qualifier=qualifier))
        assert [one["Sid"] for one in json.loads((await policy(rig, "1"))[0])["Statement"]] == ["other"]
        for qualifier in (None, "live"):
            with pytest.raises(ResourceNotFoundException, match=NO_POLICY):
                await policy(rig, qualifier)

    run(scenario)


def test_latest_has_no_policy_and_is_not_the_function(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        await add(rig)
        before = await policy(rig)
        for named in ({"Qualifier": "$LATEST"}, {"FunctionName": "f:$LATEST"}):
            await refused(
                rig,
                add_permission,
                add_call(rig, "other", **named),
                InvalidParameterValueException,
                "We currently do not support adding policies for $LATEST.",
            )
            await refused(
                rig,
                get_policy,
                rig.call(**{"FunctionName": "f", **named}),
                ResourceNotFoundException,
                NO_POLICY,
            )
            await refused(
                rig,
                remove_permission,
                remove_call(rig, **named),
                ResourceNotFoundException,
                "No policy is associated with the given resource.",
            )
        assert await policy(rig) == before

    run(scenario)


def test_a_revision_that_is_given_is_the_latest(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)

        async def stale(sid: str, revision: str) -> None:
            for operation, call in ((add_permission, add_call), (remove_permission, remove_call)):
                await refused(
                    rig, operation, call(rig, sid, RevisionId=revision), PreconditionFailedException, STALE
                )

        # Where there is no policy, there is no revision.
        await stale("s", "any")
        await add(rig)
        _, first = await policy(rig)
        await add(rig, "second", RevisionId=first)
        text, second = await policy(rig)
        for revision in (first, "", "any"):
            await stale("third", revision)
            # The statement is there, and the revision is told first.
            await stale("second", revision)
        assert await policy(rig) == (text, second)
        await remove_permission(rig.services, remove_call(rig, "second", RevisionId=second))
        _, third = await policy(rig)
        assert len({first, second, third}) == 3

    run(scenario)


def test_the_functions_own_revision_stays(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await function_with_targets(rig)

        async def revisions() -> list[str]:
            heads = [await rig.functions.load(KEY, version) for version in ("$LATEST", "1")]
            return [head.revision_id for head in heads if head is not None]

        before = await revisions()
        for qualifier in TARGETS:
            await add(rig, Qualifier=qualifier)
            await remove_permission(rig.services, remove_call(rig, Qualifier=qualifier))
        assert await revisions() == before

    run(scenario)


def test_a_policy_is_full_at_its_last_byte(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        await add(rig)
        shortest = len((await policy(rig))[0].encode())
        await remove_permission(rig.services, remove_call(rig))
        # What an ARN of this length adds to the policy, beside the ARN.
        wrapping = len(',"Condition":{"ArnLike":{"AWS:SourceArn":""}}')
        room = limits.POLICY_BYTES - shortest - wrapping
        beginning = "arn:aws:s3:::"

        def arn(size: int) -> str:
            # Two bytes each in UTF-8: the size is not counted in characters.
            pairs, rest = divmod(size - len(beginning), 2)
            return beginning + "ü" * pairs + "x" * rest

        await add(rig, "s", SourceArn=arn(room))
        assert len((await policy(rig))[0].encode()) == limits.POLICY_BYTES
        await remove_permission(rig.services, remove_call(rig))

        await add(rig, "s", SourceArn=arn(room // 2))
        before = await policy(rig)
        statement = shortest - len('{"Version":"2012-10-17","Id":"default","Statement":[]}')
        left = limits.POLICY_BYTES - len(before[0].encode()) - statement - wrapping - len(",")
        text = await refused(
            rig,
            add_permission,
            add_call(rig, "t", SourceArn=arn(left + 1)),
            PolicyLengthExceededException,
        )
        assert text == "The final policy size (20481) is bigger than the limit (20480)."
        assert await policy(rig) == before
        await add(rig, "t", SourceArn=arn(left))
        assert len((await policy(rig))[0].encode()) == limits.POLICY_BYTES

    run(scenario)


def test_statements_that_are_added_and_removed_at_once_are_all_kept(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        for number in range(10):
            await add(rig, f"old-{number}")
        await asyncio.gather(
            *(add(rig, f"new-{number}") for number in range(20)),
            *(remove_permission(rig.services, remove_call(rig, f"old-{number}")) for number in range(10)),
        )
        kept = [one["Sid"] for one in json.loads((await policy(rig))[0])["Statement"]]
        assert sorted(kept) == sorted(f"new-{number}" for number in range(20))

    run(scenario)


def test_one_of_many_that_want_the_same_id_gets_it(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        answers = await asyncio.gather(*(add(rig) for _ in range(10)), return_exceptions=True)
        losers = [answer for answer in answers if isinstance(answer, ResourceConflictException)]
        assert len(losers) == 9
        assert {loser.message for loser in losers} == {TAKEN}
        removals = await asyncio.gather(
            *(remove_permission(rig.services, remove_call(rig)) for _ in range(10)), return_exceptions=True
        )
        assert sum(removal is None for removal in removals) == 1
        assert {type(removal) for removal in removals} == {type(None), ResourceNotFoundException}

    run(scenario)


@pytest.mark.parametrize("qualifier", TARGETS)
def test_what_goes_meanwhile_keeps_no_policy(run: Run, qualifier: str | None) -> None:
    async def scenario(rig: Rig) -> None:
        await function_with_targets(rig)
        _, answer = await asyncio.gather(
            delete_function(rig.services, rig.call(FunctionName="f")),
            add(rig, Qualifier=qualifier),
            return_exceptions=True,
        )
        assert isinstance(answer, ResourceNotFoundException)
        wording = "Cannot find alias arn" if qualifier == "live" else "Function not found"
        assert answer.message == f"{wording}: {ARN if qualifier is None else f'{ARN}:{qualifier}'}"
        await function_with_targets(rig)
        with pytest.raises(ResourceNotFoundException, match=NO_POLICY):
            await policy(rig, qualifier)

    run(scenario)


def test_a_policy_is_not_inherited_under_the_same_name(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(2):
            await function_with_targets(rig)
            for qualifier in TARGETS:
                with pytest.raises(ResourceNotFoundException, match=NO_POLICY):
                    await policy(rig, qualifier)
                await add(rig, Qualifier=qualifier)
            await delete_alias(rig.services, rig.call(FunctionName="f", Name="live"))
            await create_alias(rig.services, rig.call(FunctionName="f", Name="live", FunctionVersion="1"))
            with pytest.raises(ResourceNotFoundException, match=NO_POLICY):
                await policy(rig, "live")
            await delete_function(rig.services, rig.call(FunctionName="f"))

    run(scenario)


@pytest.mark.parametrize("qualifier", TARGETS)
def test_a_change_empties_the_cache_of_what_is_called_and_ends_nothing(
    run: Run, qualifier: str | None
) -> None:
    async def scenario(rig: Rig) -> None:
        await function_with_targets(rig)
        tasks, replaced = Tasks(), list[str]()
        resolver = Resolver(rig.functions, tasks, replaced.append)

        async def change(operation: Any, call: Call) -> None:
            await resolver.resolve(KEY, qualifier)
            assert (KEY, qualifier) in resolver.cached
            await operation(rig.services, call)
            assert (KEY, qualifier) not in resolver.cached

        await change(add_permission, add_call(rig, "s", Qualifier=qualifier))
        await change(add_permission, add_call(rig, "t", Qualifier=qualifier))
        await change(remove_permission, remove_call(rig, "s", Qualifier=qualifier))
        await change(remove_permission, remove_call(rig, "t", Qualifier=qualifier))
        # Let the resolver look whether the version still serves.
        for _ in range(10):
            await asyncio.sleep(0)
        assert replaced == []
        await tasks.close()

    run(scenario)
