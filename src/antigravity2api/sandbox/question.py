"""What a question says, read by simple rules: its words, the things it names, its numbers and sums."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_STOP = frozenset(
    "a an the is are was were be been do does did can could will would should may might must shall i you he she it we "
    "they me "
    "my your his her its our their this that these those what which who whom whose when where why how there here and "
    "or but if "
    "then so of in on at to for from by with about into over under as than please tell give show get set make let find "
    "use "
    "using call run have has had not no yes all any some one just now want need like know me us them also up out "
    "more".split()
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAMED = re.compile(
    r"[A-Z\u00c0-\u00de][\w'\u2019-]*(?:[ ](?:de|del|la|el|of|the|am|an|der|upon)(?=[ ][A-Z\u00c0-\u00de])|[ "
    r"][A-Z\u00c0-\u00de][\w'\u2019-]*)*"
)
_QUOTED = re.compile(
    r'"([^"\n]{1,300})"|\u201c([^\u201d\n]{1,300})\u201d|`([^`\n]{1,300})`|(?<!\w)\'([^\'\n]{1,300})\'(?!\w)'
)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
_URL = re.compile(r"https?://[^\s<>\"')\]]+[^\s<>\"')\].,!?;:]")
_PATH = re.compile(
    r"(?<![\w/:.])(?:[~.]{0,2}/)?(?:[\w.-]+/)*[\w-]+\.[A-Za-z][\w]{0,7}(?![\w/])|(?<![\w/:])/(?:[\w.-]+/?)+"
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_PLACE = re.compile(r"\b(?:in|at|near|from|to|around|for|of|visiting)\s+(?:the\s+)?([a-z][\w-]+)\b", re.IGNORECASE)
_SUM = re.compile(r"\d[\d\s.]*(?:(?:\*\*|[-+*/%^x\u00d7\u00f7()])[\s(]*\d[\d\s.)]*)+")
_NOT_NAMES = frozenset("I What Who Where When Why How Which Is Are Do Does Can Could Please Tell Give Show".split())


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what could be read out of it."""

    text: str
    words: frozenset[str]
    names: tuple[str, ...]
    """Capitalised things, in order: places, people."""
    quoted: tuple[str, ...]
    numbers: tuple[float, ...]
    urls: tuple[str, ...]
    paths: tuple[str, ...]
    emails: tuple[str, ...]
    dates: tuple[str, ...]

    @property
    def place(self) -> str | None:
        """A place by its preposition, where no capital letter gives one away."""
        for match in _PLACE.finditer(self.text):
            if match[1].lower() not in _STOP:
                return match[1].title()
        return None

    @property
    def sum(self) -> tuple[str, str] | None:
        """An arithmetic expression in Python's spelling, and its value."""
        match = _SUM.search(self.text)
        if match is None:
            return None
        expression = re.sub(r"[x\u00d7]", "*", match[0].replace("\u00f7", "/").replace("^", "**")).strip()
        expression = " ".join(expression.split())
        value = evaluate(expression)
        return None if value is None else (expression, value)


def read(text: str) -> Question:
    """The question in ``text``."""
    text = text[:20_000]
    bare = _URL.sub(" ", text)
    return Question(
        text=text,
        words=words(text),
        names=tuple(dict.fromkeys(_names(bare)))[:20],
        quoted=tuple(next(group for group in match.groups() if group) for match in _QUOTED.finditer(text))[:20],
        numbers=tuple(float(match[0]) for match in _NUMBER.finditer(bare))[:50],
        urls=tuple(_URL.findall(text))[:20],
        paths=tuple(_PATH.findall(bare))[:20],
        emails=tuple(_EMAIL.findall(text))[:20],
        dates=tuple(_DATE.findall(text))[:20],
    )


def words(text: str) -> frozenset[str]:
    """The telling words of a text: lower case, cut to a stem, camelCase and snake_case taken apart, no fillers."""
    found: set[str] = set()
    for match in _WORD.finditer(_CAMEL.sub(" ", text[:20_000].replace("_", " "))):
        word = match[0].lower()
        if not word.isascii():
            found.update(word[at : at + 2] for at in range(max(1, len(word) - 1)))
        elif word not in _STOP and (len(word) > 1 or word.isdigit()):
            found.add(_stem(word))
    return frozenset(found)


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ings", "ing", "ies", "es", "ed", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _names(text: str) -> list[str]:
    found = []
    for match in _NAMED.finditer(text):
        name = match[0]
        start = match.start()
        first = name.split(" ")[0]
        opens = not text[:start].strip() or text[:start].rstrip()[-1:] in ".!?:\n"
        if first in _NOT_NAMES or (opens and (first.lower() in _STOP or " " not in name)):
            name = name[len(first) :].strip()
        if name:
            found.append(name)
    return found


_OPERATORS: Mapping[type[ast.operator], str] = MappingProxyType(
    {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.Pow: "**", ast.FloorDiv: "//"}
)


def evaluate(expression: str) -> str | None:
    """The value of a sum of plain numbers, as Python prints it; None for anything else or anything large."""
    if len(expression) > 200:
        return None
    try:
        value = _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError, MemoryError):
        return None
    return str(value).removesuffix(".0")


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _apply(_OPERATORS.get(type(op), ""), _value(left), _value(right))
    raise ValueError


def _apply(operator: str, left: float, right: float) -> float:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
        case "//":
            return left // right
        case "%":
            return left % right
        case "**" if abs(left) <= 1e6 and 0 <= right <= 64:
            result = left**right
            return float(result) if isinstance(result, float) else result
    raise ValueError
