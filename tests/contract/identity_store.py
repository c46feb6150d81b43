"""What every IdentityStore promises, as tests that any engine can be put under.

Inherit :class:`IdentityStoreContract` and say how a store is opened; the class
:class:`DurableIdentityStoreContract` is for engines that outlive their process.
"""

from __future__ import annotations

import asyncio
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.rig import ACCOUNT

from lambent.model.identities import AccessKey, Credential, Identity, IdentityKey, IdentityKind, Role, User
from lambent.model.policies import AccessRequest, Decision, MalformedPolicy, evaluate
from lambent.storage.contracts import AlreadyExists
from lambent.storage.identities import IdentityChange, IdentityMissing, IdentityStore

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

Scenario = Callable[[IdentityStore], Awaitable[None]]

NOW = 1_700_000_000.125
OTHER_ACCOUNT = "210987654321"
POLICY = (
    '{"Version": "2012-10-17", "Statement": '
    '[{"Sid": "pölicy", "Effect": "Allow", "Action": "lambda:*", "Resource": "*"}]}'
)
OTHER_POLICY = POLICY.replace("Allow", "Deny")
TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
    '"Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
)


def make_user(name: str, *, account: str = ACCOUNT, **changes: Any) -> User:
    """Return a user with a key."""
    return User(account=account, name=name, created_at=NOW, **{"access_key": AccessKey.new(NOW), **changes})


def make_role(name: str, *, account: str = ACCOUNT, **changes: Any) -> Role:
    """Return a role."""
    return Role(account=account, name=name, created_at=NOW, **{"trust": TRUST, **changes})


def key_of(user: User) -> AccessKey:
    """Return the key that a user has."""
    assert user.access_key is not None
    return user.access_key


def decides(credential: Credential) -> Decision:
    """Return what a credential's policies say to an action of Lambda."""
    request = AccessRequest("lambda:GetFunction", "*", credential.principal, {})
    return evaluate(credential.policies, None, credential.principal.account, request)


class IdentityStoreContract(ABC):
    """Promises of one open store."""

    @abstractmethod
    def open_store(self) -> AbstractAsyncContextManager[IdentityStore]:
        """Open an empty store, or the same one again within a test."""

    def run(self, scenario: Scenario) -> None:
        async def main() -> None:
            async with self.open_store() as store:
                await scenario(store)

        asyncio.run(main())

    def test_a_key_finds_its_user_with_secret_and_policies(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            user = make_user("alice", policy=POLICY)
            await store.create(user)
            found = store.find_credential(key_of(user).access_key_id)
            assert found is not None
            assert found.secret == key_of(user).secret
            assert found.principal == user.principal
            assert (found.principal.kind, found.principal.username) == ("User", "alice")
            assert decides(found) is Decision.ALLOWED
            assert (found.session_token, found.expires_at) == (None, None)
            assert found.secret not in repr(found)
            assert found.secret not in repr(user)

        self.run(scenario)

    def test_without_a_policy_there_are_no_policies(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            user = make_user("alice")
            await store.create(user)
            found = store.find_credential(key_of(user).access_key_id)
            assert found is not None
            assert found.policies == ()

        self.run(scenario)

    @pytest.mark.parametrize("unknown", ["", "AKIA", "AKIAAAAAAAAAAAAAAAAA", "0" * 12, "a/b", "\0", "ü"])
    def test_unknown_keys_find_nobody(self, unknown: str) -> None:
        async def scenario(store: IdentityStore) -> None:
            await store.create(make_user("alice"))
            assert store.find_credential(unknown) is None

        self.run(scenario)

    def test_roles_are_found_by_their_arn(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            role = make_role("worker", policy=POLICY, partition="aws-cn")
            await store.create(role)
            assert store.role(f"arn:aws-cn:iam::{ACCOUNT}:role/worker") == role
            assert store.role(f"arn:aws:iam::{ACCOUNT}:role/worker") is None
            assert store.role(f"arn:aws-cn:iam::{ACCOUNT}:user/worker") is None

        self.run(scenario)

    def test_all_are_listed_in_order_or_those_of_an_account(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            made: list[Identity] = [
                make_role("a"),
                make_user("B"),
                make_user("a"),
                make_role("a", account=OTHER_ACCOUNT),
            ]
            for identity in reversed(made):
                await store.create(identity)
            assert store.identities(None) == made
            assert store.identities(ACCOUNT) == made[:3]
            assert store.identities("nobody") == []
            assert store.identity(IdentityKey(ACCOUNT, IdentityKind.USER, "a")) == made[2]
            assert store.identity(IdentityKey(ACCOUNT, IdentityKind.USER, "A")) is None

        self.run(scenario)

    @pytest.mark.parametrize("name", ["alice", "ALICE"])
    def test_a_taken_name_is_refused_and_left_alone(self, name: str) -> None:
        async def scenario(store: IdentityStore) -> None:
            user, other = make_user("alice", policy=POLICY), make_user(name)
            await store.create(user)
            with pytest.raises(AlreadyExists):
                await store.create(other)
            assert store.identities(None) == [user]
            assert store.find_credential(key_of(other).access_key_id) is None

        self.run(scenario)

    def test_names_are_free_in_other_accounts_and_of_the_other_kind(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            await store.create(make_user("alice"))
            await store.create(make_user("alice", account=OTHER_ACCOUNT))
            await store.create(make_role("alice"))
            assert len(store.identities(None)) == 3

        self.run(scenario)

    def test_a_policy_is_in_force_when_the_call_returns(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            user, role = make_user("alice", policy=POLICY), make_role("alice")
            await store.create(user)
            await store.create(role)
            changed = await store.put_policy(user.key, OTHER_POLICY)
            assert changed == dataclasses.replace(user, policy=OTHER_POLICY)
            found = store.find_credential(key_of(user).access_key_id)
            assert found is not None
            assert decides(found) is Decision.DENIED_BY_IDENTITY_POLICY
            assert store.role(role.arn) == role
            assert await store.put_policy(role.key, POLICY) == store.role(role.arn)

        self.run(scenario)

    def test_what_is_no_policy_is_refused_and_nothing_changes(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            user = make_user("alice", policy=POLICY)
            await store.create(user)
            for wrong in (make_user("bob", policy="{"), make_role("r", policy="["), make_role("r", trust="")):
                with pytest.raises(MalformedPolicy):
                    await store.create(wrong)
            with pytest.raises(MalformedPolicy):
                await store.put_policy(user.key, "no policy")
            assert store.identities(None) == [user]

        self.run(scenario)

    def test_another_key_takes_the_place_of_the_old_one_at_once(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            user, key = make_user("alice", policy=POLICY), AccessKey.new(NOW + 1)
            await store.create(user)
            assert await store.replace_access_key(user.key, key) == dataclasses.replace(user, access_key=key)
            assert store.find_credential(key_of(user).access_key_id) is None
            found = store.find_credential(key.access_key_id)
            assert found is not None
            assert (found.secret, found.principal) == (key.secret, user.principal)
            assert decides(found) is Decision.ALLOWED

        self.run(scenario)

    def test_who_is_removed_is_nobody_at_once(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            user, role = make_user("alice"), make_role("alice")
            await store.create(user)
            await store.create(role)
            assert await store.delete(user.key)
            assert store.find_credential(key_of(user).access_key_id) is None
            assert store.identities(None) == [role]
            assert await store.delete(role.key)
            assert store.role(role.arn) is None
            assert not await store.delete(user.key)
            # Who comes back under the name is somebody else.
            again = make_user("alice")
            await store.create(again)
            assert again.user_id != user.user_id
            assert store.find_credential(key_of(user).access_key_id) is None

        self.run(scenario)

    def test_what_is_missing_is_not_changed(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            role = make_role("worker")
            await store.create(role)
            missing = IdentityKey(ACCOUNT, IdentityKind.USER, "worker")
            with pytest.raises(IdentityMissing):
                await store.put_policy(missing, POLICY)
            for key in (missing, role.key):
                with pytest.raises(IdentityMissing):
                    await store.replace_access_key(key, AccessKey.new(NOW))
            assert store.identities(None) == [role]

        self.run(scenario)

    def test_changes_at_once_are_all_kept_and_the_last_one_counts(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            user, keys = make_user("alice"), [AccessKey.new(NOW) for _ in range(20)]
            await store.create(user)
            await asyncio.gather(
                *(store.replace_access_key(user.key, key) for key in keys),
                store.put_policy(user.key, POLICY),
                *(store.create(make_user(f"user-{number}")) for number in range(20)),
            )
            assert store.identity(user.key) == dataclasses.replace(user, access_key=keys[-1], policy=POLICY)
            known = [key for key in keys if store.find_credential(key.access_key_id) is not None]
            assert known == keys[-1:]
            assert len(store.identities(None)) == 21

        self.run(scenario)

    def test_one_of_two_that_want_a_name_gets_it(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            outcomes = await asyncio.gather(
                store.create(make_user("Alice")), store.create(make_user("alice")), return_exceptions=True
            )
            assert [type(outcome) for outcome in outcomes if outcome] == [AlreadyExists]
            assert len(store.identities(None)) == 1

        self.run(scenario)

    def test_changes_are_told_before_the_writer_goes_on(self) -> None:
        async def scenario(store: IdentityStore) -> None:
            told: list[IdentityChange] = []
            store.subscribe(told.append)
            user, key = make_user("alice"), AccessKey.new(NOW)
            await store.create(user)
            assert told.pop() == (user.key, user)
            changed = await store.put_policy(user.key, POLICY)
            assert told.pop() == (user.key, changed)
            changed = await store.replace_access_key(user.key, key)
            assert told.pop() == (user.key, changed)
            await store.delete(user.key)
            assert told.pop() == (user.key, None)
            await store.delete(user.key)
            with pytest.raises(IdentityMissing):
                await store.put_policy(user.key, POLICY)
            assert told == []

        self.run(scenario)


class DurableIdentityStoreContract(IdentityStoreContract):
    """Promises about what the next process finds."""

    def test_what_was_written_is_there_again(self) -> None:
        user, role = make_user("alice", policy=POLICY), make_role("worker", policy=OTHER_POLICY)
        gone, key = make_user("gone"), AccessKey.new(NOW + 1)

        async def write(store: IdentityStore) -> None:
            for identity in (user, role, gone):
                await store.create(identity)
            await store.put_policy(role.key, POLICY)
            await store.replace_access_key(user.key, key)
            await store.delete(gone.key)

        async def read(store: IdentityStore) -> None:
            assert store.identities(None) == [
                dataclasses.replace(role, policy=POLICY),
                dataclasses.replace(user, access_key=key),
            ]
            found = store.find_credential(key.access_key_id)
            assert found is not None
            assert (found.secret, decides(found)) == (key.secret, Decision.ALLOWED)
            for old in (key_of(user), key_of(gone)):
                assert store.find_credential(old.access_key_id) is None

        self.run(write)
        self.run(read)
