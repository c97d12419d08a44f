"""What an evaluation found: a few numbers, and the answer to every query of every episode."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from openfsar.data.episodes import EpisodeError
from openfsar.data.files import whole_file
from openfsar.data.fixed import FixedEpisodes
from openfsar.encoders.trainable import count_parameters
from openfsar.engine.metrics import class_accuracy, confusion_matrix, episode_accuracy, mean_interval
from openfsar.methods.base import FewShotMethod


@dataclass(frozen=True, eq=False)
class Result:
    """What an evaluation found, and all it takes to repeat it. Accuracies are fractions, 0..1."""

    method: str
    encoder: str
    data: str
    split: str
    way: int
    shot: int
    query: int
    episodes: int
    seed: int
    protocol: str
    """"cached": each video's frames are fixed and encoded once; "paper": drawn anew for every episode."""
    transductive: bool
    """Whether queries of an episode could see each other; such numbers stand apart from the others."""
    accuracy: float
    interval: float
    """Half width of the 95 % confidence interval over episodes."""
    per_class: dict[str, float]
    """Accuracy by class name; classes that no episode asked for are absent."""
    classes: tuple[str, ...]
    confusion: Int[Tensor, "A A"]
    """Queries of each class (row) that were given each name (column)."""
    episode_hash: str
    """Digest of the episode list: equal hashes mean equal tasks."""
    trainable: int
    """Parameters of the method that train."""
    encodes: int
    """Videos that passed the encoder."""
    seconds_encode: float
    """Decoding included."""
    seconds_match: float

    @property
    def all_way(self) -> bool:
        """Whether every task holds every class there is: K-shot over all classes, not N-way episodes."""
        return self.way == len(self.classes)

    @property
    def label(self) -> str:
        """The protocol in words, with what sets the number apart from N-way episodes without transduction."""
        marks = ("all-way" * self.all_way, "transductive" * self.transductive)
        return ", ".join([self.protocol, *filter(None, marks)])

    def to_json(self) -> str:
        """The text that ``from_json`` reads back."""
        return json.dumps(asdict(self) | {"confusion": self.confusion.tolist()})

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """The inverse of ``to_json``."""
        values = {field.name: json.loads(text)[field.name] for field in fields(cls)}
        lists = {"confusion": torch.tensor(values["confusion"]), "classes": tuple(values["classes"])}
        return cls(**values | lists)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A result with what it was made from."""

    result: Result
    episodes: FixedEpisodes
    answers: Int[Tensor, "E Q"]
    """Column, 0..way-1, that each query was given; queries ordered by class."""

    @property
    def correct(self) -> Bool[Tensor, "E N M"]:
        """Whether each query was named right, by class of the episode."""
        way, _, query = self.episodes.shape
        return self.answers.unflatten(1, (way, query)) == torch.arange(way)[:, None]

    def save(self, path: Path) -> None:
        """Write a file of episodes that holds the answers and the result too."""
        more = {"answers": self.answers.numpy().astype(np.int32), "result": np.array(self.result.to_json())}
        with whole_file(Path(path)) as file:
            np.savez_compressed(file, **self.episodes.arrays(), **more)

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """The inverse of ``save``.

        Raises:
            EpisodeError: the file holds no outcome, or answers to other episodes.
        """
        episodes = FixedEpisodes.load(path)
        way, _, query = episodes.shape
        try:
            with np.load(path, allow_pickle=False) as parts:
                answers = torch.from_numpy(parts["answers"]).long()
                result = Result.from_json(parts["result"].item())
            if answers.shape != (len(episodes.plan), way * query):
                raise ValueError(
                    f"{list(answers.shape)} answers to {len(episodes.plan)} x {way * query} queries"
                )
        except (ValueError, KeyError, TypeError) as error:
            raise EpisodeError(
                f"{path} holds episodes without answers ({type(error).__name__}: {error}); keep them with "
                "openfsar eval --outcomes FOLDER"
            ) from error
        return cls(result, episodes, answers)


def summarise(
    method: FewShotMethod,
    episodes: FixedEpisodes,
    answers: Int[Tensor, "E Q"],
    *,
    protocol: str,
    encodes: int,
    seconds: tuple[float, float],
) -> Outcome:
    """The numbers that ``answers`` come to.

    Args:
        seconds: To encode, and to match.
    """
    plan, (way, shot, query) = episodes.plan, episodes.shape
    spec = getattr(method, "spec", None)  # a method of the user's own may have none
    asked = torch.arange(way).repeat_interleave(query)
    accuracy, interval = mean_interval(episode_accuracy(answers == asked))
    truth = plan.classes[:, asked].flatten()
    named = plan.classes.gather(1, answers).flatten()
    confusion = confusion_matrix(truth, named, len(episodes.classes))
    shares = dict(zip(episodes.classes, class_accuracy(confusion).tolist(), strict=True))
    result = Result(
        method=spec.method if spec else type(method).__name__,
        encoder=method.encoder.name,
        data=episodes.data,
        split=episodes.split,
        way=way,
        shot=shot,
        query=query,
        episodes=len(plan),
        seed=episodes.seed,
        protocol=protocol,
        transductive=method.transductive,
        accuracy=accuracy,
        interval=interval,
        per_class={name: share for name, share in shares.items() if share == share},
        classes=episodes.classes,
        confusion=confusion,
        episode_hash=plan.digest,
        trainable=count_parameters(method).trainable,
        encodes=encodes,
        seconds_encode=seconds[0],
        seconds_match=seconds[1],
    )
    return Outcome(result, episodes, answers)
