"""Long videos: named window by window, cut into segments, exported; and sources that never end."""

from openfsar.timeline.judging import Namer
from openfsar.timeline.live import Live, watch
from openfsar.timeline.scan import Timeline, timeline
from openfsar.timeline.segments import Rules, Segment

__all__ = ["Live", "Namer", "Rules", "Segment", "Timeline", "timeline", "watch"]
