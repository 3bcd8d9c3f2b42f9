"""The house rules that a syntax tree can prove: who may import ROS, and what no file may hold."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROS_PACKAGES = ("rclpy", "rosidl_runtime_py", "tf2_ros", "ament_index_python", "launch_ros")
_INTERFACES = re.compile(r"\w+_(msgs|interfaces|srvs)$")
#: No file of these may import ROS; of the others only the rim.
_PURE = ("dialtone_core", "dialtone_sim")
_RIM_PACKAGE = "dialtone_ros"
_RIM_FILE = re.compile(r"(node|\w+_node|ros_\w+)\.py$")
_POSTPONED = re.compile(r"\b(TODO|FIXME|XXX)\b")


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule; ``str`` is a line that editors can jump to."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def check_tree(root: Path) -> list[Finding]:
    """Every finding in the Python files under ``root``'s ``src``, ``tests`` and ``bench``."""
    found: list[Finding] = []
    for folder in ("src", "tests", "bench"):
        for path in sorted((root / folder).rglob("*.py")):
            relative = path.relative_to(root)
            found += check_source(relative, path.read_text(encoding="utf-8"))
    return found


def check_source(path: Path, text: str) -> list[Finding]:
    """The findings in one file; ``path`` is relative to the repository's root."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [Finding(path, error.lineno or 0, f"does not parse: {error.msg}")]
    found = [Finding(path, line, what) for line, what in _imports(path, tree)]
    found += [Finding(path, line, what) for line, what in _statements(path, tree)]
    found += [Finding(path, line, what) for line, what in _comments(text)]
    return sorted(found, key=lambda each: each.line)


def may_import_ros(path: Path) -> bool:
    """Whether the file lies at the rim. Tests, benchmarks and launch files use what they like."""
    parts = path.parts
    if parts[0] != "src" or len(parts) < 4 or parts[2] != parts[1]:
        return True
    if parts[1] in _PURE:
        return False
    return parts[1] == _RIM_PACKAGE or _RIM_FILE.fullmatch(path.name) is not None


def _imports(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    if may_import_ros(path):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [node.module] if node.module and not node.level else []
        for name in names:
            top = name.split(".")[0]
            if top in _ROS_PACKAGES or _INTERFACES.fullmatch(top):
                rule = "only node.py, *_node.py and ros_*.py import ROS"
                yield node.lineno, f"imports {name}: {rule}"


def _statements(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except: name what is expected"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "print" and not _is_for_people(path):
            yield node.lineno, "print: log it, or return it to the verb"


def _is_for_people(path: Path) -> bool:
    return path.parts[0] == "bench" or "verbs" in path.parts


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (match := _POSTPONED.search(token.string)):
            yield token.start[0], f"{match[1]}: do it, or file an issue"
