"""The part of ``openfsar eval`` that names videos among all classes, without examples."""

from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from openfsar.cli.run import RunError

if TYPE_CHECKING:
    from openfsar.data.dataset import VideoDataset
    from openfsar.engine.recipe import Recipe
    from openfsar.engine.supervised import NamingResult
    from openfsar.methods.base import FewShotMethod

Named = dict[str, "NamingResult"]


@dataclass(frozen=True)
class Found:
    """Results of one system by head, on classes it was trained on and on new ones, where there are such."""

    known: Named
    new: Named


def evaluate_naming(
    systems: "dict[str, FewShotMethod]",
    recipe: "Recipe",
    trained: "Recipe | None",
    *,
    novel: bool,
    split: str,
    views: int,
    crops: int,
    results: Path | None,
    device: str | None,
    json: bool,
) -> None:
    """Name videos of the training classes that were held out, and with ``novel`` those of new classes too.

    Args:
        systems: The first is the one to measure; another that was not trained stands beside it.
        split: Of new classes; also the part of the known ones. "" names all videos there are.
    """
    from openfsar.engine.results import append_naming
    from openfsar.engine.supervised import name_videos
    from openfsar.methods.fusion import NamingMethod

    found: dict[str, Found] = {}
    for system, method in systems.items():
        if not isinstance(method, NamingMethod):
            raise RunError(f"{system} cannot name videos without examples; use --task few-shot")
        own = None if found else trained  # the systems beside the first were not trained
        named: list[Named] = []
        for videos, known in _sets(recipe, method, novel=novel, split=split, progress=not json):
            viewed = videos.at(views=views, crops=crops)
            named.append(name_videos(method, viewed, device=device, progress=not json))
            if results is not None:
                for result in named[-1].values():
                    append_naming(result, results, known=known and own is not None, recipe=own)
        found[system] = Found(named[0], named[1] if novel else {})
    if json:
        print(dumps([_as_json(system, each) for system, each in found.items()], indent=2))
    else:
        console = Console()
        console.print(_table(found))
        console.print(_classes(next(iter(found.values()))))


def _sets(
    recipe: "Recipe", method: "FewShotMethod", *, novel: bool, split: str, progress: bool
) -> "list[tuple[VideoDataset, bool]]":
    """Videos to name, and whether their classes are those of training."""
    from openfsar.engine.open import open_base, open_novel, open_videos

    if not split:
        if novel:
            raise RunError("--task base-to-novel needs a split of new classes; leave out --split ''")
        return [(open_videos(recipe, method, "", progress=progress), False)]
    sets = [(open_base(recipe, method, split, progress=progress), True)]
    if novel:
        sets.append((open_novel(recipe, method, split, progress=progress), False))
    return sets


def _pairs(found: Found) -> "list[tuple[NamingResult, NamingResult | None]]":
    """Each head on the known classes with the text on the new ones, which no other head knows."""
    return [(result, found.new.get("text")) for result in found.known.values()]


def _as_json(system: str, found: Found) -> dict[str, object]:
    from openfsar.engine.metrics import harmonic_mean

    known = {head: result.to_dict() for head, result in found.known.items()}
    if not found.new:
        return {"system": system, "known": known}
    means = {
        result.head: harmonic_mean((result.accuracy, result.interval), (new.accuracy, new.interval))
        for result, new in _pairs(found)
        if new
    }
    new = {head: result.to_dict() for head, result in found.new.items()}
    return {"system": system, "known": known, "new": new, "harmonic_mean": means}


def _table(found: dict[str, Found]) -> Table:
    from openfsar.engine.metrics import harmonic_mean

    first = next(iter(found.values()))
    one = next(iter(first.known.values()))
    table = Table(box=None, header_style="bold", pad_edge=False, title_justify="left", caption_justify="left")
    new = next(iter(first.new.values()), None)
    table.title = f"{one.data} {one.split}: {one.videos:,} videos of {len(one.classes)} classes" + (
        f", {new.videos:,} of {len(new.classes)} new ones" if new else ""
    )
    views = one.views * one.crops
    table.caption = f"{views} view{'s' * (views > 1)} of a video; ± is the 95 % interval" + (
        "; new classes are named by text" if new else ""
    )
    table.add_column("system")
    for column in ("top-1 %", "top-5 %", "by class %", *(("new %", "harmonic %") if new else ())):
        table.add_column(column, justify="right")
    for system, each in found.items():
        for result, other in _pairs(each):
            name = system if len(each.known) == 1 else f"{system}, {result.head}"
            score = result.accuracy, result.interval
            cells = [name, _percent(*score), f"{100 * result.top5:.1f}", f"{100 * result.mean_class:.1f}"]
            if other:
                novel = other.accuracy, other.interval
                cells += [_percent(*novel), _percent(*harmonic_mean(score, novel))]
            table.add_row(*cells)
    return table


def _classes(found: Found) -> Table:
    """What the first system makes of each class, hardest first."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("class", "top-1 %", "most often taken for"):
        table.add_column(column, justify="right" if "%" in column else "left")
    for result in [next(iter(named.values())) for named in (found.known, found.new) if named]:
        for name, share in sorted(result.per_class.items(), key=lambda item: item[1]):
            row = result.confusion[result.classes.index(name)].clone()
            row[result.classes.index(name)] = 0
            wrong = f"{result.classes[int(row.argmax())]} ({int(row.max())})" if row.sum() else ""
            table.add_row(name, f"{100 * share:.0f}", wrong)
    return table


def _percent(share: float, interval: float) -> str:
    return f"{100 * share:.1f} ± {100 * interval:.1f}"
