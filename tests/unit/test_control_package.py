"""Where a function's package comes from, and whether the account has room for it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from typing import Any

import pytest
from tests.contract.rig import KEY, REGION, Rig, Run, created, refused, shown, zip_of

from lambent import limits
from lambent.control.code_source import S3Object
from lambent.control.functions import create_function, update_function_code
from lambent.model.errors import CodeStorageExceededException, InvalidParameterValueException

ELSEWHERE = S3Object("bucket", "key", "1")
OTHER = zip_of({"other.py": ""})


class Bucket:
    """Objects by place; remembers which were asked for, and for which region."""

    def __init__(self, objects: dict[S3Object, bytes]) -> None:
        self.objects = objects
        self.asked: list[tuple[S3Object, str]] = []

    async def fetch(self, place: S3Object, region: str) -> bytes:
        self.asked.append((place, region))
        return self.objects[place]


def with_bucket(rig: Rig, objects: dict[S3Object, bytes]) -> Bucket:
    """Let the rig's services read code from a bucket."""
    bucket = Bucket(objects)
    rig.services = dataclasses.replace(rig.services, fetch_code=bucket.fetch)
    return bucket


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_a_package_comes_from_s3_to_create_and_update(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        first = S3Object("bucket", "key")
        bucket = with_bucket(rig, {first: zip_of(), ELSEWHERE: OTHER})
        reply = await created(rig, Code={"S3Bucket": "bucket", "S3Key": "key"})
        # functions 7.1 [R]: the same for S3 sources.
        assert (reply["CodeSize"], reply["CodeSha256"]) == (len(zip_of()), sha256(zip_of()))
        given = {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "1"}
        dry = await update_function_code(rig.services, rig.call(FunctionName="f", DryRun=True, **given))
        assert dry["CodeSha256"] == sha256(OTHER)
        assert (await shown(rig))["CodeSha256"] == sha256(zip_of())
        await update_function_code(rig.services, rig.call(FunctionName="f", **given))
        await rig.settled()
        assert (await shown(rig))["CodeSha256"] == sha256(OTHER)
        assert bucket.asked == [(first, REGION), (ELSEWHERE, REGION), (ELSEWHERE, REGION)]

    run(scenario)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # functions 7.6
        ({}, "Please provide a source for function code."),
        ({"S3Bucket": "bucket"}, "Please provide a source for function code."),
        ({"S3Key": "key"}, "Please provide a source for function code."),
        *(
            (
                {"ZipFile": zip_of(), **other},
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            )
            for other in ({"S3Bucket": "bucket"}, {"S3Key": "key"}, {"S3ObjectVersion": "1"})
        ),
        (
            {"S3Bucket": "bucket", "S3Key": "key"},
            (
                "Error occurred while GetObject. S3 Error Code: NoSuchBucket. "
                "S3 Error Message: The specified bucket does not exist"
            ),
        ),
    ],
)
def test_there_is_exactly_one_source(run: Run, source: dict[str, Any], text: str) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.create_call(Code=source)
        await refused(rig, create_function, call, InvalidParameterValueException, text)
        await created(rig)
        call = rig.call(FunctionName="f", **source)
        await refused(rig, update_function_code, call, InvalidParameterValueException, text)

    run(scenario)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"no zip", "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (b"", "Uploaded file must be a non-empty zip"),
    ],
)
def test_what_comes_from_s3_is_checked_like_what_is_sent(run: Run, data: bytes, text: str) -> None:
    async def scenario(rig: Rig) -> None:
        with_bucket(rig, {ELSEWHERE: data})
        call = rig.create_call(Code={"S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "1"})
        await refused(rig, create_function, call, InvalidParameterValueException, text)

    run(scenario)


def test_s3_is_asked_only_when_nothing_else_is_wrong_before(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        bucket = with_bucket(rig, {})
        source = {"S3Bucket": "bucket", "S3Key": "key"}
        # functions 7.18: the source comes after these.
        await refused(
            rig,
            create_function,
            rig.create_call(Code=source, Handler=None),
            InvalidParameterValueException,
        )
        await created(rig)
        for wrong in ({"FunctionName": "g"}, {"RevisionId": "stale"}):
            call = rig.call(**{"FunctionName": "f", **source, **wrong})
            with pytest.raises(Exception, match=r"not found|Revision Id"):
                await update_function_code(rig.services, call)
        assert bucket.asked == []

    run(scenario)


def test_the_accounts_packages_have_a_quota(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        small, large = zip_of(), zip_of({"app.py": bytes(range(256))})
        assert len(small) < len(large)
        monkeypatch.setattr(limits, "ACCOUNT_CODE_BYTES", 2 * len(small))
        await created(rig, "a")
        await created(rig, "b")
        text = "Code storage limit exceeded."
        # functions 7.4 [M]
        assert await refused(rig, create_function, rig.create_call(), CodeStorageExceededException) == text
        assert await rig.functions.load(KEY) is None
        for dry_run in (False, True):
            call = rig.call(FunctionName="a", ZipFile=large, DryRun=dry_run)
            await refused(rig, update_function_code, call, CodeStorageExceededException, text)
        # Another package of the same size takes no more room, and another account has its own.
        await update_function_code(rig.services, rig.call(FunctionName="a", ZipFile=small))
        call = rig.create_call()
        await create_function(
            rig.services, dataclasses.replace(call, caller=rig.call(account="9" * 12).caller)
        )

    run(scenario)
