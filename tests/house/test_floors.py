"""The floors of the house: who may import whom, proved over every file by its syntax tree."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("hal/**/*.py"), *ROOT.glob("cpctl/**/*.py")])
PURE = {"__future__", "abc", "dataclasses", "enum", "typing", "datetime", "collections",
        "itertools", "functools", "bisect", "math", "types", "re", "zoneinfo"}

# package prefix -> what it may import of ours (prefixes); None: everything
MAY: dict[str, tuple[str, ...] | None] = {
    "hal.late": (),
    "hal.values": ("hal.late",),
    "hal": ("hal",),
    "cpctl.core": ("cpctl.core", "hal.values"),
    "cpctl.dialects": ("cpctl.core", "hal.values", "cpctl.dialects"),
    "cpctl.store": ("cpctl.core", "hal.values", "cpctl.store"),
    "cpctl.link": ("cpctl.core", "hal.values", "cpctl.dialects", "cpctl.store", "cpctl.link"),
    "cpctl.services": ("cpctl.core", "cpctl.store", "cpctl.services", "cpctl.slots"),
    "cpctl.slots": (),
    "cpctl.runtime": ("cpctl.core", "cpctl.dialects", "cpctl.store", "cpctl.link", "cpctl.runtime",
                      "hal.values", "hal.contracts", "hal.errors", "hal.registry", "hal.deadman"),
    "cpctl.api": ("cpctl.core", "cpctl.api", "hal.values"),
    "cpctl.cli": ("cpctl.api.client", "cpctl.api.wire", "cpctl.cli"),
    "cpctl.config": ("cpctl.core", "hal.values", "hal.registry", "hal.contracts", "hal.errors",
                     "hal.pins", "cpctl.dialects", "cpctl.config", "cpctl.version"),
    "cpctl.version": (),
    "cpctl.app": None,
    "cpctl.demo": None,
    "cpctl.__main__": None,
}
ONLY_APP_AND_CLI = "cpctl.config"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top_level_imports(tree: ast.Module) -> list[tuple[str, int]]:
    """Imports a file makes when it is imported (not those inside functions or TYPE_CHECKING)."""
    found: list[tuple[str, int]] = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Import):
                found.extend((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"relative import in line {node.lineno}"
                found.extend((_whole(node, alias), node.lineno) for alias in node.names)
            elif isinstance(node, ast.If):
                if "TYPE_CHECKING" not in ast.unparse(node.test):
                    visit(node.body)
                visit(node.orelse)
            elif isinstance(node, ast.Try):
                visit(node.body)
    visit(tree.body)
    return found


def _whole(node: ast.ImportFrom, alias: ast.alias) -> str:
    """What is imported: of a package itself its module, else the module it is from."""
    module = node.module or ""
    return f"{module}.{alias.name}" if module in ("cpctl", "hal") else module


def all_imports(tree: ast.Module) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.lineno))
    return found


def rule_for(module: str) -> tuple[str, ...] | None:
    best = max((prefix for prefix in MAY if within(module, prefix)), key=len, default="")
    return MAY[best] if best else None


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith((prefix + ".", prefix + "_"))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_each_file_imports_only_what_its_floor_allows(path: Path) -> None:
    module = module_of(path)
    allowed = rule_for(module)
    if allowed is None:
        return
    tree = ast.parse(path.read_text())
    ours = [(name, line) for name, line in top_level_imports(tree)
            if name.split(".")[0] in ("cpctl", "hal") and name != "hal.late"]

    outside = [f"{path.name}:{line} imports {name}" for name, line in ours
               if not any(within(name, prefix) for prefix in allowed)]

    assert outside == []


@pytest.mark.parametrize("path", [p for p in FILES if module_of(p).startswith("cpctl.core")],
                         ids=module_of)
def test_the_core_is_pure(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)

    impure = [name for name, _ in all_imports(tree)
              if name.split(".")[0] not in PURE | {"cpctl", "hal"}]
    clocks = [node.attr for node in ast.walk(tree)
              if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today")
              and isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date")]

    assert impure == []
    assert clocks == []


@pytest.mark.parametrize("path", [p for p in FILES if module_of(p).startswith("cpctl.core")],
                         ids=module_of)
def test_no_protocol_version_decides_in_the_core(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    docs = {id(node.value) for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    texts = {node.value for node in ast.walk(tree)
             if isinstance(node, ast.Constant) and isinstance(node.value, str)
             and id(node) not in docs}

    versioned = [word for word in names | texts
                 if any(mark in word.lower() for mark in ("v16", "v201", "v2x", "ocpp1", "ocpp2"))]

    assert versioned == []


@pytest.mark.parametrize("path", [p for p in FILES if module_of(p).startswith("cpctl.dialects")],
                         ids=module_of)
def test_dialects_know_no_clock_and_no_io(path: Path) -> None:
    names = {name.split(".")[0] for name, _ in all_imports(ast.parse(path.read_text()))}

    assert names & {"asyncio", "time", "socket", "sqlite3", "websockets", "logging", "random",
                    "ocpp", "threading"} == set()


def test_only_the_composition_imports_the_configuration() -> None:
    guests = [module_of(path) for path in FILES
              if any(within(name, ONLY_APP_AND_CLI) for name, _ in
                     all_imports(ast.parse(path.read_text())))
              and not within(module_of(path), ONLY_APP_AND_CLI)]

    outside = [name for name in guests
               if not name.startswith(("cpctl.app", "cpctl.cli", "cpctl.demo"))]

    assert outside == []


def test_package_files_are_empty() -> None:
    filled = [str(path.relative_to(ROOT)) for path in FILES
              if path.name == "__init__.py" and path.read_text().strip()]

    assert filled == []


def test_no_import_circles() -> None:
    modules = {module_of(path): path for path in FILES}
    edges = {module: {name for name, _ in top_level_imports(ast.parse(path.read_text()))
                      if name in modules}
             for module, path in modules.items()}
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done:
            return
        for target in edges[module]:
            walk(target, (*trail, module))
        done.add(module)

    for module in modules:
        walk(module, ())


def test_broad_exception_handlers_stand_only_where_the_style_allows() -> None:
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and (
                    node.type is None or ast.unparse(node.type) in ("Exception",)):
                found.append(module_of(path))

    # the dead-man outlives whatever a driver raises: the other contactors are served
    # a vendor's handler is somebody else's code: its mistake costs one message
    allowed = ("cpctl.runtime.supervisor", "cpctl.runtime.vendors", "cpctl.link.", "hal.deadman")
    outside = [name for name in found if not name.startswith(allowed)]

    assert outside == []
