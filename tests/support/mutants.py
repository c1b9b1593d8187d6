"""Mutants of a module: one small change each, and whether the given checks notice it.

`survivors(path, name, run)` calls `run(module)` with each mutant; a mutant dies when it raises.
Time that a mutant makes endless is cut short by an alarm.
"""

import ast
import pickle
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 5.0  # a mutant whose checks take longer hangs

_COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type, type] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
                                ast.FloorDiv: ast.Mult}


@dataclass(frozen=True)
class Mutant:
    """One changed module; `node` is what was changed, as it was before."""

    change: str
    node: ast.AST
    tree: ast.Module

    @property
    def what(self) -> str:
        line = getattr(self.node, "lineno", 0)
        return f"line {line}: {ast.unparse(self.node)[:70]!r}: {self.change}"


class Hung(Exception):
    """The checks did not come to an end."""


def mutants(path: Path, *, skip: Callable[[ast.AST], bool] = lambda node: False
            ) -> Iterator[Mutant]:
    """Every mutant of the file; `skip` leaves out nodes (log lines, say)."""
    tree = ast.parse(path.read_text())
    frozen = pickle.dumps((tree, list(_walk(tree, skip))))
    _, nodes = pickle.loads(frozen)
    for index, node in enumerate(nodes):
        for number, (what, _) in enumerate(_changes(node)):
            twin, its_nodes = pickle.loads(frozen)
            list(_changes(its_nodes[index]))[number][1]()
            ast.fix_missing_locations(its_nodes[index])
            yield Mutant(what, node, twin)


def survivors(path: Path, name: str, run: Callable[[types.ModuleType], None], *,
              skip: Callable[[ast.AST], bool] = lambda node: False) -> tuple[list[str], int]:
    """(mutants that `run` does not notice, how many were tried). Module `name` is replaced in
    `sys.modules` while `run` works."""
    alive, tried = [], 0
    original = sys.modules[name]
    for mutant in mutants(path, skip=skip):
        tried += 1
        module = types.ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module
        try:
            with _alarm(LIMIT_S):
                exec(compile(mutant.tree, str(path), "exec"), module.__dict__)
                run(module)
        except BaseException as death:
            if isinstance(death, KeyboardInterrupt):
                raise
        else:
            alive.append(mutant.what)
        finally:
            sys.modules[name] = original
    return alive, tried


def cases(module: Any) -> Iterator[Callable[[], None]]:
    """The tests of a module with their parametrizations, to be called without pytest."""
    for name, function in sorted(vars(module).items()):
        if not name.startswith("test_") or not callable(function):
            continue
        marks = [mark for mark in getattr(function, "pytestmark", ())
                 if mark.name == "parametrize"]
        for arguments in _products(marks):
            yield lambda function=function, arguments=arguments: function(**arguments)


def _products(marks: list[Any]) -> Iterator[dict[str, Any]]:
    if not marks:
        yield {}
        return
    names, rows = marks[0].args[0], marks[0].args[1]
    if isinstance(names, str):
        names = [one.strip() for one in names.split(",")]
        rows = [(row,) for row in rows] if len(names) == 1 else rows
    for row in rows:
        for rest in _products(marks[1:]):
            yield dict(zip(names, row, strict=True)) | rest


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _walk(tree: ast.AST, skip: Callable[[ast.AST], bool]) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if skip(node) or _is_annotation_only(node):
            continue
        yield node
        yield from _walk(node, skip)


def _is_annotation_only(node: ast.AST) -> bool:
    """Docstrings, imports and annotations change nothing."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """(what, how) of each way to spoil `node` in place."""
    if isinstance(node, ast.Compare):
        for wrong in _COMPARISONS.get(type(node.ops[0]), ()):
            yield wrong.__name__, lambda wrong=wrong: node.ops.__setitem__(0, wrong())
    elif isinstance(node, ast.BoolOp):
        wrong = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield wrong.__name__, lambda: setattr(node, "op", wrong())
        for index in range(len(node.values)):
            yield f"without operand {index}", lambda index=index: node.values.pop(index)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield "operator", lambda: setattr(node, "op", _OPERATORS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "without not", lambda: setattr(node, "op", ast.Not()) or _unwrap(node)
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.If | ast.While):
        yield "always", lambda: setattr(node, "test", ast.Constant(value=True))
        yield "never", lambda: setattr(node, "test", ast.Constant(value=False))
    elif isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.ExceptHandler):
        pass
    yield from _bodies(node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, Callable[[], None]]]:
    value = node.value
    if isinstance(value, bool):
        yield str(not value), lambda: setattr(node, "value", not value)
    elif isinstance(value, int | float):
        yield f"{value} + 1", lambda: setattr(node, "value", value + 1)


def _bodies(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each plain statement left out."""
    for field in ("body", "orelse", "finalbody"):
        body = getattr(node, field, None)
        if not isinstance(body, list) or isinstance(node, ast.Module | ast.ClassDef):
            continue
        for index, statement in enumerate(body):
            plain = isinstance(statement, ast.Assign | ast.AugAssign | ast.Return) or (
                isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Constant))
            if plain and not _is_log(statement):
                yield (f"without line {statement.lineno}",
                       lambda body=body, index=index: body.__setitem__(index, ast.Pass()))


def _unwrap(node: ast.UnaryOp) -> None:
    """`not x` becomes `not not x`: the same as bool(x)."""
    node.operand = ast.UnaryOp(op=ast.Not(), operand=node.operand)


def _is_log(node: ast.AST) -> bool:
    return ast.unparse(node).startswith("log.")


def is_log(node: ast.AST) -> bool:
    """For `skip`: lines of the log change nothing that is tested."""
    if isinstance(node, ast.If):
        return not node.orelse and all(_is_log(one) for one in node.body)
    return isinstance(node, ast.Expr) and _is_log(node)
