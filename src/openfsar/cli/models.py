"""``openfsar models``: what there is to choose from, and what of it is here already."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from openfsar.cli.footage import FootageError

DEPTH = 4
"""Folders within folders that are searched for models; a demo keeps some that deep."""


@dataclass(frozen=True)
class Encoder:
    """What can follow --encoder."""

    name: str
    source: str
    """Where its weights come from, with their licence where it is known."""
    here: bool
    """Whether it loads without a network."""


@dataclass(frozen=True)
class Model:
    """A model folder: fitted on examples, or trained and ready to be fitted."""

    path: str
    method: str
    encoder: str
    classes: list[str] | None = None
    """Its actions; None where it was not fitted."""
    examples: int = 0

    def __str__(self) -> str:
        what = f"{self.method} on {self.encoder}"
        if self.classes is None:
            return f"trained: {what}"
        return f"fitted: {what}, {len(self.classes)} actions, {self.examples} examples"


def models(folders: tuple[str, ...] = (), *, json: bool = False) -> None:
    """List what can be loaded: methods, encoders, and the models and recipes in your folders.

    An encoder that is not here yet is fetched from the Hugging Face hub when it is first used.

    Args:
        folders: Where to look for models and recipes; by default the current folder.
        json: Print JSON instead of tables.

    Example:
        openfsar models
        openfsar models runs/ ../shared_models
    """
    places = [Path(folder) for folder in folders or (".",)]
    for place in places:
        if not place.is_dir():
            raise FootageError(f"{place} is no folder; give folders to look for models in")
    from openfsar.methods.zoo import ALIASES, METHODS

    methods = {name: (kind.__doc__ or "").strip().splitlines()[0] for name, kind in METHODS.items()}
    methods |= {name: f"{method} with preset {preset!r}" for name, (method, preset) in ALIASES.items()}
    cached = _cached()
    encoders = find_encoders(cached)
    fetched = (_model(name, folder) for name, folder in sorted(cached.items()))
    found = [model for place in places for model in find_models(place)]
    found += [model for model in fetched if model is not None]
    recipes = [str(path) for place in places for path in sorted((place / "recipes").rglob("*.yaml"))]
    if json:
        plain = [asdict(encoder) for encoder in encoders], [asdict(model) for model in found]
        names = ("methods", "encoders", "models", "recipes")
        print(dumps(dict(zip(names, (methods, *plain, recipes), strict=True)), indent=2))
        return
    _show("methods (--method)", methods)
    sources = {e.name: f"{'here' if e.here else 'to be fetched'}: {e.source}" for e in encoders}
    sources["FOLDER, FILE or OWNER/NAME"] = (
        "CLIP or SigLIP in the layout of Hugging Face, open_clip, OpenAI; "
        "ResNets in that of Hugging Face, torchvision"
    )
    _show("encoders (--encoder)", sources)
    _show("recipes (openfsar train RECIPE)", dict.fromkeys(recipes, ""))
    _show("models (openfsar predict FOLDER, or --model FOLDER)", {m.path: str(m) for m in found})
    if not found:
        print(f"no models in {', '.join(map(str, places))}; make one: openfsar fit clips/ -o model")


def find_encoders(cached: Mapping[str, Path]) -> list[Encoder]:
    """Those that ship, those with a name here, and whatever else in the hub's cache is an encoder."""
    from openfsar.encoders.weights import BUNDLED, KINDS, KNOWN, OPEN_CLIP

    own = "ships with openfsar; for the toy data sets and for trying things out"
    found = [Encoder(name, own, True) for name in BUNDLED]
    known = {name: entry for name, entry in KNOWN.items() if entry.hub}
    found += [
        Encoder(name, f"{entry.hub} ({entry.licence})", entry.hub in cached) for name, entry in known.items()
    ]
    for name in sorted(cached.keys() - {entry.hub for entry in known.values()}):
        kind = _read(cached[name] / "config.json").get("model_type")
        if kind in KINDS or (cached[name] / OPEN_CLIP).is_file():
            found.append(Encoder(name, "in the hub's cache", True))
    return found


def _cached() -> dict[str, Path]:
    """What was fetched from the hub with weights: its name, and the folder of the newest copy."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:  # nothing was ever fetched
        return {}
    found = {}
    for repository in repositories:
        for copy in sorted(repository.revisions, key=lambda revision: revision.last_modified):
            if any(file.file_name.endswith((".safetensors", "pytorch_model.bin")) for file in copy.files):
                found[repository.repo_id] = copy.snapshot_path
    return found


def find_models(folder: Path) -> Iterator[Model]:
    """The model folders in a folder, hidden ones left out; of a training run, the run."""
    for place, inside, _ in os.walk(folder):
        path = Path(place)
        run = path.name == "best" and (path.parent / "recipe.yaml").is_file()
        model = _model(str(path.parent if run else path), path)
        if model is not None:
            yield model
        deep = model is not None or len(path.relative_to(folder).parts) >= DEPTH
        inside[:] = [] if deep else sorted(name for name in inside if not name.startswith("."))


def _model(name: str, folder: Path) -> Model | None:
    """What a model folder says of itself; None for any other folder."""
    from openfsar import hub
    from openfsar.classifier import storage

    if not (folder / hub.RECORD).is_file():
        return None
    spec = _read(folder / hub.RECORD).get("spec") or {}
    about = name, str(spec.get("method")), str(spec.get("encoder"))
    if not (folder / storage.RECORD).is_file():
        return Model(*about)
    labels = _read(folder / storage.RECORD).get("names") or []
    return Model(*about, sorted(set(labels)), len(labels))


def _read(path: Path) -> Mapping[str, Any]:
    """A record, empty where it is damaged: the listing goes on, and loading it says what is wrong."""
    try:
        content = loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _show(title: str, rows: Mapping[str, str]) -> None:
    if not rows:
        return
    table = Table(
        box=None, show_header=False, pad_edge=False, title=title, title_justify="left", title_style="bold"
    )
    for name, about in rows.items():
        table.add_row(Text(f"  {name}", "cyan"), Text(about))
    Console().print(table)
