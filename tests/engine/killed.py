"""Run as a script.

``killed.py kill FOLDER``: kills training at many moments, resumes it, and compares with an undisturbed run.
``killed.py share FOLDER``: a run of one process, and one of the several that this was launched as.

Both fork, so that the libraries are imported once.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import PartialState
from painted import Painted, painted, tiny_recipe, weights, wobbly

from openfsar.engine.train import fit

EVENTS = (1, 4, 8, 9, 13, 14, 16, 19, 22)
"""Moments of death, counted in episodes read, files flushed and files renamed."""


def run(out: Path, *, steps: int = 4, noise: int = 100) -> None:
    recipe = tiny_recipe(steps=steps, eval_every=2, eval_episodes=10)
    fit(wobbly(), recipe, painted("train", train=True), painted(noise=noise), out, progress=False)
    assert PartialState().num_processes == int(os.environ.get("WORLD_SIZE", 1))


def in_child(work: Callable[[], None]) -> int:
    """Fork; the child's process id."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def ending(child: int) -> int:
    """Exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(event: int) -> None:
    """Kill this process when it reads an episode, flushes or renames a file for the ``event``-th time."""
    seen = 0

    def deadly(function: Callable) -> Callable:
        def counted(*args: object, **options: object) -> object:
            nonlocal seen
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return counted

    os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
    Painted.clip = deadly_once_per_episode(Painted.clip, deadly(lambda: None))


def deadly_once_per_episode(clip: Callable, count: Callable) -> Callable:
    """Training draws are episode numbers: count each once."""
    draws: set[int] = set()

    def counted(self: Painted, i: int, draw: int = 0) -> object:
        if self.train and draw not in draws:
            draws.add(draw)
            count()
        return clip(self, i, draw)

    return counted


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    equal = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    return equal and (a / "history.json").read_text() == (b / "history.json").read_text()


def kill(folder: Path) -> None:
    assert ending(in_child(lambda: run(folder / "whole"))) == 0
    for event in EVENTS:
        out = folder / f"killed-{event}"

        def doomed(event: int = event, out: Path = out) -> None:
            die_at(event)
            run(out)

        assert ending(in_child(doomed)) == -signal.SIGKILL, event
        assert ending(in_child(lambda out=out: run(out))) == 0, event
        assert same(folder / "whole", out), event
        best = [[p.name for p in (place / "best").glob("model-*")] for place in (folder / "whole", out)]
        assert best[0] == best[1], event  # weights are named by their content
        assert not list(out.glob(".*")), event


def alone(out: Path) -> None:
    """A run that does not know of the other processes."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        del os.environ[name]
    run(out)


def share(folder: Path) -> None:
    assert int(os.environ["WORLD_SIZE"]) > 1
    if os.environ["RANK"] == "0":
        assert ending(in_child(lambda: alone(folder / "one"))) == 0
    run(folder / "two")


if __name__ == "__main__":
    torch.optim.Adam(wobbly().parameters())  # imports what children would each have to; computes nothing
    {"kill": kill, "share": share}[sys.argv[1]](Path(sys.argv[2]))
