"""Which operation a request asks for: method and raw path → operation and labels.

The table is made from the service model, for all of its operations. A path is cut at
``/`` *before* it is percent-decoded, because ARNs arrive with ``%2F`` inside one
segment; each label is decoded exactly once. Every operation carries its own API date,
so the whole path decides.

The table is a tree of dictionaries, one level for each segment::

    2015-03-31 ─ functions ─┬─ (end)  POST CreateFunction, GET ListFunctions
                            └─ {label} ─┬─ (end)  GET GetFunction, DELETE DeleteFunction
                                        └─ invocations ─ (end)  POST Invoke

Two paths are told apart by the query only: ``GetLayerVersionByArn`` is ``ListLayers``
with ``find=LayerVersion``, ``ListProvisionedConcurrencyConfigs`` is
``GetProvisionedConcurrencyConfig`` with ``List=ALL``.

Source: docs/aws-behaviour.md, operations 6.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from lambent.api.service_model import Model, load_service_model
from lambent.model.errors import UnknownOperationException

# No path of the model comes near; what is longer is not walked.
_DEEPEST = 16


class Route(NamedTuple):
    """The operation and its path labels by their names in the model, decoded once."""

    operation: str
    labels: Mapping[str, str]


@dataclass(slots=True)
class _Target:
    """One operation at the end of a path."""

    operation: str
    label_names: tuple[str, ...]


@dataclass(slots=True)
class _Choice:
    """The operations of one path and method: those that a query pair selects, and the plain one."""

    plain: _Target | None = None
    by_query: list[tuple[tuple[str, str], _Target]] = field(default_factory=list)


@dataclass(slots=True)
class _Node:
    """One place in the tree; ``label`` is the branch that takes any segment."""

    segments: dict[bytes, _Node] = field(default_factory=dict)
    label: _Node | None = None
    methods: dict[str, _Choice] = field(default_factory=dict)


class Router:
    """The table of all operations of a service model.

    Args:
        model: as :func:`~lambent.api.service_model.load_service_model` returns it.
    """

    def __init__(self, model: Model) -> None:
        self._root = _Node()
        for name, operation in model["operations"].items():
            self._add(name, operation["http"]["method"], operation["http"]["requestUri"])

    def match(self, method: str, raw_path: bytes, query: Iterable[tuple[str, str]]) -> Route:
        """Return what a request asks for.

        An empty label (``functions//invocations``) is a label, so that validation can
        say what is wrong with it; one trailing slash is ignored.

        Args:
            method: upper case.
            raw_path: from the request line, still percent-encoded, without the query.
            query: decoded pairs in their order.

        Raises:
            UnknownOperationException: 404 for a path that no operation has, 405 for a
                path that another method has.
        """
        node, labels = self._walk(raw_path)
        choice = node.methods.get(method)
        if choice is None:
            raise UnknownOperationException(status=405)
        target = choice.plain
        if choice.by_query:
            pairs = set(query)
            target = next((other for pair, other in choice.by_query if pair in pairs), target)
        if target is None:
            raise UnknownOperationException
        if len(labels) == 1:
            return Route(target.operation, {target.label_names[0]: _decode(labels[0])})
        return Route(target.operation, dict(zip(target.label_names, map(_decode, labels), strict=True)))

    def _walk(self, raw_path: bytes) -> tuple[_Node, list[bytes]]:
        """Return the place of a path and the raw texts of its labels."""
        parts = raw_path.split(b"/", _DEEPEST)
        if parts[-1] == b"" and len(parts) > 1:
            parts.pop()
        if not parts or parts[0] != b"":
            raise UnknownOperationException
        node = self._root
        labels: list[bytes] = []
        for part in parts[1:]:
            following = node.segments.get(part)
            if following is None:
                following = node.label
                if following is None:
                    raise UnknownOperationException
                labels.append(part)
            node = following
        if not node.methods:
            raise UnknownOperationException
        return node, labels

    def _add(self, operation: str, method: str, uri: str) -> None:
        path, _, query = uri.partition("?")
        node = self._root
        names = []
        for part in path.strip("/").split("/"):
            if part.startswith("{"):
                names.append(part.strip("{}"))
                node.label = node.label or _Node()
                node = node.label
            else:
                node = node.segments.setdefault(part.encode(), _Node())
        choice = node.methods.setdefault(method, _Choice())
        target = _Target(operation, tuple(names))
        pairs = parse_qsl(query, keep_blank_values=True)
        if pairs:
            # The model never asks for two pairs at once; the first would be enough then too.
            choice.by_query.append((pairs[0], target))
        else:
            choice.plain = target


def _decode(label: bytes) -> str:
    """Percent-decode once; what is not UTF-8 becomes U+FFFD, which no pattern of the model takes."""
    if b"%" in label:
        label = unquote_to_bytes(label)
    return label.decode("utf-8", "replace")


@functools.cache
def installed_router() -> Router:
    """Return the router of the installed model; made at the first call."""
    return Router(load_service_model())


def match(method: str, raw_path: bytes, query: Iterable[tuple[str, str]]) -> Route:
    """Match against the installed model; see :meth:`Router.match`."""
    return installed_router().match(method, raw_path, query)
