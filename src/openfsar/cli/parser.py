"""From a function to a command line: parameters become arguments, the docstring becomes the help.

A parameter before ``*`` is a positional argument (a tuple takes the rest of the line), a keyword-only one an
option. The docstring gives the sentence, the meaning of each argument and, under ``Example:``, lines to copy.
"""

import inspect
import re
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn, TypeAlias, get_args, get_origin

from docstring_parser import Docstring, parse_from_object
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from openfsar.cli.console import complain

Run: TypeAlias = "Callable[..., int | None]"
Table: TypeAlias = "Mapping[str, Run | Mapping[str, Run]]"

SHORT = {"out": ["-o"]}


class _Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the line breaks of the example; says defaults, and spares the reader the types."""

    def _get_help_string(self, action: Action) -> str:
        plain = not action.option_strings or any(action.default is none for none in (None, False, SUPPRESS))
        return f"{action.help}{'' if plain else f' (default: {action.default})'}"


class Parser(ArgumentParser):
    """Usage errors in one line that names the nearest valid option; exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        message = (
            re.sub(r'Parser key "(\w+)":\s*', r"\1: ", message).replace("<class '", "'").replace("'>", "'")
        )
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        near = f"; did you mean {nearest(unknown[1], self._option_string_actions)}?" if unknown else ""
        complain(f"{message}{near} (see {self.prog} --help)")
        raise SystemExit(2)


def nearest(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The known word most like ``word``."""
    return get_close_matches(word.split("=")[0], list(known), n=1, cutoff=0.0)[0]


def parse(table: Table, given: Sequence[str], prog: str = "openfsar") -> tuple[Run, dict[str, Any]]:
    """The function that the words name, and its arguments; SystemExit after help (0) and misuse (2)."""
    verb, *rest = given
    if verb not in table:
        near = nearest(verb, table)
        complain(f"no verb {verb!r}; did you mean `{prog} {near}`? There are {', '.join(table)}")
        raise SystemExit(2)
    prog, choice = f"{prog} {verb}", table[verb]
    if isinstance(choice, Mapping):
        if rest and rest[0] not in ("--help", "-h"):
            return parse(choice, rest, prog)
        for name, function in choice.items():
            print(f"{prog} {name:<10} {parse_from_object(function).short_description}")
        print(f"\n{prog} VERB --help says what a verb does, its options and an example.")
        raise SystemExit(0)
    values = make_parser(choice, prog).parse_args(rest)
    parameters = inspect.signature(choice).parameters
    return choice, {name: _as(values[name], parameters[name].annotation) for name in parameters}


def _as(value: Any, kind: Any) -> Any:
    """Rests of the line arrive as lists."""
    return tuple(value) if get_origin(kind) is tuple else value


def make_parser(function: Run, prog: str) -> Parser:
    """A parser of the function's arguments."""
    text = parse_docstring(inspect.getdoc(function) or "")
    described = {param.arg_name: param.description or "" for param in text.params}
    parser = Parser(prog=prog, description=_summary(text), epilog=_example(text), formatter_class=_Formatter)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, help_text = parameter.annotation, " ".join(described[name].split())
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            if get_origin(kind) is tuple:
                count = "+" if parameter.default is inspect.Parameter.empty else "*"
                parser.add_argument(name, type=get_args(kind)[0], nargs=count, help=help_text)
            else:
                parser.add_argument(name, type=kind, help=help_text)
            continue
        flags = [*SHORT.get(name, []), f"--{name.replace('_', '-')}"]
        if kind is bool:
            parser.add_argument(*flags, action="store_true", help=help_text)
        else:
            parser.add_argument(*flags, type=kind, default=parameter.default, help=help_text)
    return parser


def _summary(text: Docstring) -> str:
    return "\n\n".join(part for part in (text.short_description, text.long_description) if part)


def _example(text: Docstring) -> str:
    lines = "\n".join(
        f"  {line}" for example in text.examples for line in (example.description or "").splitlines()
    )
    return f"example:\n{lines}"
