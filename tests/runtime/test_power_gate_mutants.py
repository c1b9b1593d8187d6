"""Every mutant of the power gate dies of its tests, and the tests reach every branch."""

import ast
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import coverage
import pytest
from support import gate_bench, mutants

from cpctl.runtime import power_gate

PATH = Path(power_gate.__file__)
TESTS = [Path(__file__).with_name(name)
         for name in ("test_power_gate.py", "test_power_gate_boards.py",
                      "test_power_gate_trial.py", "test_power_gate_rest.py")]

# Mutants that change nothing anybody can see, with the reason.
EQUIVALENT: dict[str, str] = {"'0': 0 + 1": "a moment in ns before the first reading"}


def load_tests() -> list[Callable[[], None]]:
    cases: list[Callable[[], None]] = []
    for path in TESTS:
        spec = importlib.util.spec_from_file_location(f"{path.stem}_cases", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases += mutants.cases(module)
    return cases


def skip(node: ast.AST) -> bool:
    """Log lines; what is known of a path before `make_safe` (tested by what a fresh gate says)."""
    return mutants.is_log(node) or (
        isinstance(node, ast.ClassDef) and node.name in ("Timer", "_Path"))


def test_every_mutant_of_the_power_gate_dies() -> None:
    cases = load_tests()

    def run(module: ModuleType) -> None:
        gate_bench.power_gate = module
        for index, case in enumerate(cases):
            try:
                case()
            except BaseException:
                cases.insert(0, cases.pop(index))  # what killed one kills the next
                raise

    run(power_gate)
    logging.disable(logging.CRITICAL)
    try:
        alive, tried = mutants.survivors(PATH, power_gate.__name__, run, skip=skip)
    finally:
        logging.disable(logging.NOTSET)
        gate_bench.power_gate = power_gate
        sys.modules[power_gate.__name__] = power_gate

    left = [one for one in alive if not any(known in one for known in EQUIVALENT)]
    print(f"{tried} mutants, {len(alive)} alive, {len(left)} unexplained")
    print("\n".join(left))
    assert left == []
    assert tried > 150


def test_the_tests_reach_every_branch_of_the_power_gate() -> None:
    if sys.gettrace() is not None:
        pytest.skip("somebody else is counting lines")
    cases = load_tests()
    counter = coverage.Coverage(branch=True, include=[str(PATH)], data_file=None)
    module = ModuleType(power_gate.__name__)
    counter.start()
    try:
        sys.modules[power_gate.__name__] = module
        exec(compile(PATH.read_text(), str(PATH), "exec"), module.__dict__)
        gate_bench.power_gate = module
        for case in cases:
            case()
    finally:
        counter.stop()
        gate_bench.power_gate = sys.modules[power_gate.__name__] = power_gate

    analysis = counter._analyze(str(PATH))
    assert sorted(analysis.missing) == []
    assert {line: sorted(to) for line, to in analysis.missing_branch_arcs().items()} == {}
