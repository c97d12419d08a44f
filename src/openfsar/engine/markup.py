"""A table as Markdown, LaTeX or HTML. Every cell is plain text and arrives as it is, whatever it holds."""

import re
from collections.abc import Iterable
from html import escape

from openfsar.engine.tables import Row, Table

_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "[": "{[}",  # behind the end of a line it would begin an argument
    "]": "{]}",
    "*": "{*}",  # as would this
}


def markdown(table: Table) -> str:
    """A pipe table under its title in bold; rows of ours have a bold first cell."""
    rules = ("---:" if right else "---" for right in table.numeric)
    lines = [f"**{_markdown(table.title)}**", ""]
    lines += [_pipes(_markdown(name) for name in table.columns), _pipes(rules)]
    for row in table.rows:
        first, *rest = (_markdown(cell) for cell in row.cells)
        lines.append(_pipes([f"**{first}**" if row.ours else first, *rest]))
    lines += ["", *(f"{_line(line)}  " for line in table.legend)]
    lines += [f"\\[{number}\\] {_markdown(source)}  " for number, source in enumerate(table.sources, 1)]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: Table) -> str:
    """A ``table`` environment that needs no package; rows of ours stand in bold below a line."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_latex(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in table.numeric)}}}", r"\hline"]
    lines += [_ampersands([_latex(name) for name in table.columns]), r"\hline"]
    before: Row | None = None
    for row in table.rows:
        if row.ours and before is not None and not before.ours:
            lines.append(r"\hline")
        first, *rest = (_latex(cell) for cell in row.cells)
        lines.append(_ampersands([rf"\textbf{{{first}}}" if row.ours else first, *rest]))
        before = row
    lines += [r"\hline", r"\end{tabular}"]
    notes = [*map(_latex, table.legend)]
    notes += [f"{{[}}{number}{{]}} {_latex(source)}" for number, source in enumerate(table.sources, 1)]
    lines += [r"", *(rf"{{\footnotesize {note}\par}}" for note in notes), r"\end{table}"]
    return "\n".join(lines) + "\n"


def html(table: Table) -> str:
    """A ``<table>`` and a list of its sources, to be placed in a page; rows of ours have the class "ours"."""
    sides = [' style="text-align:right"' if right else "" for right in table.numeric]
    lines = ["<table>", f"<caption>{escape(table.title)}</caption>", "<thead><tr>"]
    lines += [f"<th{side}>{escape(name)}</th>" for name, side in zip(table.columns, sides, strict=True)]
    lines.append("</tr></thead>\n<tbody>")
    for row in table.rows:
        cells = (f"<td{side}>{escape(cell)}</td>" for cell, side in zip(row.cells, sides, strict=True))
        kind = ' class="ours"' if row.ours else ""
        lines.append(f"<tr{kind}>{''.join(cells)}</tr>")
    lines.append("</tbody>\n</table>")
    lines += [f"<p>{escape(line)}</p>" for line in table.legend]
    if table.sources:
        lines += ["<ol>", *(f"<li>{escape(source)}</li>" for source in table.sources), "</ol>"]
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    """With a backslash before whatever could mean something inside a line; line breaks become spaces."""
    return re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", " ".join(text.split()))


def _line(text: str) -> str:
    """The same for a line of its own, where a list, a heading or a rule could begin."""
    return re.sub(r"^(\d*)([-+#=.)])", r"\1\\\2", _markdown(text))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in " ".join(text.split()))


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ampersands(cells: list[str]) -> str:
    return rf"{' & '.join(cells)} \\"
