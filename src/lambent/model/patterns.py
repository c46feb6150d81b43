"""Texts of a policy that stand for many: wildcards, policy variables, ARNs part by part.

A set of patterns is made into one regular expression when the policy is read, and never
again: the value of a variable is not written into the pattern but put before the text,
and the pattern refers back to it. No pattern takes more steps than its length times the
text's, because what lies between two ``*`` is never tried again at a later place.

Source: docs/aws-behaviour.md, versions-permissions 5.6, "Policies".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

Context = Mapping[str, tuple[str, ...]]
"""What is known of a request: condition keys in lower case, and their values."""

_ARN_COLONS = 5
# Stands between a variable's value and what follows it; no name, address or ARN has it.
_END = "\0"


class MalformedPolicy(Exception):
    """A text is no policy.

    Attributes:
        sentence: what is wrong with it, and where.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UnresolvedVariable(Exception):
    """The request has no value for a policy variable that has no default: the statement does not apply."""


class Kind(Enum):
    """How a pattern is compared with a text.

    ``PLAIN`` knows no wildcards. ``ARN`` compares each of the six parts by itself: no
    wildcard of the first five goes beyond a colon.
    """

    PLAIN = auto()
    WILD = auto()
    ARN = auto()


class Patterns:
    """Several patterns; a text matches when one of them does.

    Args:
        texts: as they stand in the policy.
        kind: what wildcards do in them.
        variables: whether ``${…}`` means something: from Version 2012-10-17 on.
        ignore_case: compare without case.

    Raises:
        MalformedPolicy: a variable is not written as one.
    """

    __slots__ = ("depend_on_context", "match")

    match: Callable[[str, Context], bool]
    """Tells whether a text matches one of them.

    Raises:
        UnresolvedVariable: also when another pattern matches: AWS says that the
            statement as a whole is not valid then.
    """

    depend_on_context: bool
    """Whether one of them has a variable."""

    def __init__(
        self, texts: Sequence[str], kind: Kind, *, variables: bool, ignore_case: bool = False
    ) -> None:
        literals, expressions, templates = set[str](), list[str](), list[_Template]()
        for text in texts:
            tokens = _tokens(text.lower() if ignore_case else text, kind=kind, variables=variables)
            names = tuple(token for token in tokens if isinstance(token, _Variable))
            if names:
                templates.append(_Template(names, _compiled(_values(names) + _expression(tokens, kind))))
            elif kind is not Kind.ARN and all(isinstance(token, str) for token in tokens):
                literals.add("".join(str(token) for token in tokens))
            elif not (kind is Kind.WILD and text == "*"):
                expressions.append(_expression(tokens, kind))
        everything = kind is Kind.WILD and "*" in texts
        match = _everything if everything else _match_of(frozenset(literals), expressions)
        if templates:
            match = _match_with_variables(match, templates, ignore_case=ignore_case)
        self.match = _without_case(match) if ignore_case else match
        self.depend_on_context = bool(templates)


_Match = Callable[[str, Context], bool]


# What is asked most often is asked in the fewest steps: these stand on the path of a warm Invoke.
def _everything(_text: str, _context: Context) -> bool:
    return True


def _match_of(literals: frozenset[str], expressions: Sequence[str]) -> _Match:
    if not expressions:
        return lambda text, _: text in literals
    fullmatch = _compiled("|".join(expressions)).fullmatch
    if not literals:
        return lambda text, _: fullmatch(text) is not None
    return lambda text, _: text in literals or fullmatch(text) is not None


def _match_with_variables(match: _Match, templates: Sequence[_Template], *, ignore_case: bool) -> _Match:
    def match_all(text: str, context: Context) -> bool:
        found = [template.match(text, context, ignore_case=ignore_case) for template in templates]
        return any(found) or match(text, context)

    return match_all


def _without_case(match: _Match) -> _Match:
    return lambda text, context: match(text.lower(), context)


class _Wildcard(Enum):
    STAR = auto()
    ONE = auto()


class _Variable(NamedTuple):
    name: str
    default: str | None

    def value(self, context: Context) -> str:
        values = context.get(self.name, ())
        # A key of several values is no variable.
        if len(values) == 1 and _END not in values[0]:
            return values[0]
        if self.default is None:
            raise UnresolvedVariable(self.name)
        return self.default


_Token = str | _Wildcard | _Variable


class _Template(NamedTuple):
    """A pattern with variables; its expression reads their values, then the text."""

    variables: tuple[_Variable, ...]
    expression: re.Pattern[str]

    def match(self, text: str, context: Context, *, ignore_case: bool) -> bool:
        values = [variable.value(context) for variable in self.variables]
        if ignore_case:
            values = [value.lower() for value in values]
        return self.expression.fullmatch(_END.join([*values, text])) is not None


def check_resource(text: str, *, variables: bool) -> None:
    """Refuse what cannot be the pattern of an ARN.

    Raises:
        MalformedPolicy: it begins neither as an ARN nor with a wildcard, or has a
            variable before the resource part.
    """
    if not text.startswith("arn:") and not any(wildcard in text[:4] for wildcard in "*?"):
        raise MalformedPolicy(f'Resource {text!r} is neither an ARN nor "*".')
    colons = 0
    for token in _tokens(text, kind=Kind.WILD, variables=variables):
        if isinstance(token, _Variable) and colons < _ARN_COLONS:
            raise MalformedPolicy(f"Resource {text!r} has a variable before its fifth colon.")
        if token is _Wildcard.STAR:
            return
        colons += token.count(":") if isinstance(token, str) else 0


def _tokens(text: str, *, kind: Kind, variables: bool) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    while variables and (start := text.find("${", place)) >= 0:
        tokens += _plain_tokens(text[place:start], kind)
        end = text.find("}", start)
        if end < 0:
            raise MalformedPolicy(f"The variable in {text!r} has no closing brace.")
        tokens.append(_variable(text[start + 2 : end]))
        place = end + 1
    return tokens + _plain_tokens(text[place:], kind)


def _plain_tokens(text: str, kind: Kind) -> list[_Token]:
    if kind is Kind.PLAIN:
        return [text]
    wildcards: dict[str, _Token] = {"*": _Wildcard.STAR, "?": _Wildcard.ONE}
    return [wildcards.get(part, part) for part in re.split(r"([*?])", text) if part]


def _variable(inside: str) -> str | _Variable:
    """Read what stands between the braces: a name, perhaps with a default, or a special character."""
    if inside in {"*", "?", "$"}:
        return inside
    name, comma, default = (part.strip() for part in inside.partition(","))
    is_quoted = len(default) > 1 and default[0] == default[-1] == "'" and "'" not in default[1:-1]
    if not name or set("{$'\0") & set(name) or _END in default or bool(comma) != is_quoted:
        raise MalformedPolicy(f"${{{inside}}} is no policy variable.")
    return _Variable(name.lower(), default[1:-1] if is_quoted else None)


def _values(names: Sequence[_Variable]) -> str:
    """Return the expression that reads the variables' values, as groups v1, v2, …."""
    return "".join(f"(?P<v{number}>[^{_END}]*){_END}" for number in range(1, len(names) + 1))


def _expression(tokens: Sequence[_Token], kind: Kind) -> str:
    # Groups are numbered in the order in which variables stand.
    groups = iter(range(1, len(tokens) + 1))
    if kind is not Kind.ARN:
        return _glob(tokens, ".", groups)
    if list(tokens) == [_Wildcard.STAR]:
        return "(?:[^:]*:){5}.*"
    parts = _parts(tokens)
    if len(parts) <= _ARN_COLONS and not any(isinstance(token, _Variable) for token in tokens):
        return "(?!)"
    beginning = "".join(_glob(part, "[^:]", groups) + ":" for part in parts[:-1])
    return "(?=(?:[^:]*:){5})" + beginning + _glob(parts[-1], ".", groups)


def _parts(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """Part the tokens of an ARN at its first five colons; those inside a variable's value do not count."""
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if not isinstance(token, str):
            parts[-1].append(token)
            continue
        first, *others = token.split(":", _ARN_COLONS + 1 - len(parts))
        parts[-1].append(first)
        parts += [[other] for other in others]
    return parts


def _glob(tokens: Sequence[_Token], character: str, groups: Iterator[int]) -> str:
    runs = [""]
    for token in tokens:
        if token is _Wildcard.STAR:
            runs.append("")
        elif token is _Wildcard.ONE:
            runs[-1] += character
        elif isinstance(token, _Variable):
            runs[-1] += f"(?P=v{next(groups)})"
        else:
            runs[-1] += re.escape(str(token))
    first, *others = runs
    if not others:
        return first
    # The first place where a run fits is as good as any later one: nothing is gained by trying those.
    between = "".join(f"(?>{character}*?{run})" for run in others[:-1] if run)
    return f"{first}{between}{character}*{others[-1]}"


def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL)


__all__ = ["Context", "Kind", "MalformedPolicy", "Patterns", "UnresolvedVariable", "check_resource"]
