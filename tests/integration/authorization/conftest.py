"""One server at level sigv4, and permissions that are gone after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.authorization.world import (
    INVOKING,
    World,
)
from tests.integration.conftest import running_server


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server, with one account's function that every test may ask for."""
    folder = tmp_path_factory.mktemp("authorization")
    with running_server(folder, LAMBENT_AUTH_LEVEL="sigv4") as server:
        made = World(server, folder / "marks")
        yield made
        # Of all that was asked and refused meanwhile.
        made.check_log()


@pytest.fixture
def permit(world: World) -> Iterator[Callable[..., None]]:
    """Add statements to the function's policies; they are gone after the test."""
    added: list[dict[str, str]] = []

    def add(principal: str, qualifier: str | None = None, action: str = INVOKING, **more: str) -> None:
        place = {"FunctionName": "hello", "StatementId": f"s{len(added)}"}
        if qualifier is not None:
            place["Qualifier"] = qualifier
        world.admin.client.add_permission(**place, Action=action, Principal=principal, **more)
        added.append(place)

    yield add
    for place in added:
        world.admin.client.remove_permission(**place)
