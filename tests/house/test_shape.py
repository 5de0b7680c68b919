"""Modules and functions stay small, and no room becomes a bag."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.tree import ROOT, module_of, text_of, with_suffix

MODULE_LINES_MAX = 500
TEST_MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
BAG_NAMES = {
    "base", "common", "helper", "helpers", "manager", "managers", "misc", "stuff", "util", "utils",
}  # fmt: skip

PACKAGES = {
    "edge_agent",
    "cloud_core",
    "protocols",
    "virtual_warehouse",
    "firmware_configs",
    "tests",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    too_long = []
    for path in with_suffix(".py"):
        lines = len((text_of(path) or "").splitlines())
        limit = TEST_MODULE_LINES_MAX if path.parts[0] == "tests" else MODULE_LINES_MAX
        if lines > limit:
            too_long.append(f"{path}: {lines} lines, at most {limit}")
    assert not too_long


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = [
        f"{path}:{function.lineno} {function.name}: {length} lines, at most {FUNCTION_LINES_MAX}"
        for path in with_suffix(".py")
        for function in functions_in(module_of(path))
        if (length := body_lines(function)) > FUNCTION_LINES_MAX
    ]
    assert not too_long


def test_no_module_or_folder_is_named_as_a_bag() -> None:
    bags = [
        str(path)
        for path in with_suffix(".py")
        if BAG_NAMES & {part.removesuffix(".py").strip("_") for part in path.parts}
    ]
    assert not bags


def test_every_folder_of_modules_is_a_package() -> None:
    # Without `__init__.py` neither the import contracts nor the built distribution would see it.
    folders = {path.parent for path in with_suffix(".py") if path.parts[0] in PACKAGES}
    assert not [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()]


def test_every_module_says_where_it_stands() -> None:
    silent = [
        str(path)
        for path in with_suffix(".py")
        if (text_of(path) or "").strip() and not ast.get_docstring(module_of(path))
    ]
    assert not silent


def functions_in(module: ast.Module) -> Iterator[Function]:
    for node in ast.walk(module):
        if isinstance(node, Function):
            yield node


def body_lines(function: Function) -> int:
    """Lines of a function from `def` to its end, its docstring not counted."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def test_the_measure_leaves_the_docstring_out() -> None:
    source = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    (function,) = functions_in(ast.parse(source))
    assert body_lines(function) == 2
    assert Path("a/utils.py").stem in BAG_NAMES
