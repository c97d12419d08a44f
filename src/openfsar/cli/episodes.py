"""``openfsar data episodes``, and which episodes the verbs that measure ask."""

from pathlib import Path
from typing import TYPE_CHECKING

from openfsar.cli.console import stage
from openfsar.cli.run import RunError

if TYPE_CHECKING:
    from openfsar.data.dataset import VideoDataset
    from openfsar.data.fixed import FixedEpisodes

EPISODES = 10_000
REPEATS = 1_000
"""Episodes of the task all-way, each of which asks for every class."""


def episodes(
    manifest: Path,
    *,
    out: Path = Path("episodes.npz"),
    split: str = "test",
    way: int = 5,
    shot: int = 1,
    query: int = 1,
    episodes: int = EPISODES,
    seed: int = 0,
) -> None:
    """Write down which videos meet in which few-shot task, so that other code can be asked the same.

    The file is a .npz of row numbers, with the paths of the videos in a header. openfsar eval draws the same
    tasks from the same seed without it.

    Args:
        manifest: A manifest, or a folder per class.
        out: The file to write.
        split: The split to draw from; "" for data without splits.
        way: Classes per task.
        shot: Examples per class.
        query: Videos to name per class and task.
        episodes: Tasks.
        seed: The same seed draws the same tasks.

    Example:
        openfsar data episodes data/hmdb51/manifest.csv --shot 5 -o hmdb51-5shot-seed0.npz
        openfsar eval runs/otam-hmdb51 --episodes-file hmdb51-5shot-seed0.npz
    """
    from openfsar.data.dataset import VideoDataset
    from openfsar.data.fixed import FixedEpisodes
    from openfsar.data.manifest import ManifestError, read_manifest

    if out.suffix != ".npz":
        raise RunError(f"episodes are written as .npz, got {str(out)!r}; name it {out.stem}.npz")
    with stage("drew episodes") as said:
        found = read_manifest(manifest)
        if split and found.shared:
            raise ManifestError(
                f"class {found.shared[0]!r} is in several splits, and few-shot tasks need classes of their "
                'own; divide the classes, or take all videos with --split ""'
            )
        drawn = FixedEpisodes.draw(
            VideoDataset(found, split), way=way, shot=shot, query=query, episodes=episodes, seed=seed
        )
        drawn.save(out)
        said.append(
            f"{episodes:,} of {way}-way {shot}-shot from {len(drawn.videos):,} videos of "
            f"{len(drawn.classes)} classes, hash {drawn.plan.digest} -> {out}"
        )


def asked(
    videos: "VideoDataset",
    *,
    file: Path | None,
    way: int | None,
    shot: int | None,
    query: int | None,
    episodes: int | None,
    seeds: str | None,
    all_way: bool = False,
) -> "list[FixedEpisodes]":
    """The episodes of a file, or those that the numbers say, one list a seed; None is what is usual.

    Raises:
        RunError: a number is given beside a file or, of classes, beside ``all_way``.
    """
    from openfsar.data.fixed import FixedEpisodes

    given = {"way": way, "shot": shot, "query": query, "episodes": episodes, "seeds": seeds}
    if file is not None:
        told = [f"--{name}" for name, value in given.items() if value is not None]
        if told or all_way:
            raise RunError(
                f"{file} says itself which tasks there are; leave out {', '.join(told) or '--task all-way'}"
            )
        return [FixedEpisodes.load(file)]
    if all_way and way is not None:
        raise RunError(f"--task all-way takes all {len(videos.classes)} classes; leave out --way {way}")
    classes = len(videos.classes) if all_way else 5 if way is None else way
    usual = REPEATS if all_way else EPISODES
    return [
        FixedEpisodes.draw(
            videos,
            way=classes,
            shot=1 if shot is None else shot,
            query=1 if query is None else query,
            episodes=usual if episodes is None else episodes,
            seed=seed,
        )
        for seed in whole_numbers("0" if seeds is None else seeds, "--seeds")
    ]


def whole_numbers(text: str, option: str) -> list[int]:
    """``0,1,2`` as numbers, none twice.

    Raises:
        RunError: for anything else.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(map(int, words))) < len(words):
        raise RunError(
            f"{option} takes whole numbers with commas between, none twice, such as 0,1,2; got {text!r}"
        )
    return [int(word) for word in words]
