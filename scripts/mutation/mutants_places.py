"""Where a module can be mutated, and how: Cosmic Ray's operators and two more, without what no test should notice.

Of the mutants of one place (`<` can become five other things) one is drawn, so that all places weigh the same.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Name, PythonNode

__all__ = ["Mutant", "Place", "places_of"]

_SAME = ("Eq_Is", "NotEq_IsNot")  # for what is compared here
_IDENTITY = ("ReplaceComparisonOperator_Is_", "ReplaceComparisonOperator_IsNot_")
_OPPOSITES = ("_Is_IsNot", "_IsNot_Is")  # `<` of what is only told apart means nothing
_FIGURE = 100  # one more or less of so many is another figure, and no other behaviour
_WITHOUT_EFFECT = {"override", "overload", "final", "runtime_checkable", "cache", "lru_cache"}  # decorators; but time
_CHECKED_BY_MYPY = {"dataclass"}  # its arguments: frozen, slots and kw_only
_LOGGERS = {"_log", "_logger", "logger"}
_NEVER_RAISED = "FloatingPointError"
_REPLACED = ("ExceptionReplacer",)  # by an operator of our own
_REMOVABLE = {"atom_expr", "expr_stmt", "del_stmt", "raise_stmt"}

_Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one thing in it changed.

    Attributes:
        path: of the module, relative to the tree.
        line: where, from 1.
        operator: what was done.
        code: the whole module.
        diff: unified.
    """

    path: str
    line: int
    operator: str
    code: str
    diff: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a module can be mutated; to make all mutants of all modules would take minutes.

    Attributes:
        path: as a mutant's.
        line: likewise.
        operator: likewise.
        occurrence: the how manieth of that operator, from 0.
    """

    path: str
    line: int
    operator: str
    occurrence: int

    def mutant(self, root: Path) -> Mutant | None:
        """Return the mutant; None if it is no Python: nobody could write it unnoticed."""
        source = (root / self.path).read_text()
        code = mutate_code(source, _operators()[self.operator], self.occurrence)
        if code is None or code == source or not _is_python(code):
            return None
        return Mutant(self.path, self.line, self.operator, code, _diff(self.path, source, code))


class RemoveStatement(Operator):  # type: ignore[misc]  # Cosmic Ray has no types
    """Does not call, set an attribute or an item, delete or raise. Cosmic Ray's own operators change only values."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[_Position, _Position]]:
        """Yield the place of *node* if it is such a statement."""
        if getattr(node.parent, "type", None) == "simple_stmt" and node.type in _REMOVABLE and _has_effect(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        """Return what stands there instead."""
        return Name(f"{node.get_first_leaf().prefix}pass", node.start_pos)

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none: they are for Cosmic Ray's own tests."""
        return ()


class CatchNothing(Operator):  # type: ignore[misc]  # Cosmic Ray has no types
    """Does not catch one kind of exception. Cosmic Ray's own operator fails where its name has a dot."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[_Position, _Position]]:
        """Yield the place of each kind that an `except` names."""
        yield from ((kind.start_pos, kind.end_pos) for _, kind in _kinds(node))

    def mutate(self, node: Any, index: int) -> Any:
        """Let *node* name a kind instead that nothing raises."""
        parent, kind = list(_kinds(node))[index]
        prefix = kind.get_first_leaf().prefix
        parent.children[parent.children.index(kind)] = Name(f"{prefix}{_NEVER_RAISED}", kind.start_pos)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none: they are for Cosmic Ray's own tests."""
        return ()


def places_of(path: str, root: Path, random: Random) -> list[Place]:
    """Return each place of a module with one of its mutants, drawn by *random*."""
    source = (root / path).read_text()
    nodes, lines = list(ast_nodes(get_ast(source))), source.splitlines()
    ignored = list(_ignored(source))
    found: dict[tuple[_Position, _Position, str], list[tuple[str, int]]] = {}
    for name, operator in _operators().items():
        positions = (position for node in nodes for position in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            is_mark = lines[start[0] - 1][start[1] :].startswith("*,")  # between parameters; taken for a product
            if not is_mark and not any(first <= start and end <= last for first, last in ignored):
                found.setdefault((start, end, name.split("_")[0]), []).append((name, occurrence))
    return [Place(path, place[0][0], *random.choice(found[place])) for place in sorted(found)]


def _is_python(code: str) -> bool:
    """Tell whether a mutant can be compiled."""
    with warnings.catch_warnings(action="ignore"):  # of what a person would not write
        try:
            compile(code, "mutant", "exec", dont_inherit=True)
        except SyntaxError:
            return False
    return True


@cache
def _operators() -> dict[str, Operator]:
    provider, chosen = OperatorProvider(), {}
    for name in provider:
        operator = provider[name]
        is_odd = name.startswith(_IDENTITY) and not name.endswith(_OPPOSITES)
        is_odd |= name.endswith(_SAME) or name in _REPLACED
        if not operator.arguments() and not is_odd:  # those with arguments have to be told names
            chosen[name] = operator()
    return {**chosen, "RemoveStatement": RemoveStatement(), "CatchNothing": CatchNothing()}


def _kinds(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what an `except` catches: each kind, after the node that it is a child of."""
    if node.type != "except_clause":
        return
    caught = node.children[1]
    if caught.type != "atom":
        yield node, caught
    elif caught.children[1].type == "testlist_comp":
        yield from ((caught.children[1], kind) for kind in caught.children[1].children[::2])


def _has_effect(node: PythonNode) -> bool:
    last = node.children[-1]
    if node.type == "atom_expr":
        return getattr(last, "type", None) == "trailer" and last.children[0] == "("
    if node.type == "expr_stmt":  # a plain name that is not set would only be missing
        return node.children[0].type == "atom_expr" and len(node.children) > 2
    return True


def _ignored(source: str) -> Iterator[tuple[_Position, _Position]]:
    """Yield the places of what does nothing when the program runs, and of what is only logged."""
    lines = source.splitlines()

    def source_of(node: ast.Constant) -> str:  # octal and hexadecimal numbers are modes and masks: no figures
        return lines[node.lineno - 1][node.col_offset : node.end_col_offset].replace("_", "").replace(".", "")

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and _is_large(node.value) and source_of(node).isdecimal():
            yield _span(node)
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_figure(node):
            yield _span(node)
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield _span(node.annotation)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield _span(node.returns)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for each in node.decorator_list:
                first, last = _span(each)
                if _name(each) in _WITHOUT_EFFECT:
                    yield (first[0], 0), (last[0] + 1, 0)  # with its @, and the end of its line
                elif isinstance(each, ast.Call) and _name(each) in _CHECKED_BY_MYPY:
                    yield first, last
        if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
            yield _span(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _name(node.func.value) in _LOGGERS:
            yield _span(node)
        if isinstance(node, ast.Call) and _name(node) == "zip":
            yield from (_span(each.value) for each in node.keywords)  # `strict`: an assertion that holds


def _is_figure(node: ast.Assign | ast.AnnAssign) -> bool:
    """Tell whether a constant gets its name, and is a large number, maybe a product."""
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    if not _name(target).isupper() or node.value is None:
        return False
    if not all(isinstance(each, ast.BinOp | ast.Constant | ast.operator) for each in ast.walk(node.value)):
        return False
    return _is_large(eval(compile(ast.Expression(node.value), "constant", "eval")))


def _is_large(value: object) -> bool:
    return isinstance(value, int | float) and value >= _FIGURE


def _span(node: ast.expr | ast.stmt) -> tuple[_Position, _Position]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path, f"{path} (mutant)", lineterm="", n=1)
    return "\n".join(lines)
