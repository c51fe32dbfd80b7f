"""Imports point down: a module imports from its own floor or from a lower one, and never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "dracotask"

#: From the top. A family (``stores``) and its modules (``stores.sql``) live on one floor.
FLOORS = (
    "integrations",
    "cli console metrics testing",
    "report",
    "scheduler homes",
    "site",
    "control transfer adoption housekeeping futures launchers",
    "tick",
    "run",
    "tasks functions work stores planning lateness retries previews arguments promises steering rules said holidays",
    "events alerts filters forecast model triggers",
    "web",
    "state siteconfig keys configfile zones clock errors failpoints visible",
)
FLOOR = {family: number for number, floor in enumerate(FLOORS) for family in floor.split()}

#: The public face looks at everybody, lazily; ``python -m dracotask`` only calls main.
EXEMPT = {"dracotask", "dracotask.__main__"}


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in PACKAGE.rglob("*.py")}


def without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that is executed at some time: late imports count like those at the top."""
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children = node.orelse
    else:
        yield node
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from without_type_checking(child)


def imported_names(module: str, node: ast.AST) -> list[str]:
    """Return what an import statement asks for, in full; [] for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    here = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    base = here[: len(here) - node.level + 1] if node.level else []
    source = ".".join([*base, *filter(None, [node.module])])
    return [f"{source}.{alias.name}" for alias in node.names]


def imports_of(module: str) -> set[str]:
    """Return the modules of the package that a module imports, at its top or late."""
    found = set()
    for node in without_type_checking(ast.parse(MODULES[module].read_bytes())):
        for name in imported_names(module, node):
            if name.split(".")[0] == "dracotask" and not name.endswith("__"):
                # A name that is no module stands for the module which holds it.
                found.add(name if name in MODULES else name.rpartition(".")[0])
    return found


def family_of(module: str) -> str:
    return [*module.split("."), ""][1]


GRAPH = {module: imports_of(module) for module in MODULES if module not in EXEMPT}


def test_every_module_has_its_floor():
    assert {family_of(module) for module in GRAPH} <= set(FLOOR)


def test_no_import_points_up():
    upwards = [
        f"{module} imports {target}"
        for module, targets in sorted(GRAPH.items())
        for target in sorted(targets)
        # Nobody inside asks the public face, which stands above all floors.
        if FLOOR.get(family_of(target), -1) < FLOOR.get(family_of(module), len(FLOORS))
    ]
    assert upwards == []


def test_no_imports_go_in_a_circle():
    # Raises CycleError, which names the circle
    TopologicalSorter(GRAPH).prepare()
