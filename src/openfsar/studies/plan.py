"""A paper's tables as data: which recipes with which changes stand in which row, and what is claimed of them.

The files lie beside this module, one per paper. A row names a recipe of ``recipes/`` and what differs from
it, in the words of ``openfsar train RECIPE key=value``. Two rows that come to the same recipe are one run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

Scale = Literal["toy", "full"]

STUDIES = ("ma-fsar", "clip-fsar", "m2-clip", "actionclip", "gghm", "sloshnet")
"""The papers there are."""

FEW_SHOT = "few-shot"
"""The measure of runs that train by episodes."""


class StudyError(ValueError):
    """A study that does not exist, or whose file says something impossible."""


@dataclass(frozen=True)
class Row:
    """One system of a table."""

    recipe: str
    """Folder of ``recipes/``; the file in it is that of the data set."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """By keys of recipes, dotted into ``options``."""
    toy_changes: Mapping[str, Any] = field(default_factory=dict)
    """More of them, at toy scale alone."""
    published: Mapping[str, float] = field(default_factory=dict)
    """The paper's number in % by benchmark and measure, such as ``ssv2-small``; empty where it has none."""


@dataclass(frozen=True)
class Expectation:
    """What the paper says of two rows: the first is better, or gains more on one data set than on another."""

    more: str
    less: str
    than: str = ""
    """The other data set, where the gain of ``more`` over ``less`` is claimed to be smaller."""
    on: str = ""
    """The data set it is claimed of; empty for each of the table."""


@dataclass(frozen=True)
class Table:
    """Rows that are compared, on the same episodes of the same unseen classes."""

    name: str
    title: str
    claim: str
    rows: Mapping[str, Row]
    toy: tuple[str, ...] = ()
    """Data sets at toy scale."""
    full: tuple[str, ...] = ()
    """Data sets at full scale, those of the paper."""
    expect: tuple[Expectation, ...] = ()
    measures: tuple[str, ...] = (FEW_SHOT,)
    """What is read off a run: few-shot, or "known, HEAD" and "new, HEAD" of naming without examples."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of every row, at toy scale: fewer steps and frames than the recipe's. ``steps: 0`` trains nothing."""
    full_changes: Mapping[str, Any] = field(default_factory=dict)
    """Of every row, at full scale: the paper's encoder, where the recipes have another."""
    costs: bool = False
    """Whether trained parameters, memory and time stand beside accuracy."""
    budgets: bool = False
    """Whether a row is a system at some number of training episodes, "SYSTEM, NUMBER", to draw as a curve."""
    why: str = ""
    """Why the toy sets may say otherwise than the paper; written when the numbers were there."""

    def data(self, scale: Scale) -> tuple[str, ...]:
        """The data sets of that scale."""
        return self.toy if scale == "toy" else self.full


@dataclass(frozen=True)
class Study:
    """One paper."""

    name: str
    system: str
    paper: str
    published: str
    """What the paper's numbers were measured with, in a line."""
    tables: tuple[Table, ...]

    def only(self, tables: tuple[str, ...]) -> "Study":
        """The study with some of its tables.

        Raises:
            StudyError: there is none of that name.
        """
        names = [table.name for table in self.tables]
        for name in tables:
            if name not in names:
                raise StudyError(f"{self.name} has no table {name!r}; it has {', '.join(names)}")
        kept = tuple(table for table in self.tables if not tables or table.name in tables)
        return Study(self.name, self.system, self.paper, self.published, kept)


def load_study(name: str) -> Study:
    """One of ``STUDIES``, or that of a YAML file of the same form.

    Raises:
        StudyError: there is none of that name, or the file cannot be read.
    """
    if name in STUDIES:
        text = (files("openfsar.studies") / f"{name}.yaml").read_text(encoding="utf-8")
        return parse_study(name, yaml.safe_load(text))
    path = Path(name)
    if path.suffix != ".yaml":
        raise StudyError(
            f"there is no study {name!r}; there are {', '.join(STUDIES)}, and YAML files of yours"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} is no study; docs/howto/reproduce.md shows one")
    return parse_study(path.stem, content)


def parse_study(name: str, content: Mapping[str, Any]) -> Study:
    """The content of a file, checked.

    Raises:
        StudyError: naming table and row.
    """
    values = dict(content)
    default = values.pop("recipe", name)
    try:
        tables = tuple(_table(key, dict(table), default) for key, table in values.pop("tables").items())
        return Study(name=name, tables=tables, **values)
    except (TypeError, KeyError, AttributeError) as error:
        raise StudyError(f"study {name}: {type(error).__name__}: {error}") from error


def _table(name: str, values: dict[str, Any], default: str) -> Table:
    rows = {row: _row(given or {}, default) for row, given in values.pop("rows").items()}
    expect = tuple(_expectation(words) for words in values.pop("expect", ()))
    lists = {key: tuple(values.pop(key)) for key in ("toy", "full", "measures") if key in values}
    table = Table(name=name, rows=rows, expect=expect, **lists, **values)
    for row, given in rows.items():
        if table.toy and "steps" not in {**table.changes, **given.changes}:
            raise StudyError(f"table {name}: row {row!r} does not say how many steps it trains")
    for expectation in table.expect:
        for row in (expectation.more, expectation.less):
            if row not in rows:
                raise StudyError(f"table {name}: {row!r} is none of its rows, {', '.join(rows)}")
        for data in filter(None, (expectation.on, expectation.than)):
            if data not in table.toy:
                raise StudyError(f"table {name}: {data!r} is none of its data sets, {', '.join(table.toy)}")
    return table


def _row(values: Mapping[str, Any], default: str) -> Row:
    known = {"recipe", "set", "toy_set", "published"}
    if not values.keys() <= known:
        raise KeyError(f"a row has {', '.join(sorted(known))}, not {', '.join(values.keys() - known)}")
    return Row(
        recipe=values.get("recipe", default),
        changes=values.get("set", {}),
        toy_changes=values.get("toy_set", {}),
        published=values.get("published", {}),
    )


def _expectation(words: str) -> Expectation:
    """From "A > B", "A > B on DATA", or "A > B on DATA more than on DATA"."""
    rows, _, places = words.partition(" on ")
    more, sign, less = rows.partition(" > ")
    on, _, than = places.partition(" more than on ")
    if not sign:
        raise StudyError(f"{words!r} is no expectation; write A > B, with rows of the table")
    return Expectation(more, less, on=on, than=than)
