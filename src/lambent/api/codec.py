"""Requests to typed input, output to responses, for every operation of the service model.

What a request looks like is read from the installed service model; where AWS behaves
otherwise, a row of :mod:`lambent.api.overrides` says so. For each operation a plan is
made at its first use, so serving a request never looks at the model.

Not here: which path is which operation (``routes.py``), what a value means and whether
the resource allows it (``control``), status and body of refusals (``answers.py``).

Source: docs/aws-behaviour.md, functions 7.1 to 7.6 and invoke 1.1.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lambent import limits
from lambent.api.constraints import print_name
from lambent.api.json_body import parse_json
from lambent.api.overrides import (
    MAX_BODY_BYTES,
    NO_EFFECT,
    OVERRIDES,
    PRINTED_OPERATIONS,
    STATUSES,
    Override,
)
from lambent.api.scalars import Shape
from lambent.api.service_model import Model, load_service_model
from lambent.api.shapes import ListShape, ShapeFactory, StructureShape
from lambent.model.errors import (
    InvalidParameterValueException,
    RequestEntityTooLargeException,
    SerializationException,
    ValidationException,
)


@dataclass(frozen=True, slots=True)
class _Located:
    """An input member that is not in the body: our name, its key there, its name in messages."""

    name: str
    key: str
    path: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class _InputPlan:
    """How one operation's request becomes its input.

    Attributes:
        blob: the member that is the raw body, if one is.
        payload: the structure member that the JSON body is, if one is.
        body: the members that are in a JSON object, if any are.
        checked: all members, for the constraints.
    """

    labels: tuple[_Located, ...]
    query: tuple[_Located, ...]
    headers: tuple[_Located, ...]
    blob: str | None
    payload: _Located | None
    body: StructureShape | None
    checked: StructureShape


@dataclass(frozen=True, slots=True)
class _OutputPlan:
    """How one operation's output becomes its response.

    Attributes:
        status_member: the member that carries another status than ``status``.
        headers: (member, header name).
        blob: the member that is the raw body, if one is.
        body: the members that are in a JSON object, if any are.
    """

    status: int
    status_member: str | None
    headers: tuple[tuple[str, str], ...]
    blob: str | None
    body: StructureShape | None


class Codec:
    """One codec for all operations of ``lambda/2015-03-31``.

    Immutable but for its plans, which are made when they are first needed.

    Args:
        model: the installed service model when None.
        overrides: where AWS differs from the model.
    """

    def __init__(self, model: Model | None = None, overrides: Iterable[Override] = OVERRIDES) -> None:
        self._model = load_service_model() if model is None else model
        self._factory = ShapeFactory(self._model, overrides)
        self._inputs: dict[str, _InputPlan] = {}
        self._outputs: dict[str, _OutputPlan] = {}

    @functools.cached_property
    def operations(self) -> frozenset[str]:
        """Names of the model's operations."""
        return frozenset(self._model["operations"])

    def parse(
        self,
        operation: str,
        labels: Mapping[str, str],
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> dict[str, Any]:
        """Return an operation's input by the model's member names.

        Absent and null members are left out. Blobs are bytes, timestamps seconds since
        the epoch. Unknown members and parameters are ignored; of a parameter that is
        given twice the first counts, unless it is a list.

        Args:
            operation: its name in the model.
            labels: from the path, decoded once.
            query: decoded pairs in their order.
            headers: names in lower case.
            body: as it arrived.

        Raises:
            InvalidRequestContentException: the body is not JSON.
            SerializationException: a member has another type.
            ValidationException: constraints are broken; all of them are told, the
                qualifier's first, then the others' in the model's order.

        Source: docs/aws-behaviour.md, functions 7.6 and invoke 1.1.
        """
        plan = self._inputs.get(operation) or self._plan_input(operation)
        values: dict[str, Any] = {}
        for member in plan.labels:
            if (text := labels.get(member.key)) is not None:
                values[member.name] = member.shape.read_text(_encodable(text), member.path)
        if query and plan.query:
            _read_query(plan.query, query, values)
        for member in plan.headers:
            if (text := headers.get(member.key)) is not None:
                values[member.name] = member.shape.read_text(_encodable(text), member.path)
        if plan.blob is not None:
            values[plan.blob] = body
        elif body and plan.body is not None:
            values.update(plan.body.read(_object(body), ""))
        elif body and plan.payload is not None:
            values[plan.payload.name] = plan.payload.shape.read(_object(body), plan.payload.path)
        problems: list[str] = []
        plan.checked.check(values, "", problems)
        if problems:
            raise ValidationException.of(problems)
        return values

    def render(self, operation: str, output: Mapping[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body of an operation's success.

        None counts as absent, and absent members are left out; the others stand in the
        model's order. A member that the installed model does not know is left out too:
        an older model knows fewer. ``Content-Type`` is the caller's business, for an
        answer whose body the function made may have any.

        Args:
            operation: its name in the model.
            output: by the model's member names; a member that is a status
                (``StatusCode`` of Invoke) replaces the operation's own.

        Source: docs/aws-behaviour.md, functions 7.1 and 7.18 e.
        """
        plan = self._outputs.get(operation) or self._plan_output(operation)
        status = plan.status
        if plan.status_member is not None and output.get(plan.status_member) is not None:
            status = int(output[plan.status_member])
        headers = [(key, str(output[name])) for name, key in plan.headers if output.get(name) is not None]
        if status == 204:
            return status, headers, b""
        if plan.blob is not None:
            return status, headers, output.get(plan.blob) or b""
        if plan.body is None:
            return status, headers, b""
        return status, headers, _write_json(plan.body.write(output)).encode("utf-8", "replace")

    def refuse_unserved(
        self, operation: str, values: Mapping[str, Any], served: Collection[str] | None
    ) -> None:
        """Refuse what this version does not serve; nothing is ignored silently.

        A value that asks for what happens anyway (False, an empty text, list or object,
        AWS's default) is no reason to refuse.

        Args:
            operation: its name in the model.
            values: as :meth:`parse` returned them.
            served: names of the operation's members that are served, ``Code`` for the
                whole of it, ``Code.ZipFile`` for one part; None for an operation that
                is not served at all.

        Raises:
            InvalidParameterValueException: with the name of the operation or member.
        """
        if served is None:
            raise _not_served(operation)
        for name, value in values.items():
            if name not in served:
                _refuse_member(name, value, served)

    def max_body_bytes(self, operation: str | None) -> int:
        """Return how many bytes the request's body may have, inclusive.

        Args:
            operation: its name in the model; None for a request that asks for none.

        Source: docs/aws-behaviour.md, functions 7.4.
        """
        return MAX_BODY_BYTES.get(operation or "", limits.OTHER_REQUEST_BYTES)

    def too_large(self, operation: str | None) -> RequestEntityTooLargeException:
        """Return the refusal of a body of more bytes than that; arguments as there."""
        text = f"Request must be smaller than {self.max_body_bytes(operation)} bytes"
        if operation is not None:
            text += f" for the {PRINTED_OPERATIONS.get(operation, operation)} operation"
        return RequestEntityTooLargeException(text)

    def _plan_input(self, operation: str) -> _InputPlan:
        shape = self._model["operations"][operation].get("input", {}).get("shape")
        described = self._model["shapes"][shape] if shape else {"members": {}}
        members = self._factory.members(shape) if shape else []
        places: dict[str, list[_Located]] = {"uri": [], "querystring": [], "header": []}
        payload = described.get("payload")
        in_body = []
        for member in members:
            place = described["members"][member.name].get("location")
            if place is not None:
                key = member.wire_name.lower() if place == "header" else member.wire_name
                path = print_name(member.wire_name) if place != "header" else member.printed_name
                places[place].append(_Located(member.name, key, path, member.shape))
            elif member.name != payload:
                in_body.append(member)
        whole = next((member for member in members if member.name == payload), None)
        is_structure = whole is not None and isinstance(whole.shape, StructureShape)
        plan = self._inputs[operation] = _InputPlan(
            labels=tuple(places["uri"]),
            query=tuple(places["querystring"]),
            headers=tuple(places["header"]),
            blob=whole.name if whole is not None and not is_structure else None,
            payload=_Located(whole.name, "", "", whole.shape) if whole is not None and is_structure else None,
            body=StructureShape(in_body) if in_body and payload is None else None,
            checked=StructureShape(members),
        )
        return plan

    def _plan_output(self, operation: str) -> _OutputPlan:
        described = self._model["operations"][operation]
        status = STATUSES.get(operation, described["http"].get("responseCode", 200))
        shape = described.get("output", {}).get("shape")
        structure = self._model["shapes"][shape] if shape else {"members": {}}
        locations = {
            name: (member.get("location"), member.get("locationName", name))
            for name, member in structure["members"].items()
        }
        payload = structure.get("payload")
        in_body = [name for name, (place, _) in locations.items() if place is None and name != payload]
        is_blob = payload is not None and self._payload_type(structure, payload) == "blob"
        plan = self._outputs[operation] = _OutputPlan(
            status=status,
            status_member=next(
                (name for name, (place, _) in locations.items() if place == "statusCode"), None
            ),
            headers=tuple((name, key) for name, (place, key) in locations.items() if place == "header"),
            blob=payload if is_blob else None,
            # An event stream is not written here: its frames follow the headers.
            body=StructureShape(self._factory.members(shape, in_body)) if shape and payload is None else None,
        )
        return plan

    def _payload_type(self, structure: Mapping[str, Any], payload: str) -> str:
        return str(self._model["shapes"][structure["members"][payload]["shape"]]["type"])


@functools.cache
def _installed() -> Codec:
    return Codec()


def parse_request(
    operation: str,
    labels: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, Any]:
    """Do what :meth:`Codec.parse` does by the installed model; for a process beside the server."""
    return _installed().parse(operation, labels, query, headers, body)


_write_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _read_query(
    members: Iterable[_Located], query: Sequence[tuple[str, str]], values: dict[str, Any]
) -> None:
    given: dict[str, list[str]] = {}
    for key, text in query:
        given.setdefault(key, []).append(_encodable(text))
    for member in members:
        texts = given.get(member.key)
        if texts is None:
            continue
        shape = member.shape
        if isinstance(shape, ListShape):
            values[member.name] = shape.read_texts(texts, member.path)
        else:
            values[member.name] = shape.read_text(texts[0], member.path)


def _object(body: bytes) -> dict[str, Any]:
    """Return the body's members; a body that is null has none."""
    value = parse_json(body)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SerializationException("The request body must be a JSON object.")
    return value


def _encodable(text: str) -> str:
    """Replace what is left of broken UTF-8, so that every text can be printed in an answer."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _not_served(name: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"{name} is not served by this version of Lambent.")


def _refuse_member(path: str, value: Any, served: Collection[str]) -> None:
    """Refuse a member that is not served as a whole, or those parts of it that are not."""
    if path in served or not _has_effect(path, value):
        return
    if isinstance(value, dict) and _is_partly_served(path, served):
        for name, item in value.items():
            _refuse_member(f"{path}.{name}", item, served)
        return
    raise _not_served(path)


def _is_partly_served(path: str, served: Collection[str]) -> bool:
    prefix = f"{path}."
    return any(name.startswith(prefix) for name in served)


def _has_effect(path: str, value: Any) -> bool:
    """Tell whether a value asks for anything but what AWS does unasked; the number 0 does."""
    if value is False or (not isinstance(value, int | float) and not value) or NO_EFFECT.get(path) == value:
        return False
    if isinstance(value, dict):
        return any(_has_effect(f"{path}.{name}", item) for name, item in value.items())
    return True
