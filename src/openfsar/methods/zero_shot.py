"""Zero-shot CLIP: an action is named by the words nearest to the mean of its frames.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section
3.1.2, with the mean over frames that video papers take as its extension:

    v = mean_t frame_t                    logits[q, n] = exp(logit_scale) * cos(v_q, text_n)

It looks at no support video; a result better than this is what a few examples were worth. The mean is taken
of raw frame features, not of unit ones, as CLIP-FSAR does. Training (``tune="full"``, which CLIP's paper
does not do) is cross entropy over the names with the text tower and the scale frozen.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import TEMPLATES
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.base import FrameFirst
from openfsar.methods.episodic import Tune, classification, one_of, tuned
from openfsar.methods.fusion import NamingMethod


class ZeroShot(NamingMethod, FrameFirst):
    """Names actions by their words alone, without any example.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains.
        prompt: Key of ``TEMPLATES``; the feature of a name is the mean over its templates.
    """

    def __init__(self, encoder: ClipEncoder, *, tune: Tune = "none", prompt: str = "photo") -> None:
        super().__init__()
        self.encoder = tuned(encoder, tune)
        self.templates = TEMPLATES[one_of("prompt", prompt, *TEMPLATES)]

    def read(self, names: Sequence[str], templates: Sequence[str] | None = None) -> Float[Tensor, "N D"]:
        return self.clip.text(names, templates or self.templates)

    def text(self, names: Sequence[str]) -> Float[Tensor, "N D"]:
        return self.read(names)

    def refine(self, raw: Float[Tensor, "B T D"]) -> FrameFeatures:
        return FrameFeatures(raw)

    def prepare(self, support: SupportSet) -> Task:
        """Keeps the names.

        Raises:
            ValueError: The support set carries no text features.
        """
        if support.text is None:
            raise ValueError("zero-shot reads class names; give SupportSet(..., text=method.text(names))")
        return Task(support.features, support.labels, support.way, support.text)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        assert task.text is not None  # prepare saw to it
        return self.named(query, task.text)

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """Queries against the names of their episode, or clips against the whole vocabulary."""
        if isinstance(batch, Episode):
            clips, labels, names = batch.query, batch.query_labels, batch.classes
        else:
            clips, labels, names = batch.clips, batch.labels, batch.vocabulary
        return classification(self.named(self.encode(clips), self.read(names)), labels)
