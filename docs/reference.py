"""Writes docs/reference.md from signatures and docstrings: ``python docs/reference.py`` (or ``make docs``).

A generator of our own and not a framework for documentation: the result is one page of plain Markdown that
reads in the repository, in an editor and in a terminal, next to the pages written by hand; a test can hold it
equal to the code; and it needs nothing that the command line does not need already (docstring_parser).
Signatures are taken from the source and not from the running objects, so that shapes read as they are
written.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from docstring_parser import Docstring, parse_from_object

from openfsar.cli.main import VERBS
from openfsar.cli.parser import SHORT
from openfsar.methods.zoo import METHODS, resolve_options
from openfsar.shapes import ALPHABET

PAGE = Path(__file__).parent / "reference.md"

PARTS = {
    "openfsar.classifier": ("Name your own actions", ["FewShotVideoClassifier"]),
    "openfsar.timeline": ("Long videos", []),
    "openfsar": ("Methods, models, evaluation", ["create", "load", "save", "evaluate"]),
    "openfsar.methods": ("What a method is", ["FewShotMethod"]),
    "openfsar.matchers": ("Matchers", ["frame_distances"]),
    "openfsar.video": ("Video in and out", []),
    "openfsar.data": ("Data sets and episodes", []),
}
"""Modules whose ``__all__`` is public: the title of their section, and the names it begins with.

A name is described where it comes first.
"""

HEAD = """# Reference

Written from the code by `docs/reference.py` (`make docs`); do not edit.

"""


def main(page: Path = PAGE) -> None:
    """Write the page."""
    page.write_text(reference())


def reference() -> str:
    """The whole page."""
    sections = {
        **python(),
        "Options of the methods": options(),
        "Command line": commands(VERBS),
        "Axes of shapes": "".join(f"- `{letter}`: {meaning}\n" for letter, meaning in ALPHABET.items()),
    }
    contents = "".join(f"- [{title}](#{_anchor(title)})\n" for title in sections)
    body = "".join(f"\n## {title}\n\n{text}" for title, text in sections.items())
    return HEAD + contents + body


def python() -> dict[str, str]:
    """Public names by section."""
    found: dict[str, str] = {}
    told: set[int] = set()
    for module, (title, first) in PARTS.items():
        home = import_module(module)
        entries: list[str] = []
        for name in [*first, *(name for name in home.__all__ if name not in first)]:
            value = getattr(home, name)
            if inspect.ismodule(value) or id(value) in told:
                continue
            told.add(id(value))
            entries.append(entry(f"{module}.{name}", value))
        found[title] = f"{_plain(_first(home))}\n\n" + "\n".join(entries)
    return found


def entry(name: str, value: Any) -> str:
    """One public name: a function, a class with its methods, or a value."""
    if inspect.isclass(value):
        methods = "".join(
            f"\n#### {value.__name__}.{method}\n\n{function(method, inner)}"
            for method, inner in public(value)
        )
        return f"### {name}\n\n{klass(value)}{methods}"
    if inspect.isfunction(value):
        return f"### {name}\n\n{function(name.rpartition('.')[2], value)}"
    shown = ", ".join(value) if isinstance(value, Mapping) else str(value)
    return f"### {name}\n\n`{shown}`\n"


def public(kind: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties that a class itself defines and describes, in the order of its source."""
    for name, value in vars(kind).items():
        inner = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
        if not name.startswith("_") and inspect.isfunction(inner) and inner.__doc__:
            yield name, inner


def klass(kind: type) -> str:
    """Signature and docstring of a class, and its fields with their types."""
    tree = _tree(kind)
    assert isinstance(tree, ast.ClassDef)
    inits = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    text = parse_from_object(kind)
    fields = {
        node.target.id: _source(node.annotation)
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and not node.target.id.startswith("_")
    }
    about = {p.arg_name: _flat(p.description) for p in text.params}
    text.meta = [p for p in text.meta if not (set(p.args[1:2]) & set(fields))]
    rows = [
        f"- `{name}: {shape}`" + (f": {about[name]}" if about.get(name) else "")
        for name, shape in fields.items()
    ]
    signature = _signature(kind.__name__, inits[0]) if inits else ""
    return signature + described(text) + ("\n" if rows else "") + "".join(f"{row}\n" for row in rows)


def function(name: str, value: Any) -> str:
    """Signature and docstring of a function or method."""
    tree = _tree(value)
    assert isinstance(tree, ast.FunctionDef)
    return _signature(name, tree) + described(parse_from_object(value))


def described(text: Docstring) -> str:
    """Docstring as Markdown: prose, then parameters and attributes, then errors."""
    prose = [part for part in (text.short_description, text.long_description) if part]
    lines = [_plain("\n\n".join(prose)), ""] if prose else []
    lines += [f"- `{p.arg_name}`: {_flat(p.description)}" for p in text.params if p.description]
    lines += [""] * bool(text.params)
    if text.returns and text.returns.description:
        lines += [f"Returns {_flat(text.returns.description)}", ""]
    lines += [f"- raises `{e.type_name}`: {_flat(e.description)}" for e in text.raises]
    return "\n".join(lines).rstrip() + "\n"


def options() -> str:
    """Every method with its options and their defaults."""
    parts = ["What `openfsar.create(NAME, option=value)` and the `options` of a recipe take.\n"]
    for name, kind in METHODS.items():
        text = parse_from_object(kind)
        about = {word: _flat(p.description) for p in text.params for word in p.arg_name.split(", ")}
        defaults = resolve_options(name, {})
        rows = [f"- `{option} = {default!r}`: {about[option]}" for option, default in defaults.items()]
        presets = ", ".join(f"`{preset}`" for preset in kind.presets)
        parts.append(
            f"### {name}\n\n{_plain(text.short_description or '')}\n\n"
            + (f"Presets: {presets}.\n\n" if presets else "")
            + "".join(f"{row}\n" for row in rows)
        )
    return "\n".join(parts)


def commands(verbs: Mapping[str, Any], prefix: str = "openfsar") -> str:
    """Every verb: what it does, its arguments, an example."""
    parts = []
    for verb, run in verbs.items():
        name = f"{prefix} {verb}"
        parts.append(commands(run, name) if isinstance(run, Mapping) else command(name, run))
    return "\n".join(parts)


def command(name: str, run: Any) -> str:
    """One verb, as its parser reads it: arguments before the star are positional, others options."""
    text = parse_from_object(run)
    about = {p.arg_name: _flat(p.description) for p in text.params}
    lines = []
    for parameter in inspect.signature(run).parameters.values():
        flag = parameter.name
        if parameter.kind is parameter.KEYWORD_ONLY:
            flag = ", ".join([*SHORT.get(flag, []), f"--{flag.replace('_', '-')}"])
        plain = parameter.default in (inspect.Parameter.empty, None, False, ())
        lines.append(
            f"- `{flag}`: {about[parameter.name]}{'' if plain else f' (default: {parameter.default})'}"
        )
    prose = "\n\n".join(part for part in (text.short_description, text.long_description) if part)
    shown = "\n".join(example.description or "" for example in text.examples)
    return f"### {name}\n\n{_plain(prose)}\n\n" + "\n".join(lines) + f"\n\n```bash\n{shown}\n```\n"


def _tree(value: Any) -> ast.stmt:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body[0]


def _signature(name: str, node: ast.FunctionDef) -> str:
    """As in the source, on one line or one argument a line."""
    returns = "" if node.returns is None or node.name == "__init__" else _source(node.returns)
    returns = returns.strip('"') if isinstance(node.returns, ast.Constant) else returns
    if any(_source(mark) == "property" for mark in node.decorator_list):
        return f"```python\n{name}: {returns}\n```\n\n"
    parts, arrow = _split(node.args), f" -> {returns}" if returns else ""
    line = f"{name}({', '.join(parts)}){arrow}"
    if len(line) > 110:
        line = "".join([f"{name}(\n", *(f"    {part},\n" for part in parts), f"){arrow}"])
    return f"```python\n{line}\n```\n\n"


def _split(arguments: ast.arguments) -> list[str]:
    """The arguments one by one, with their defaults; ``self`` is left out."""
    missing: list[ast.expr | None] = [None] * (len(arguments.args) - len(arguments.defaults))
    pairs = list(zip(arguments.args, missing + list(arguments.defaults), strict=True))
    parts = [_argument(*pair) for pair in pairs if pair[0].arg not in ("self", "cls")]
    if arguments.vararg:
        parts.append(f"*{_source(arguments.vararg)}")
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [_argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        parts.append(f"**{_source(arguments.kwarg)}")
    return parts


def _source(node: ast.AST) -> str:
    """As the source has it, where strings wear double quotes."""
    return ast.unparse(node).replace("'", '"')


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return _source(argument) + (f" = {_source(default)}" if default else "")


def _first(module: Any) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0]


def _plain(text: str) -> str:
    """Double backticks to single ones."""
    return text.replace("``", "`")


def _flat(text: str | None) -> str:
    return _plain(" ".join((text or "").split()))


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
