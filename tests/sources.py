"""The package's own code, read and not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import django_signal_kit

PACKAGE = Path(django_signal_kit.__file__).parent
NAME = PACKAGE.name


@cache
def get_modules() -> dict[str, ast.Module]:
    modules = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = ast.parse(file.read_text(encoding="utf-8"))
    return modules


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """What is run: everything but ``if TYPE_CHECKING:`` blocks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from walk(other)
            continue
        yield child
        yield from walk(child)


def get_imports(module: str) -> set[str]:
    """The modules of the package that a module imports, inside functions too."""
    modules, found = get_modules(), set()
    for node in walk(modules[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix(f"{NAME}.")
                is_module = str(node.module).startswith(NAME) and inner in modules
                found.add(f"{NAME}.{inner}" if is_module else str(node.module))
    return {
        name.removeprefix(NAME).removeprefix(".")
        for name in found
        if name == NAME or name.startswith(f"{NAME}.")
    }
