"""From labelled video files to clips and few-shot episodes."""

from openfsar.data.batches import ClipDataset
from openfsar.data.check import CheckReport, check_videos
from openfsar.data.dataset import VideoDataset
from openfsar.data.division import base_part, novel_part
from openfsar.data.episodes import EpisodeDataset, EpisodeError, EpisodePlan, EpisodeSampler
from openfsar.data.frames import build_frame_cache
from openfsar.data.manifest import Manifest, ManifestError, VideoRecord, read_manifest, write_manifest
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
    "Manifest",
    "ManifestError",
    "Split",
    "SplitError",
    "VideoDataset",
    "VideoRecord",
    "base_part",
    "build_frame_cache",
    "check_disjoint",
    "check_videos",
    "load_split",
    "novel_part",
    "read_manifest",
    "write_manifest",
]
