"""Keys of functions: what their tokens say, and to whom."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from tests.contract.rig import make_head

from lambent import limits
from lambent.clock import ManualClock
from lambent.invocation.sessions import Sessions
from lambent.model.functions import FunctionVersion
from lambent.model.identities import Credential, Role
from lambent.model.policies import AccessRequest, Decision, evaluate
from lambent.storage.sealing import Sealer

NOW = 1_700_000_000.0
TRUST = (
    '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"Service": "lambda.amazonaws.com"}}}'
)
POLICY = '{"Version": "2012-10-17", "Statement": {"Effect": "%s", "Action": "lambda:*", "Resource": "*"}}'


class Stage:
    """Sessions over roles in a dictionary."""

    def __init__(self) -> None:
        self.roles: dict[str, Role] = {}
        self.sealer = Sealer([b"k" * 32])
        self.sessions = self.restart()

    def restart(self) -> Sessions:
        return Sessions(self.sealer, self.roles.get, ManualClock(NOW))

    def give(self, policy: str | None) -> Role:
        role = Role(account=VERSION.key.account, name="worker", trust=TRUST, policy=policy, created_at=NOW)
        self.roles[role.arn] = role
        return role


VERSION: FunctionVersion = dataclasses.replace(
    make_head("f").latest, role=f"arn:aws:iam::{make_head('f').key.account}:role/worker"
)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def decides(credential: Credential | None) -> Decision:
    assert credential is not None
    request = AccessRequest("lambda:GetFunction", "*", credential.principal, {})
    return evaluate(credential.policies, None, credential.principal.account, request)


def test_a_session_is_its_functions_role_under_the_functions_name(stage: Stage) -> None:
    role = stage.give(POLICY % "Allow")
    keys = stage.sessions.begin(VERSION)
    assert (keys.access_key_id[:4], len(keys.access_key_id), len(keys.secret)) == ("ASIA", 20, 40)
    found = stage.sessions.find(keys.access_key_id, keys.token.encode())
    assert found is not None
    assert (found.secret, found.session_token) == (keys.secret, keys.token)
    assert found.expires_at == NOW + limits.SESSION_S
    principal = found.principal
    assert principal.arn == f"arn:aws:sts::{VERSION.key.account}:assumed-role/worker/f"
    assert (principal.kind, principal.account) == ("AssumedRole", VERSION.key.account)
    assert (principal.role_arn, principal.user_id) == (role.arn, f"{role.role_id}:f")
    assert decides(found) is Decision.ALLOWED


def test_each_environment_has_keys_of_its_own(stage: Stage) -> None:
    first, second = stage.sessions.begin(VERSION), stage.sessions.begin(VERSION)
    assert not set(first) & set(second)
    assert stage.sessions.find(first.access_key_id, second.token.encode()) is None


def test_all_sessions_of_a_role_have_one_compiled_policy(stage: Stage) -> None:
    stage.give(POLICY % "Allow")
    begun = [stage.sessions.begin(VERSION) for _ in range(2)]
    found = [stage.sessions.find(each.access_key_id, each.token.encode()) for each in begun]
    found.append(stage.sessions.credential_of(VERSION))
    assert len({id(policy) for one in found if one is not None for policy in one.policies}) == 1
    assert None not in found


def test_a_changed_policy_holds_for_sessions_that_have_begun(stage: Stage) -> None:
    stage.give(POLICY % "Allow")
    keys = stage.sessions.begin(VERSION)
    asked = keys.access_key_id, keys.token.encode()
    before = stage.sessions.find(*asked)
    assert stage.sessions.find(*asked) is before
    stage.give(POLICY % "Deny")
    assert decides(stage.sessions.find(*asked)) is Decision.DENIED_BY_IDENTITY_POLICY
    stage.roles.clear()
    after = stage.sessions.find(*asked)
    assert decides(after) is Decision.NO_IDENTITY_POLICY
    assert stage.sessions.find(*asked) is after


def test_a_server_that_starts_anew_knows_the_sessions_of_before(stage: Stage) -> None:
    keys = stage.sessions.begin(VERSION)
    found = stage.restart().find(keys.access_key_id, keys.token.encode())
    assert found is not None
    assert found.secret == keys.secret


@pytest.mark.parametrize("token", [b"", b"lambent", b"====", b"\xff", b"QUJD" * 40])
def test_what_is_no_token_is_nobodys(stage: Stage, token: bytes) -> None:
    assert stage.sessions.find("ASIAXXXXXXXXXXXXXXXX", token) is None


def test_a_token_that_was_changed_or_sealed_for_something_else_is_nobodys(stage: Stage) -> None:
    keys = stage.sessions.begin(VERSION)
    sealed = bytearray(base64.b64decode(keys.token))
    for place in range(0, len(sealed), 7):
        sealed[place] ^= 1
        assert stage.sessions.find(keys.access_key_id, base64.b64encode(sealed)) is None
        sealed[place] ^= 1
    other = stage.sealer.seal(b"[]", "access-key")
    assert stage.sessions.find(keys.access_key_id, base64.b64encode(other)) is None
