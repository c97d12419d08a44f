"""The command line: a literal dictionary from verb to function, and what becomes of errors.

Help, options and types come from the functions (see parser.py). Verbs import what is heavy when they run, so
that ``--help`` answers at once.
"""

import sys
import traceback
from collections.abc import Sequence

from openfsar.cli.compare import compare
from openfsar.cli.console import complain
from openfsar.cli.data import cache, check, make_toy
from openfsar.cli.demo import demo
from openfsar.cli.episodes import episodes
from openfsar.cli.eval import evaluate
from openfsar.cli.explain import explain
from openfsar.cli.fit import fit
from openfsar.cli.heap import keep_freed_memory
from openfsar.cli.models import models
from openfsar.cli.parser import Table, parse
from openfsar.cli.predict import predict
from openfsar.cli.prepare import prepare
from openfsar.cli.reproduce import reproduce
from openfsar.cli.search import search
from openfsar.cli.serve import serve
from openfsar.cli.table import table
from openfsar.cli.timeline import timeline
from openfsar.cli.train import train
from openfsar.cli.watch import watch

VERBS: Table = {
    "demo": demo,
    "data": {"make-toy": make_toy, "prepare": prepare, "check": check, "cache": cache, "episodes": episodes},
    "train": train,
    "search": search,
    "eval": evaluate,
    "compare": compare,
    "table": table,
    "reproduce": reproduce,
    "fit": fit,
    "predict": predict,
    "explain": explain,
    "timeline": timeline,
    "watch": watch,
    "serve": serve,
    "models": models,
}

OVERVIEW = """\
openfsar: few-shot action recognition. Show it a few clips of each action; it names the action in new videos.

  name your own actions    openfsar fit clips/ -o model && openfsar predict model new_videos/
  see why                  openfsar explain model video.mp4
  what happens when        openfsar timeline model long_video.mp4
  what happens now         openfsar watch model /dev/video0
  the same in the browser  openfsar serve model
  see the whole story      openfsar demo
  train and evaluate       openfsar train recipes/otam/toy-motion.yaml && openfsar eval runs/otam-toy-motion
  which of two is better   openfsar compare runs/otam-toy-motion protonet
  beside published figures openfsar table --benchmark hmdb51
  run a paper's tables     openfsar reproduce ma-fsar
  search an architecture   openfsar search recipes/sloshnet/toy-motion.yaml
  make and prepare data    openfsar data make-toy toy-motion data/toy-motion
                           openfsar data prepare hmdb51 --videos HMDB51/
                           openfsar data check videos/
                           openfsar data cache videos/ cache/
                           openfsar data episodes videos/ -o episodes.npz
  see what is there        openfsar models

openfsar VERB --help says what a verb does, its options and an example.
--debug, anywhere, shows the traceback of an error."""

BUG = 70


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit code: 0 ok, 1 the user's input, 2 usage, 70 a bug, 130 interrupted."""
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    if not given or given in (["--help"], ["-h"]):
        print(OVERVIEW)
        return 0
    try:
        run, arguments = parse(VERBS, given)
        keep_freed_memory()
        return run(**arguments) or 0
    except SystemExit as stop:  # the parser has said why
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        if _is_input(error):
            complain(str(error))
            return 1
        complain(
            f"{type(error).__name__}: {error} (this is a bug in openfsar; "
            "run again with --debug for the traceback and report it)"
        )
        return BUG


def _is_input(error: Exception) -> bool:
    """Whether the user can mend it: files, and values that openfsar (not a library below it) refused."""
    if isinstance(error, OSError):
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    refused_here = frame is not None and frame.tb_frame.f_globals["__name__"].split(".")[0] == "openfsar"
    return isinstance(error, ValueError) and (refused_here or type(error).__module__.startswith("openfsar."))
