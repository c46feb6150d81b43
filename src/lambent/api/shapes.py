"""Shapes with parts: lists, maps, structures; and how shapes are made from the model.

What a shape does is told in :mod:`lambent.api.scalars`. Shapes are made once, by
:class:`ShapeFactory`; nothing of the model is looked at while a request is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lambent.api.constraints import NOT_NULL, print_name, tell_problem
from lambent.api.overrides import CHECKED_FIRST, OVERRIDES, Override
from lambent.api.scalars import SCALARS, Shape, wrong_type
from lambent.api.service_model import Model


class ListShape(Shape):
    """A list; one sentence tells all of its element rules, whichever elements break them.

    Args:
        facts: the list's words from the model.
        element: shape of the elements.
    """

    expected = "a list"

    def __init__(self, facts: Mapping[str, Any], element: Shape) -> None:
        super().__init__(facts)
        self.element = element
        self.sensitive = self.sensitive or element.sensitive
        # Problems of structures are told one by one, under a path of their own.
        self._nests = isinstance(element, StructureShape)
        self._nulls = bool(facts.get("null_elements"))
        texts = [] if self._nests else element.rule_texts()
        if facts.get("flat"):
            self._element_rule = texts[0]
        else:
            self._element_rule = _nested("Member", texts if self._nulls else [*texts, NOT_NULL])

    @property
    def checked(self) -> bool:
        """Whether ``check`` can find anything; null in the list is such a thing."""
        return True

    def rule_texts(self) -> list[str]:
        """Return the texts of the list's own rules and of its elements'."""
        return super().rule_texts() + ([] if self._nests else [self._element_rule])

    def read(self, value: Any, path: str) -> list[Any]:
        """Take a JSON list; nulls stay in it for ``check``, unless they mean nothing."""
        if not isinstance(value, list):
            raise wrong_type(path, self.expected, value)
        read = self.element.read
        if self._nulls:
            return [read(item, path) for item in value if item is not None]
        return [None if item is None else read(item, path) for item in value]

    def read_texts(self, texts: Iterable[str], path: str) -> list[Any]:
        """Take the values of a query parameter that is given several times."""
        return [self.element.read_text(text, path) for text in texts]

    def broken(self, value: list[Any]) -> list[str]:
        """Return the texts of broken rules: the list's own first."""
        texts = super().broken(value)
        if not self._nests and any(item is None or self.element.broken(item) for item in value):
            texts.append(self._element_rule)
        return texts

    def check(self, value: list[Any], path: str, problems: list[str]) -> None:
        """Add the list's problems, then those inside of structures in it."""
        super().check(value, path, problems)
        if self._nests:
            for number, item in enumerate(value, 1):
                _check_nested(self.element, item, f"{path}.{number}.member", problems)

    def write(self, value: Iterable[Any]) -> list[Any]:
        """Give a JSON list."""
        write = self.element.write
        return [write(item) for item in value]


class MapShape(Shape):
    """A map with text keys.

    Args:
        facts: the map's words from the model.
        key: shape of the keys.
        element: shape of the values.
    """

    expected = "an object"

    def __init__(self, facts: Mapping[str, Any], key: Shape, element: Shape) -> None:
        super().__init__(facts)
        self.key = key
        self.element = element
        self.sensitive = self.sensitive or key.sensitive or element.sensitive
        self._nests = isinstance(element, StructureShape)
        self._key_rule = _nested("Map keys", key.rule_texts())
        self._element_rule = _nested("Map value", [*element.rule_texts(), NOT_NULL])

    @property
    def checked(self) -> bool:
        """Whether ``check`` can find anything; a null value is such a thing."""
        return True

    def rule_texts(self) -> list[str]:
        """Return the texts of the map's own rules, its keys' and its values'."""
        texts = super().rule_texts()
        if self.key.rules:
            texts.append(self._key_rule)
        if not self._nests:
            texts.append(self._element_rule)
        return texts

    def read(self, value: Any, path: str) -> dict[str, Any]:
        """Take a JSON object; null values stay in it for ``check``."""
        if not isinstance(value, dict):
            raise wrong_type(path, self.expected, value)
        read = self.element.read
        return {key: None if item is None else read(item, path) for key, item in value.items()}

    def broken(self, value: dict[str, Any]) -> list[str]:
        """Return the texts of broken rules: the map's own, the keys', the values'."""
        texts = super().broken(value)
        if self.key.rules and any(self.key.broken(key) for key in value):
            texts.append(self._key_rule)
        if not self._nests and any(item is None or self.element.broken(item) for item in value.values()):
            texts.append(self._element_rule)
        return texts

    def check(self, value: dict[str, Any], path: str, problems: list[str]) -> None:
        """Add the map's problems, then those inside of structures in it."""
        super().check(value, path, problems)
        if self._nests:
            for key, item in value.items():
                _check_nested(self.element, item, f"{path}.{key}.member", problems)

    def write(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Give a JSON object."""
        write = self.element.write
        return {key: write(item) for key, item in value.items()}


class Member(NamedTuple):
    """A member of a structure: our name, its name in JSON, its name in messages."""

    name: str
    wire_name: str
    printed_name: str
    shape: Shape
    required: bool


class StructureShape(Shape):
    """An object with named members.

    Args:
        members: in the model's order. They may be set later, by :meth:`fill`, because
            a structure may contain itself.
    """

    expected = "an object"

    def __init__(self, members: Iterable[Member] = ()) -> None:
        super().__init__({"type": "structure"})
        self.fill(members)

    def fill(self, members: Iterable[Member]) -> None:
        """Set the members."""
        self.members = tuple(members)
        # A member that cannot be wrong is not visited. An unfilled structure counts as one
        # that can, which costs a visit and nothing else.
        self._checked = sorted(
            (member for member in self.members if member.required or member.shape.checked),
            key=lambda member: member.name not in CHECKED_FIRST,
        )

    @property
    def checked(self) -> bool:
        """Whether ``check`` can find anything."""
        return bool(self._checked) or not self.members

    def read(self, value: Any, path: str) -> dict[str, Any]:
        """Take a JSON object; members that are unknown or null are left out."""
        if not isinstance(value, dict):
            raise wrong_type(path, self.expected, value)
        prefix = f"{path}." if path else ""
        values = {}
        for name, wire_name, printed_name, shape, _ in self.members:
            item = value.get(wire_name)
            if item is not None:
                values[name] = shape.read(item, prefix + printed_name)
        return values

    def check(self, value: Mapping[str, Any], path: str, problems: list[str]) -> None:
        """Add the problems of all members."""
        prefix = f"{path}." if path else ""
        for name, _, printed_name, shape, required in self._checked:
            item = value.get(name)
            if item is not None:
                shape.check(item, prefix + printed_name, problems)
            elif required:
                problems.append(tell_problem(None, prefix + printed_name, NOT_NULL))

    def write(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Give a JSON object in the model's order, without absent members."""
        values = {}
        for name, wire_name, _, shape, _ in self.members:
            item = value.get(name)
            if item is not None:
                values[wire_name] = shape.write(item)
        return values


class ShapeFactory:
    """Builds shapes from the model and the overrides; each shape once.

    Args:
        model: as :func:`~lambent.api.service_model.load_service_model` returns it.
        overrides: rows of the overrides table.
    """

    def __init__(self, model: Model, overrides: Iterable[Override] = OVERRIDES) -> None:
        self._shapes = model["shapes"]
        self._overrides = {row.target: row.facts for row in overrides}
        self._built: dict[str, Shape] = {}

    def facts(self, name: str) -> dict[str, Any]:
        """Return a shape's words from the model, with its overrides applied."""
        return {**self._shapes[name], **self._overrides.get(name, {})}

    def build(self, name: str) -> Shape:
        """Return the shape called ``name``."""
        shape = self._built.get(name)
        if shape is None:
            facts = self.facts(name)
            if facts["type"] == "structure":
                # Known before its members are, for structures that contain themselves.
                structure = self._built[name] = StructureShape()
                structure.fill(self.members(name))
                return structure
            shape = self._built[name] = self._make(facts)
        return shape

    def members(self, structure: str, only: Iterable[str] | None = None) -> list[Member]:
        """Return a structure's members in the model's order.

        Args:
            structure: name of the structure's shape.
            only: names of the members wanted; all when None.
        """
        facts = self._shapes[structure]
        required = facts.get("required", ())
        wanted = facts["members"] if only is None else only
        return [
            Member(
                name,
                described.get("locationName", name),
                print_name(name),
                self._member_shape(structure, name, described["shape"]),
                name in required,
            )
            for name, described in facts["members"].items()
            if name in wanted
        ]

    def _member_shape(self, structure: str, member: str, shape: str) -> Shape:
        changes = self._overrides.get(f"{structure}.{member}")
        if changes is None:
            return self.build(shape)
        return self._make({**self.facts(shape), **changes})

    def _make(self, facts: dict[str, Any]) -> Shape:
        match facts["type"]:
            case "list":
                element = facts["member"]["shape"]
                if "printed_enum" in facts:
                    shown = {**self.facts(element), "printed_enum": facts["printed_enum"]}
                    return ListShape(facts, self._make(shown))
                return ListShape(facts, self.build(element))
            case "map":
                return MapShape(facts, self.build(facts["key"]["shape"]), self.build(facts["value"]["shape"]))
            case kind:
                return SCALARS[kind](facts)


def _nested(what: str, texts: list[str]) -> str:
    return f"{what} must satisfy constraint: [{', '.join(texts)}]"


def _check_nested(shape: Shape, value: Any, path: str, problems: list[str]) -> None:
    if value is None:
        problems.append(tell_problem(None, path, NOT_NULL))
    else:
        shape.check(value, path, problems)
