"""Video in and out: files to frames to clips, and back."""

from openfsar.video.decode import VideoInfo, probe, read_frames
from openfsar.video.encode import write_video
from openfsar.video.source import VideoError

__all__ = ["VideoError", "VideoInfo", "probe", "read_frames", "write_video"]
