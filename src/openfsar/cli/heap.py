"""How the memory of a command is handed out: what a tensor frees is kept for the next one.

A training step on a CPU frees and asks again for the same gigabytes. The C library of most Linux systems
gives blocks of that size back to the kernel at once, which then clears every page anew: a third of the time
of a step of M2-CLIP on ToyCLIP went there (docs/experiments.md). The peak of memory stays what it is.
"""

import ctypes
import gc
from platform import libc_ver

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of two parameters in glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Set it for this process and those it forks. Other C libraries are left as they are."""
    if libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_TRIM_THRESHOLD, -1)  # the end of the heap is never given back
    mallopt(_MMAP_MAX, 0)  # large blocks come from the heap too


def return_freed_memory() -> None:
    """Give back once what is kept and in nobody's use, between two jobs of one process."""
    gc.collect()
    if libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
