"""What a recipe names, opened: its videos and its method, made where they are not there yet."""

from pathlib import Path

from openfsar.data.dataset import VideoDataset
from openfsar.data.division import base_part, first_classes, novel_part
from openfsar.data.frames import build_frame_cache
from openfsar.data.manifest import Manifest, ManifestError, read_manifest
from openfsar.engine.recipe import Recipe
from openfsar.methods.base import FewShotMethod
from openfsar.methods.fusion import NamingMethod
from openfsar.methods.zoo import METHODS, create
from openfsar.toy.dataset import TOY_SETS, make_toy


def make_method(recipe: Recipe, manifest: Manifest) -> FewShotMethod:
    """The recipe's method on a fresh encoder; one with heads for known classes is told which."""
    options = dict(recipe.options)
    kind = METHODS.get(recipe.method)
    if kind is not None and issubclass(kind, NamingMethod) and kind.closed_set and not options.get("classes"):
        options["classes"] = sorted({record.label for record in manifest.only(["train"]).records})
    return create(
        recipe.method, encoder=recipe.encoder, pretrained=recipe.pretrained, seed=recipe.seed, **options
    )


def open_manifest(recipe: Recipe, *, progress: bool = False) -> Manifest:
    """The recipe's list of videos; toy videos and frame cache are made on first use."""
    source = Path(recipe.data)
    if recipe.data in TOY_SETS:
        source = Path("data", recipe.data, "manifest.csv")
        if not source.exists():
            make_toy(recipe.data, source.parent, workers=max(1, recipe.workers), progress=progress)
    manifest = read_manifest(source)
    if recipe.cache:
        build_frame_cache(manifest, Path(recipe.cache), workers=recipe.workers, progress=progress)
    return first_classes(manifest, recipe.base_classes)


def open_videos(recipe: Recipe, method: FewShotMethod, split: str, *, progress: bool = False) -> VideoDataset:
    """The recipe's videos of one split, whose classes no other split has; for few-shot tasks.

    Frames are drawn at random in the split ``train`` and fixed in the others.

    Raises:
        ManifestError: the splits share classes.
    """
    manifest = open_manifest(recipe, progress=progress)
    if split and manifest.shared:
        raise ManifestError(
            f"{recipe.data}: class {manifest.shared[0]!r} and {len(manifest.shared) - 1} more are in several "
            "splits, and few-shot tasks need classes that training has not seen; train with training=clips, "
            "or divide the classes"
        )
    return _dataset(recipe, method, manifest, split)


def open_base(recipe: Recipe, method: FewShotMethod, part: str, *, progress: bool = False) -> VideoDataset:
    """The recipe's videos of the training classes that belong to ``part``: train, val or test."""
    manifest = base_part(
        open_manifest(recipe, progress=progress),
        part,
        held_out=recipe.held_out,
        videos_per_class=recipe.videos_per_class,
        seed=recipe.seed,
    )
    return _dataset(recipe, method, manifest, part)


def open_novel(recipe: Recipe, method: FewShotMethod, split: str, *, progress: bool = False) -> VideoDataset:
    """The recipe's videos of one split, none of whose classes is a training class."""
    return _dataset(recipe, method, novel_part(open_manifest(recipe, progress=progress), split), split)


def _dataset(recipe: Recipe, method: FewShotMethod, manifest: Manifest, split: str) -> VideoDataset:
    return VideoDataset(
        manifest,
        split,
        frames=recipe.frames,
        size=recipe.size or method.encoder.image_size,
        resize=recipe.resize,
        sampling=recipe.sampling,
        stride=recipe.stride,
        mirror=recipe.mirror,
        train=split == "train",
        seed=recipe.seed,
        cache=Path(recipe.cache) if recipe.cache else None,
    )
