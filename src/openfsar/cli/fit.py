"""``openfsar fit``: from example clips to a model folder."""

from pathlib import Path

from openfsar.cli.console import stage
from openfsar.cli.footage import find_examples


def fit(
    examples: tuple[str, ...],
    *,
    out: Path = Path("model"),
    model: str | None = None,
    method: str = "otam",
    encoder: str = "toyclip",
    frames: int = 8,
    device: str | None = None,
) -> None:
    """Learn your own actions from a few example clips each, and write a model folder.

    Args:
        examples: A folder with one folder of clips per action, or label=path (a clip or a folder of clips).
        out: The model folder to write; an older model there is replaced.
        model: Start from a trained run or model folder instead of --method and --encoder.
        method: The few-shot method (`openfsar ls` lists them).
        encoder: The pretrained encoder under the method (`openfsar ls` lists them).
        frames: Frames sampled from each clip.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.

    Example:
        openfsar fit clips/ -o model
        openfsar fit wave=wave1.mp4 wave=wave2.mp4 clap=claps/ -o model --encoder clip-vit-b-16
    """
    groups = find_examples(examples)
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.cli.run import model_folder

    classifier = FewShotVideoClassifier(
        model_folder(model) if model else method, encoder=encoder, frames=frames, device=device, progress=True
    )
    with stage("fitted") as said:
        classifier.fit(groups)
        classifier.save(out)
        counts = ", ".join(f"{label} ({len(group)})" for label, group in sorted(groups.items()))
        said.append(f"{len(groups)} actions: {counts} -> {out}")
    print(f"next: openfsar predict {out} NEW_VIDEOS")
