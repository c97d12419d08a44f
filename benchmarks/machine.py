"""The ceilings of the machine that a benchmark runs on, measured in the same process."""

import platform
import resource
import sys
import time

import torch


def name_of(device: str, threads: int) -> str:
    """What stands in a title."""
    return torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {threads} threads"


def settle(device: str) -> None:
    """Wait for the device to finish."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: str) -> int:
    """Bytes, since the process began."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def copy_rate(device: str) -> float:
    """Bytes per second that a copy of a gigabyte reads and writes."""
    a = torch.zeros(2**28, device=device)
    b = torch.empty_like(a)
    times = []
    for _ in range(5):
        settle(device)
        start = time.perf_counter()
        b.copy_(a)
        settle(device)
        times.append(time.perf_counter() - start)
    return 2 * a.nbytes / min(times)


def matrix_peak(device: str, dtype: torch.dtype) -> float:
    """Floating point operations per second of the fastest product of two matrices.

    They grow until a product takes a tenth of a second: a CPU without bf16 needs minutes for large ones.
    """
    best = 0.0
    for side in (256, 512, 1024, 2048, 4096, 8192):
        a, b, c = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(3))
        times = []
        for _ in range(5):
            settle(device)
            start = time.perf_counter()
            torch.mm(a, b, out=c)
            settle(device)
            times.append(time.perf_counter() - start)
        best = max(best, 2 * side**3 / min(times))
        if min(times) > 0.1:
            break
    return best
