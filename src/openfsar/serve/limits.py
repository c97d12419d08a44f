"""How much one request may ask of the machine. Every refusal names the value, the limit and what to do."""

from dataclasses import dataclass
from pathlib import Path

from openfsar.serve.problems import Problem
from openfsar.video import VideoError, VideoInfo, probe

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Defaults suit a laptop that serves a team."""

    files: int = 20
    """Videos in one request."""
    clip_bytes: int = 200 * MB
    """Of one example, or of one video to name."""
    clip_seconds: float = 600.0
    video_bytes: int = 4_000 * MB
    """Of a video for a timeline."""
    video_seconds: float = 4 * 3600.0
    pixels: int = 4096 * 2304
    """Width times height."""
    frame_rate: float = 240.0
    """Frames a second: a file of a few seconds can hold a million frames."""
    classes: int = 1_000
    examples: int = 10_000
    """Of all classes together."""
    label_letters: int = 100
    uploading_bytes: int = 20_000 * MB
    """Of all uploads that are being received or worked on."""
    queued: int = 8
    """Timelines that wait."""
    kept_seconds: float = 3600.0
    """How long a finished timeline can be fetched."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"a limit of {name}={value} lets nothing through; give a number above 0")

    def check_video(self, path: Path, name: str, *, seconds: float) -> VideoInfo:
        """Read the header of a video, and refuse what would take too long or too much memory.

        Args:
            name: what the user calls the file.
            seconds: the longest video allowed.

        Raises:
            Problem: The video is none, or is over a limit.
        """
        try:
            info = probe(path)
        except VideoError as error:
            raise unreadable(error, name) from error
        size = f"{info.width}x{info.height}"
        if info.seconds > seconds:
            raise Problem(
                413,
                "the video is too long",
                f"{name} lasts {info.seconds:.1f} s",
                allowed=f"videos of up to {seconds:g} s",
                remedy="cut it into pieces"
                if seconds == self.video_seconds
                else "cut out the action alone, or use a timeline, which takes long videos",
                file=name,
            )
        if info.width * info.height > self.pixels:
            raise Problem(
                413,
                "the picture is too large",
                f"{name} has {size} pixels",
                allowed=f"{self.pixels / 1e6:.1f} megapixels, such as 3840x2160",
                remedy="scale it down; the recogniser looks at small pictures anyway",
                file=name,
            )
        if info.fps > self.frame_rate:
            raise Problem(
                413,
                "the frame rate is too high",
                f"{name} has {info.fps:.0f} frames a second",
                allowed=f"{self.frame_rate:g} frames a second",
                remedy="save it at 30 frames a second",
                file=name,
            )
        return info


def unreadable(error: VideoError, name: str) -> Problem:
    """The same complaint under the name the user knows, without the server's paths."""
    return Problem(
        422, "the video cannot be read", f"{name} {error.reason}", remedy=error.remedy or None, file=name
    )
