"""docs/safety.md names a test for each rule and all faults of the campaign: none of it is air."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from dialtone_bringup.faults import FAULTS
from dialtone_bringup.faults_line import LINE_FAULTS

ROOT = Path(__file__).parents[1]
RULES = (ROOT / "docs/safety.md").read_text(encoding="utf-8")
FOLDERS = tuple(
    ROOT / each
    for each in (
        "src/dialtone_teleop/test",
        "tests",
        "src/dialtone_bringup/test",
        "src/dialtone_bridge/test",
    )
)
CAMPAIGN = {fault.__name__ for fault in FAULTS} | {fault.__name__ for fault in LINE_FAULTS}


def rows(text: str) -> list[list[str]]:
    """The cells of every numbered row of a table."""
    cells = ([each.strip() for each in line.split("|")[1:-1]] for line in text.splitlines())
    return [row for row in cells if len(row) == 3 and row[0].isdigit()]


@cache
def functions_of(file: str) -> set[str]:
    """The functions of a test file, wherever it lies."""
    path = ROOT / file if "/" in file else next(f / file for f in FOLDERS if (f / file).exists())
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_the_rules_are_numbered_without_a_gap_and_each_names_what_proves_it() -> None:
    numbers = [int(row[0]) for row in rows(RULES)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20
    assert all("test_" in row[2] for row in rows(RULES))


def test_every_test_fault_and_figure_that_the_rules_name_exists() -> None:
    figures = (ROOT / "bench/teleop.py").read_text(encoding="utf-8")
    for number, _, proofs in rows(RULES):
        file = ""
        for name in re.findall(r"`([^`]+)`", proofs):
            if ".py" not in name and "::" not in name:
                assert name in CAMPAIGN or f'"{name}"' in figures, (number, name)
                continue
            found, _, test = name.partition("::")
            file = found if found != "…" else file
            assert not test or test in functions_of(file), (number, name)
            assert functions_of(file), (number, name)


def test_every_fault_of_the_plan_is_in_the_campaign_and_in_the_table() -> None:
    table = RULES[RULES.index("| fault |") :]
    named = set(re.findall(r"`(\w+)`", table[: table.index("\n\n")]))
    assert named == CAMPAIGN
