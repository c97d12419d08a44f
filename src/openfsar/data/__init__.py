"""From labelled video files to clips and few-shot episodes."""

from openfsar.data.batches import ClipDataset
from openfsar.data.check import CheckReport, check_videos
from openfsar.data.dataset import VideoDataset
from openfsar.data.division import base_part, novel_part
from openfsar.data.episodes import EpisodeDataset, EpisodeError, EpisodePlan, EpisodeSampler
from openfsar.data.frames import build_frame_cache
from openfsar.data.lists import ListError, Selection, VideoList, choose_lists, read_list
from openfsar.data.manifest import Manifest, ManifestError, VideoRecord, read_manifest, write_manifest
from openfsar.data.prepare import Preparation, PrepareError, find_benchmark, prepare_benchmark
from openfsar.data.splits import Split, SplitError, check_disjoint, load_split
from openfsar.data.store import CacheError, FrameStore

__all__ = [
    "CacheError",
    "CheckReport",
    "ClipDataset",
    "EpisodeDataset",
    "EpisodeError",
    "EpisodePlan",
    "EpisodeSampler",
    "FrameStore",
    "ListError",
    "Manifest",
    "ManifestError",
    "Preparation",
    "PrepareError",
    "Selection",
    "Split",
    "SplitError",
    "VideoDataset",
    "VideoList",
    "VideoRecord",
    "base_part",
    "build_frame_cache",
    "check_disjoint",
    "check_videos",
    "choose_lists",
    "find_benchmark",
    "load_split",
    "novel_part",
    "prepare_benchmark",
    "read_list",
    "read_manifest",
    "write_manifest",
]
