"""Write docs/claims.md and its pictures from results/claims.json; with a folder of runs, gather that first.

    python docs/claims.py [RUNS]

RUNS is what ``openfsar reproduce all --out RUNS`` left.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from openfsar.studies.figure import draw
from openfsar.studies.page import Found, gather, head, page
from openfsar.studies.plan import STUDIES, load_study
from openfsar.studies.run import Measured, jobs_of, kept_file

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "results" / "claims.json"
PICTURES = "claims"
SEEDS, WORKERS = 3, 2


def read(path: Path = KEPT) -> dict[str, Measured]:
    """What every run found, by the key of its job."""
    return {key: Measured(**values) for key, values in json.loads(path.read_text()).items()}


def tables(measured: Mapping[str, Measured]) -> list[tuple[str, list[Found]]]:
    """By study, every table of toy scale."""
    return [
        (
            name,
            [
                gather(table, measured, scale="toy", seeds=SEEDS, recipes=ROOT / "recipes")
                for table in load_study(name).tables
                if table.toy
            ],
        )
        for name in STUDIES
    ]


def files(measured: Mapping[str, Measured]) -> Iterator[tuple[str, str]]:
    """Path below docs/ and text of the page and of its pictures."""
    found = tables(measured)
    pictures = {}
    for name, studied in found:
        for each in studied:
            if each.columns:
                pictures[f"{name}-{each.table.name}"] = f"{PICTURES}/{name}-{each.table.name}.svg"
                yield pictures[f"{name}-{each.table.name}"], draw(each)
    spent = sum(run.seconds for run in measured.values())
    text = page(
        [(load_study(name), studied) for name, studied in found],
        head=head("toy", SEEDS, spent, WORKERS),
        pictures=pictures,
    )
    yield "claims.md", text


def main(runs: Path | None) -> None:
    if runs is not None:
        studies = [load_study(name) for name in STUDIES]
        jobs = jobs_of(studies, scale="toy", seeds=SEEDS, recipes=ROOT / "recipes")
        kept = {
            job.key: Measured.load(kept_file(runs, job)) for job in jobs if kept_file(runs, job).is_file()
        }
        KEPT.write_text(json.dumps({key: asdict(run) for key, run in kept.items()}, indent=1) + "\n")
    (ROOT / "docs" / PICTURES).mkdir(exist_ok=True)
    for name, text in files(read()):
        (ROOT / "docs" / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
