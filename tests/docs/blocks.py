"""Runs the Python of a page, block after block in one namespace, and holds the answers in its comments."""

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def answers(code: str) -> dict[int, Any]:
    """By line: the comments that are Python literals. Other comments are prose."""
    found: dict[int, Any] = {}
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            try:
                found[token.start[0]] = ast.literal_eval(token.string.lstrip("# "))
            except (SyntaxError, ValueError):
                continue
    return found


def run(code: str, names: dict[str, Any], title: str) -> int:
    """Run a block, in which an expression whose line ends in ``# literal`` must have that value.

    Returns:
        How many did.
    """
    wanted, checked = answers(code), 0
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), title, "eval"), names)
            if statement.end_lineno in wanted:
                expected = wanted[statement.end_lineno]
                assert value == expected, f"{title}: {ast.unparse(statement)} is {value!r}, not {expected!r}"
                checked += 1
        else:
            exec(compile(ast.Module([statement], []), title, "exec"), names)
    return checked
