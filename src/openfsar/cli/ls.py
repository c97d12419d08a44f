"""``openfsar ls``: what there is to choose from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from openfsar.encoders.weights import Checkpoint


def ls() -> None:
    """List methods, encoders, toy data sets, and the recipes and runs below this folder.

    Example:
        openfsar ls
    """
    from openfsar.encoders.weights import BUNDLED, KNOWN
    from openfsar.methods.zoo import ALIASES, METHODS
    from openfsar.toy.dataset import TOY_SETS

    console = Console()
    presets = {name: f"{method} with preset {preset!r}" for name, (method, preset) in ALIASES.items()}
    _show(console, "methods", {name: _first_line(kind) for name, kind in METHODS.items()} | presets)
    _show(console, "encoders", _encoders(BUNDLED, KNOWN))
    counts = {
        kind: {split: len(names) for split, names in toy.classes.items()} for kind, toy in TOY_SETS.items()
    }
    _show(
        console,
        "toy data sets",
        {
            kind: ", ".join(f"{n} {split}" for split, n in count.items()) + " classes"
            for kind, count in counts.items()
        },
    )
    _show(console, "recipes", {str(path): "" for path in sorted(Path("recipes").rglob("*.yaml"))})
    _show(console, "runs", {str(path): "" for path in sorted(Path("runs").glob("*")) if path.is_dir()})


def _encoders(bundled: "Mapping[str, str]", known: "Mapping[str, Checkpoint]") -> dict[str, str]:
    """What can follow --encoder, and where its weights come from."""
    hub = {name: f"{entry.hub} ({entry.licence})" for name, entry in known.items() if entry.hub}
    toy = dict.fromkeys(bundled, "ships with openfsar; for the toy data sets and for trying things out")
    return (
        toy
        | hub
        | {
            "FOLDER, FILE or OWNER/NAME": "CLIP or SigLIP in the layout of Hugging Face, open_clip, OpenAI; "
            "ResNets in that of Hugging Face, torchvision"
        }
    )


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _show(console: Console, title: str, rows: dict[str, str]) -> None:
    if not rows:
        return
    table = Table(
        box=None, show_header=False, pad_edge=False, title=title, title_justify="left", title_style="bold"
    )
    for name, about in rows.items():
        table.add_row(Text(f"  {name}", "cyan"), Text(about))
    console.print(table)
