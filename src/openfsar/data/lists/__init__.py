"""Lists of benchmark videos as other code bases and the data sets themselves publish them."""

from openfsar.data.lists.choosing import choose_lists
from openfsar.data.lists.formats import (
    FORMATS,
    Fault,
    Format,
    ListedVideo,
    ListError,
    VideoList,
    read_list,
)
from openfsar.data.lists.known import Finding
from openfsar.data.lists.selection import SelectedVideo, Selection, select

__all__ = [
    "FORMATS",
    "Fault",
    "Finding",
    "Format",
    "ListError",
    "ListedVideo",
    "SelectedVideo",
    "Selection",
    "VideoList",
    "choose_lists",
    "read_list",
    "select",
]
