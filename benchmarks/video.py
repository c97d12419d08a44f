"""What 8 frames of a video cost, read in several ways, and what a frame cache costs and saves.

    python benchmarks/video.py [--seconds 10] [--repeats 3] [--only "h264 .*240"] [--json FILE]

The videos are made for the occasion, in a temporary folder: texture that drifts under fresh grain. The first
table compares seeking with reading in order, threads with none, and PyAV with torchcodec and OpenCV where
these are installed. Every time includes opening the file. The ways take turns and each keeps its best wall
time and its best processor time (of all threads), so that other work on the machine counts little; clips/s
per core come from the latter.

All ways must find the frames that PyAV finds from start to end with one thread; where they do not, the table
says how many are wrong, and the command fails if the way is on PyAV. Frames read by PyAV must be equal bit by
bit. Other decoders convert colours in their own way: there a frame is right if it differs from the wanted one
by less than 4 grey levels on average, and by less than from the one before and the one after.

The second table is about many short clips, in random order, all of them in the page cache. "For training" is
``VideoDataset.clip``: it reads frames that a generator draws, and scales and crops them.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast
from unittest import mock

import av
import numpy as np
import torch
from av.video.stream import VideoStream
from jaxtyping import UInt8
from machine import name_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from openfsar.data.dataset import DECODED_SIDE, VideoDataset
from openfsar.data.frames import build_frame_cache
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.data.store import FrameStore
from openfsar.video import decode, read_frames
from openfsar.video.decode import to_picture
from openfsar.video.sampling import segments

FPS, FRAMES = 30, 8
CLIPS, CLIP_SECONDS, CROP, WORKERS = 40, 3, 224, 2
TOLERANCE = 4.0
"""Grey levels by which the same frame may differ between decoders, on average over its pixels."""

X264 = {"preset": "veryfast", "crf": "23"}
VP9 = {"deadline": "good", "cpu-used": "5", "crf": "33", "b": "0", "lag-in-frames": "16", "auto-alt-ref": "1"}
MPEG4 = {"b": "500000"}  # FFmpeg's own encoder; its files get the tag of XviD


@dataclass(frozen=True)
class Video:
    """How a row's video is written."""

    name: str
    width: int
    height: int
    gop: int
    """Frames from one keyframe to the next."""
    codec: str = "libx264"
    suffix: str = ".mp4"
    options: Mapping[str, str] = field(default_factory=lambda: X264)


VIDEOS = [
    *(Video(f"h264 320x240, keyframe every {gop}", 320, 240, gop) for gop in (12, 30, 250)),
    Video("h264 1280x720, keyframe every 60", 1280, 720, 60),
    Video("h264 1920x1080, keyframe every 60", 1920, 1080, 60),
    Video("vp9 webm 320x240, keyframe every 128", 320, 240, 128, "libvpx-vp9", ".webm", VP9),
    Video("xvid avi 320x240, keyframe every 250", 320, 240, 250, "mpeg4", ".avi", MPEG4),
    # An avi does not say when frames are shown, so that B-frames change how one has to read it.
    Video(
        "xvid avi 320x240, B-frames, keyframe every 250",
        320,
        240,
        250,
        "mpeg4",
        ".avi",
        {**MPEG4, "bf": "2"},
    ),
]
CACHE = "frame cache"
SHORT = Video("", 320, 240, 30)
"""A clip of the second table."""

Read = Callable[[Path, list[int]], UInt8[Tensor, "T 3 H W"]]


@dataclass(frozen=True)
class Way:
    """A column: one way to read frames."""

    name: str
    read: Read
    equal: bool = True
    """Whether the frames must be the right ones bit by bit."""
    short_side: int | None = None


@dataclass(frozen=True)
class Cost:
    """Of the best run, in milliseconds."""

    wall_ms: float
    cpu_ms: float

    @property
    def per_core(self) -> float:
        """How many a core does in a second."""
        return 1e3 / self.cpu_ms


def moving_texture(video: Video, seconds: float, seed: int) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Frames that cost a codec about what footage costs: blurred noise that drifts, with some fresh grain.

    Its colours are pale: decoders disagree on how saturated ones go from one pixel to the next.
    """
    count = round(seconds * FPS)
    dice = torch.Generator().manual_seed(seed)
    height, width = video.height + count // 2, video.width + 2 * count
    grey, colour = (
        torch.rand(1, planes, height // 8 + 1, width // 8 + 1, generator=dice) for planes in (1, 3)
    )
    coarse = 255 * (0.75 * grey + 0.25 * colour)
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic")[0]
    world = smooth.permute(1, 2, 0).to(torch.int16).contiguous().numpy()
    noise = torch.randn(4, video.height, video.width, 1, generator=dice) * 4
    grain = noise.round().to(torch.int16).numpy()
    for i in range(count):
        view = world[i // 2 : i // 2 + video.height, 2 * i : 2 * i + video.width]
        yield (view + grain[i % 4]).clip(0, 255).astype(np.uint8)


def write(path: Path, video: Video, seconds: float, seed: int = 0) -> None:
    """Write the video frame by frame: what is 10 s of 1080p would fill 2 GB of memory."""
    with av.open(str(path), "w") as container:
        options = {**video.options, "g": str(video.gop)}
        stream = cast(VideoStream, container.add_stream(video.codec, rate=FPS, options=options))
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.thread_count = 4  # a number, so that every machine writes the same file
        if video.codec == "mpeg4":
            stream.codec_context.codec_tag = "XVID"
        for picture in moving_texture(video, seconds, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def ours(path: Path, wanted: list[int], short_side: int | None = None, threads: int = 1) -> Tensor:
    return read_frames(path, wanted, short_side=short_side, threads=threads).frames


def in_order(path: Path, wanted: list[int]) -> Tensor:
    """The same with a plan for which no seek is worth it: one run up to the last wanted frame."""
    with mock.patch.object(decode, "SEEK_COST", sys.maxsize):
        return ours(path, wanted)


def whole(
    path: Path,
    wanted: list[int],
    short_side: int | None = None,
    threads: int = 1,
    kind: Literal["SLICE", "AUTO"] = "SLICE",
) -> Tensor:
    """A plain loop over all frames; only the wanted ones become pictures, and in the way of ours."""
    chosen = set(wanted)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = threads, kind  # type: ignore[assignment]
        pictures = {
            number: to_picture(path, frame, short_side)
            for number, frame in enumerate(container.decode(stream))
            if number in chosen
        }
    return torch.stack([pictures[number] for number in wanted])


def by_torchcodec(decoders: ModuleType, path: Path, wanted: list[int]) -> Tensor:
    return decoders.VideoDecoder(path, seek_mode="exact", num_ffmpeg_threads=1).get_frames_at(wanted).data


def by_opencv(cv2: ModuleType, path: Path, wanted: list[int], seek: bool) -> Tensor:
    """Frames that are passed over are decoded, but not converted."""
    film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    pictures, place = [], 0
    for number in wanted:
        if seek:
            film.set(cv2.CAP_PROP_POS_FRAMES, number)
        else:
            for _ in range(number - place):
                film.grab()
        _, picture = film.read()
        pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        place = number + 1
    film.release()
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def find_ways() -> tuple[list[Way], list[str]]:
    """The columns, and for each decoder that is missing a word on why."""
    ways = [
        Way("read_frames", ours),
        Way(f"short side {DECODED_SIDE}", partial(ours, short_side=DECODED_SIDE), short_side=DECODED_SIDE),
        Way("all threads", partial(ours, threads=0)),
        Way("without seeking", in_order),
        Way("PyAV, whole video", whole),
        Way("whole, slice threads", partial(whole, threads=0)),
        Way("whole, auto threads", partial(whole, threads=0, kind="AUTO")),
    ]
    missing: list[str] = []
    if decoders := module("torchcodec", "torchcodec.decoders", missing):
        ways.append(Way("torchcodec exact", partial(by_torchcodec, decoders), equal=False))
    if cv2 := module("cv2", "cv2", missing):
        ways.append(Way("OpenCV, in order", partial(by_opencv, cv2, seek=False), equal=False))
        ways.append(Way("OpenCV, seeking", partial(by_opencv, cv2, seek=True), equal=False))
    return ways, missing


def module(package: str, name: str, missing: list[str]) -> ModuleType | None:
    """A module that need not be there."""
    if find_spec(package) is None:
        missing.append(f"{package} is not installed")
        return None
    try:
        return import_module(name)
    except (ImportError, OSError, RuntimeError):  # torchcodec without a fitting FFmpeg or torch
        missing.append(f"{package} is installed but cannot be loaded")
        return None


class Judge:
    """Knows the right frames of a video, from a plain decode, and their neighbours."""

    def __init__(self, path: Path, wanted: list[int], count: int) -> None:
        self.path, self.wanted = path, wanted
        numbers = sorted({n + step for n in wanted for step in (-1, 0, 1)} & set(range(count)))
        self._frames = dict(zip(numbers, whole(path, numbers), strict=True))

    def wrong(self, found: UInt8[Tensor, "T 3 H W"], way: Way) -> int:
        """How many of the frames are not those asked for."""
        if way.short_side:
            truth = whole(self.path, self.wanted, way.short_side)
            return sum(not torch.equal(a, b) for a, b in zip(found, truth, strict=True))
        return sum(
            not (torch.equal(frame, self._frames[number]) if way.equal else self._near(frame, number))
            for frame, number in zip(found, self.wanted, strict=True)
        )

    def _near(self, frame: UInt8[Tensor, "3 H W"], number: int) -> bool:
        gaps = {
            other: float((frame.int() - self._frames[other]).abs().float().mean())
            for other in (number - 1, number, number + 1)
            if other in self._frames
        }
        return gaps[number] < TOLERANCE and min(gaps, key=gaps.__getitem__) == number


def best(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Cost]:
    """The fastest run of each; they take turns, so that a slow minute of the machine hits all alike."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            runs[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Cost(*(1e3 * min(times) for times in zip(*found, strict=True))) for name, found in runs.items()
    }


Note = Callable[..., None]
"""Takes what goes into a line of the JSON file."""


def compare(
    videos: Collection[Video], ways: list[Way], options: argparse.Namespace, note: Note
) -> tuple[Table, list[str]]:
    """The first table, and where frames are wrong that must not be."""
    table = Table(
        title=f"{FRAMES} frames of {options.seconds:g} s at {FPS} frames/s, best of {options.repeats}: "
        "ms of wall time, ms of processor time, clips/s per core",
        show_lines=True,
    )
    table.add_column("video", no_wrap=True)
    for way in ways:
        table.add_column(way.name, justify="right")
    faults: list[str] = []
    count = round(options.seconds * FPS)
    wanted = segments(count, FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        for number, video in enumerate(track(videos, "reading videos", transient=True)):
            path = Path(folder, f"{number}{video.suffix}")
            write(path, video, options.seconds)
            judge = Judge(path, wanted, count)
            chosen = [way for way in ways if (way.short_side or 0) < min(video.width, video.height)]
            wrong = {way.name: judge.wrong(way.read(path, wanted), way) for way in chosen}
            costs = best({way.name: partial(way.read, path, wanted) for way in chosen}, options.repeats)
            rate = path.stat().st_size * 8 / options.seconds / 1e6
            path.unlink()
            cells = []
            for way in ways:
                cost = costs.get(way.name)
                if cost is None:
                    cells.append("")  # no picture is shrunk
                    continue
                bad = wrong[way.name]
                cell = f"{cost.wall_ms:.1f}\n{cost.cpu_ms:.1f}\n{cost.per_core:.1f}/s"
                cells.append(f"{cell}\n[red]{bad} wrong[/red]" if bad else cell)
                if bad and way.equal:
                    faults.append(f"{video.name}, {way.name}: {bad} of {FRAMES} frames are wrong")
                note(video=video.name, mbit_s=rate, way=way.name, **asdict(cost), wrong=bad)
            table.add_row(f"{video.name}, {rate:.1f} Mbit/s".replace(", ", "\n"), *cells)
    return table, faults


def cache(repeats: int, note: Note) -> Table:
    """The second table."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "videos")
        root.mkdir()
        records = tuple(VideoRecord(root / f"{number}.mp4", "moving") for number in range(CLIPS))
        for number, record in enumerate(track(records, "writing clips", transient=True)):
            write(record.path, SHORT, CLIP_SECONDS, seed=number)
        manifest = Manifest(root, records)

        def build(manifest: Manifest, workers: int) -> Path:
            folder = Path(tempfile.mkdtemp(dir=place))
            store = build_frame_cache(manifest, folder, workers=workers, progress=False)
            if store.broken:
                raise SystemExit(f"the cache could not take {store.broken}")
            return folder

        folder = build(manifest, 0)
        settings = FrameStore(folder).settings
        builds = best(
            {
                "alone": partial(build, manifest, 0),
                "few": partial(build, Manifest(root, records[:WORKERS]), WORKERS),
                "parallel": partial(build, manifest, WORKERS),
            },
            repeats,
        )
        # Starting the workers takes seconds, once: what a clip costs is the slope from few clips to many.
        more = CLIPS - WORKERS
        slope = (builds["parallel"].wall_ms - builds["few"].wall_ms) / more
        start = builds["few"].wall_ms - WORKERS * slope
        reads = best(readings(manifest, folder), repeats)
        table = Table(
            title=f"Frame cache of {CLIPS} clips of {CLIP_SECONDS} s, h264 320x240: short side "
            f"{settings.short_side}, {settings.frames_per_video} frames of each; best of {repeats}"
        )
        table.add_column("of one clip")
        for column in ("ms of wall time", "ms of processor time", "clips/s per core"):
            table.add_column(column, justify="right")
        for name, cost in {"build, one process": builds["alone"], **reads}.items():
            each = Cost(cost.wall_ms / CLIPS, cost.cpu_ms / CLIPS)
            table.add_row(name, f"{each.wall_ms:.2f}", f"{each.cpu_ms:.2f}", f"{each.per_core:.1f}")
            note(cache=name, **asdict(each))
            if cost is builds["alone"]:
                name = f"build, {WORKERS} workers, after a start of {start / 1e3:.1f} s"
                table.add_row(name, f"{slope:.2f}", "", "")
                note(cache=f"build, {WORKERS} workers", wall_ms=slope, start_ms=start)
        sizes = [sum(file.stat().st_size for file in at.iterdir()) / CLIPS for at in (folder, root)]
        table.caption = (
            f"Bytes per clip: {sizes[0]:,.0f} in the cache, {sizes[1]:,.0f} in its video, "
            f"{sizes[0] / sizes[1]:.2f} times as many. Read are {FRAMES} frames, clips in random order, page "
            f"cache warm; for training at {CROP} pixels."
        )
        note(cache="bytes per clip", cached=sizes[0], video=sizes[1])
        return table


def readings(manifest: Manifest, folder: Path) -> dict[str, Callable[[], None]]:
    """Functions that go once over all videos, each time in another order and for other frames."""
    store = FrameStore(folder)
    places = store.rows(manifest.records, manifest.root)
    decoding = VideoDataset(manifest, frames=FRAMES, size=CROP, train=True)
    cached = decoding.at(cache=folder)
    choose = partial(segments, frames=FRAMES)

    def pass_over(read: Callable[[int, int], object], dice: random.Random) -> None:
        draw = dice.randrange(2**31)
        for i in dice.sample(range(CLIPS), CLIPS):
            read(i, draw)

    def from_cache(i: int, draw: int) -> object:
        generator = torch.Generator().manual_seed(draw + i)
        return store.read(places[i], partial(choose, generator=generator))

    def from_video(i: int, draw: int) -> object:
        generator = torch.Generator().manual_seed(draw + i)
        wanted = partial(choose, generator=generator)
        return read_frames(manifest.records[i].path, wanted, short_side=DECODED_SIDE)

    functions = {
        "read from the cache": from_cache,
        "decode": from_video,
        "for training, from the cache": cached.clip,
        "for training, decoded": decoding.clip,
    }
    passes = {name: partial(pass_over, read, random.Random(0)) for name, read in functions.items()}
    for one in passes.values():
        one()  # warms the page cache
    return passes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="length of the videos of the first table")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only",
        default="",
        help=f'expression to find in the names of videos, or in "{CACHE}", which stands for the second table',
    )
    parser.add_argument("--json", type=Path, help="file that gets one line per measurement")
    options = parser.parse_args()
    if options.seconds * FPS < FRAMES or options.repeats < 1:
        parser.error(f"--seconds must be enough for {FRAMES} frames, --repeats at least 1")
    videos = [video for video in VIDEOS if re.search(options.only, video.name)]
    with_cache = re.search(options.only, CACHE) is not None
    if not videos and not with_cache:
        names = "; ".join([*(video.name for video in VIDEOS), CACHE])
        raise SystemExit(f"no name has {options.only!r} in it; they are: {names}")
    torch.set_num_threads(1)  # as in a worker of a data loader
    ways, missing = find_ways()
    loaded = {"av": av.__version__} | {
        name: sys.modules[name].__version__ for name in ("torchcodec", "cv2") if name in sys.modules
    }
    setting = {"machine": name_of("cpu", os.cpu_count() or 1), "torch": torch.__version__, **loaded}

    def note(**found: Any) -> None:
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(found | setting | {"seconds": options.seconds}) + "\n")

    console = Console(width=160)
    faults: list[str] = []
    if videos:
        table, faults = compare(videos, ways, options, note)
        console.print(table)
    if with_cache:
        console.print(cache(options.repeats, note))
    console.print(", ".join(f"{name} {value}" for name, value in setting.items()))
    if missing:
        console.print("Not measured: " + ", ".join(missing))
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
