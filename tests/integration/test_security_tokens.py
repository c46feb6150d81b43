"""STS: who am I, and acting as a role; boto3 against both levels, and from inside a function.

Expected values: docs/aws-behaviour.md, versions-permissions 5.9.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.cli_harness import Command
from tests.integration.conftest import Functions, RunningServer, running_server

OWN, OTHER = "111122223333", "444455556666"
WORKER = f"arn:aws:iam::{OWN}:role/worker"
GUEST = f"arn:aws:iam::{OTHER}:role/guest"


def sts_of(server: RunningServer, keys: tuple[str, ...] | None, **config: Any) -> Any:
    """Return a client of STS with these keys; unsigned without."""
    access_key_id, secret, token = (*(keys or ("x", "y")), None)[:3]
    return boto3.client(
        "sts",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, **({} if keys else {"signature_version": UNSIGNED})),
    )


def lambda_of(server: RunningServer, credentials: dict[str, Any]) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


def statement(action: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, **more}


def refusal(call: Callable[[], object]) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    answer: Any = caught.value.response
    return (
        answer["ResponseMetadata"]["HTTPStatusCode"],
        answer["Error"]["Code"],
        answer["Error"].get("Message", ""),
    )


class Checked(NamedTuple):
    """A server at level sigv4, with users by name and their keys."""

    server: RunningServer
    ann: tuple[str, str]
    bob: tuple[str, str]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    """Ann may do everything; bob has no policy, and the role ``worker`` trusts him, by his name.

    The role ``guest`` of another account trusts Ann's account, if she knows the word.
    """
    folder = tmp_path_factory.mktemp("sts")
    with running_server(folder, LAMBENT_AUTH_LEVEL="sigv4") as server:
        lambent = Command(folder, server)

        def iam(*arguments: str, **documents: list[dict[str, Any]]) -> Any:
            options = []
            for option, statements in documents.items():
                path = folder / f"{option}.json"
                path.write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
                options += [f"--{option}", str(path)]
            done = lambent(
                "iam", *arguments, *options, "--json", LAMBENT_SERVER_DATA_DIR=str(server.data_dir)
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        everything = [statement("*", Resource="*")]
        ann = iam("add-user", "ann", "--account", OWN, policy=everything)
        bob = iam("add-user", "bob", "--account", OWN)
        named = [statement("sts:AssumeRole", Principal={"AWS": f"arn:aws:iam::{OWN}:user/bob"})]
        reading = [statement("lambda:List*", Resource="*"), statement("lambda:Get*", Resource="*")]
        iam("add-role", "worker", "--account", OWN, trust=named, policy=reading)
        condition = {"StringEquals": {"sts:ExternalId": "mellon"}}
        account = [statement("sts:AssumeRole", Principal={"AWS": OWN}, Condition=condition)]
        iam("add-role", "guest", "--account", OTHER, trust=account, policy=everything)
        yield Checked(
            server,
            (ann["AccessKeyId"], ann["SecretAccessKey"]),
            (bob["AccessKeyId"], bob["SecretAccessKey"]),
        )


# ---------------------------------------------------------------------------- level none


def test_who_is_not_checked_is_the_root_of_the_account(server: RunningServer) -> None:
    assert _identity(sts_of(server, (OWN, "any"))) == (OWN, f"arn:aws:iam::{OWN}:root", OWN)
    assert _identity(sts_of(server, None))[0] == "000000000000"


def test_who_is_not_checked_acts_as_any_role_in_its_account(server: RunningServer) -> None:
    answer = sts_of(server, (OWN, "any")).assume_role(RoleArn=GUEST, RoleSessionName="visit")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/guest/visit"
    client = lambda_of(server, answer["Credentials"])
    name = Functions(client)("def handler(event, context): return 1")
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    assert arn == f"arn:aws:lambda:us-east-1:{OTHER}:function:{name}"
    client.delete_function(FunctionName=name)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"RoleSessionName": "x"},
            (
                "Value 'x' at 'roleSessionName' failed to satisfy constraint: "
                "Member must have length greater than or equal to 2"
            ),
        ),
        (
            {"RoleSessionName": "x" * 65},
            (
                f"Value '{'x' * 65}' at 'roleSessionName' failed to satisfy constraint: "
                "Member must have length less than or equal to 64"
            ),
        ),
        (
            {"RoleSessionName": "a b"},
            (
                "Value 'a b' at 'roleSessionName' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
            ),
        ),
        (
            {"RoleSessionName": "a\x01<"},
            (
                "Value 'a\ufffd<' at 'roleSessionName' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
            ),
        ),
        (
            {"DurationSeconds": 899},
            (
                "Value '899' at 'durationSeconds' failed to satisfy constraint: "
                "Member must have value greater than or equal to 900"
            ),
        ),
        (
            {"DurationSeconds": 43201},
            (
                "Value '43201' at 'durationSeconds' failed to satisfy constraint: "
                "Member must have value less than or equal to 43200"
            ),
        ),
    ],
)
def test_parameters_are_checked_in_awss_words(
    server: RunningServer, given: dict[str, Any], text: str
) -> None:
    sts = boto3.client(
        "sts",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=OWN,
        aws_secret_access_key="x",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
    asked = {"RoleArn": WORKER, "RoleSessionName": "visit", **given}
    told = refusal(lambda: sts.assume_role(**asked))
    assert told == (400, "ValidationError", f"1 validation error detected: {text}")


def test_what_is_not_there_is_refused_by_name(server: RunningServer) -> None:
    sts = sts_of(server, (OWN, "any"))
    assert refusal(sts.get_session_token) == (
        400,
        "InvalidAction",
        "Could not find operation GetSessionToken for version 2011-06-15",
    )
    call = {"RoleArn": WORKER, "RoleSessionName": "visit"}
    assert refusal(lambda: sts.assume_role(**call, Policy="{}"))[1:] == (
        "ValidationError",
        "Policy is not served by this version of Lambent.",
    )
    assert refusal(lambda: sts.assume_role(**{**call, "RoleArn": "arn:aws:iam::1:user/ann"}))[1:] == (
        "ValidationError",
        "arn:aws:iam::1:user/ann is invalid",
    )


# ---------------------------------------------------------------------------- level sigv4


def test_a_form_that_would_take_seconds_to_read_is_none(server: RunningServer) -> None:
    form = b"Action=GetCallerIdentity" + b"&a=b" * 1_500_000
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.url, form)
    assert refused.value.code == 404
    refused.value.close()


def _identity(sts: Any) -> tuple[str, str, str]:
    answer = sts.get_caller_identity()
    return answer["Account"], answer["Arn"], answer["UserId"]


def test_users_learn_who_they_are_whatever_they_may(checked: Checked) -> None:
    account, arn, user_id = _identity(sts_of(checked.server, checked.bob))
    assert (account, arn, user_id[:4]) == (OWN, f"arn:aws:iam::{OWN}:user/bob", "AIDA")


def test_who_does_not_prove_who_they_are_is_refused_in_the_words_of_sts(checked: Checked) -> None:
    server = checked.server
    for keys, code in (
        (None, "MissingAuthenticationToken"),
        (("AKIAABSENTABSENTABSE", "x"), "InvalidClientTokenId"),
        ((checked.ann[0], "wrong"), "SignatureDoesNotMatch"),
    ):
        assert refusal(sts_of(server, keys).get_caller_identity)[:2] == (403, code)


def test_a_scope_of_sts_is_good_for_sts_alone(checked: Checked) -> None:
    config = Config(signature_version="v4", retries={"total_max_attempts": 1})
    client = boto3.client(
        "lambda",
        endpoint_url=checked.server.url,
        region_name="us-east-1",
        aws_access_key_id=checked.ann[0],
        aws_secret_access_key=checked.ann[1],
        config=config,
    )
    client.meta.events.register("choose-signer.lambda.*", lambda **_: None)
    client._request_signer._signing_name = "sts"
    _identity(sts_of(checked.server, checked.ann))
    assert refusal(client.list_functions)[1] == "InvalidSignatureException"


def test_a_role_that_names_the_user_may_be_taken_on_and_limits_what_is_done(checked: Checked) -> None:
    server = checked.server
    answer = sts_of(server, checked.bob).assume_role(
        RoleArn=WORKER, RoleSessionName="visit", DurationSeconds=900
    )
    credentials = answer["Credentials"]
    left = (credentials["Expiration"] - datetime.now(UTC)).total_seconds()
    assert 880 < left <= 900
    session = f"arn:aws:sts::{OWN}:assumed-role/worker/visit"
    assert answer["AssumedRoleUser"]["Arn"] == session
    assert answer["AssumedRoleUser"]["AssumedRoleId"].endswith(":visit")
    keys = (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    assert _identity(sts_of(server, keys)) == (OWN, session, answer["AssumedRoleUser"]["AssumedRoleId"])
    client = lambda_of(server, credentials)
    client.list_functions()
    told = refusal(lambda: client.delete_function(FunctionName="f"))
    assert told[:2] == (403, "AccessDeniedException")
    assert told[2].startswith(f"User: {session} is not authorized to perform: lambda:DeleteFunction")
    # Sessions have no secret of their own name: the token belongs to the keys.
    forged = (credentials["AccessKeyId"], credentials["SecretAccessKey"], "x" * 20)
    assert refusal(sts_of(server, forged).get_caller_identity)[:2] == (403, "InvalidClientTokenId")


@pytest.mark.parametrize(
    ("who", "role", "more"),
    [
        # Not named, and the trust is not the account's.
        ("ann", f"arn:aws:iam::{OWN}:role/absent", {}),
        # The account is trusted, but its user has no policy that allows it.
        ("bob", GUEST, {"ExternalId": "mellon"}),
        # Who may everything still needs the word.
        ("ann", GUEST, {}),
        ("ann", GUEST, {"ExternalId": "friend"}),
    ],
)
def test_who_is_not_trusted_or_not_allowed_is_refused(
    checked: Checked, who: str, role: str, more: dict[str, str]
) -> None:
    sts = sts_of(checked.server, getattr(checked, who))
    told = refusal(lambda: sts.assume_role(RoleArn=role, RoleSessionName="visit", **more))
    assert told[:2] == (403, "AccessDenied")
    assert told[2].startswith(
        f"User: arn:aws:iam::{OWN}:user/{who} is not authorized to perform: sts:AssumeRole on resource: {role}"
    )


def test_a_role_of_another_account_needs_both_words(checked: Checked) -> None:
    sts = sts_of(checked.server, checked.ann)
    answer = sts.assume_role(RoleArn=GUEST, RoleSessionName="visit", ExternalId="mellon")
    credentials = answer["Credentials"]
    keys = (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    assert _identity(sts_of(checked.server, keys))[:2] == (
        OTHER,
        f"arn:aws:sts::{OTHER}:assumed-role/guest/visit",
    )


def test_a_function_learns_who_it_is_with_no_configuration(checked: Checked, tmp_path: Path) -> None:
    server = checked.server
    client = server.client(account=checked.ann[0], secret=checked.ann[1])
    source = (
        "import boto3\ndef handler(event, context): return boto3.client('sts').get_caller_identity()['Arn']"
    )
    name = Functions(client)(source, Role=WORKER, Timeout=30)
    answer = client.invoke(FunctionName=name)["Payload"].read()
    assert json.loads(answer) == f"arn:aws:sts::{OWN}:assumed-role/worker/{name}"
