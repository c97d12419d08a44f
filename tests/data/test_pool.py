import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openfsar.data.pool import Crash, in_parallel


def square(number: int) -> int:
    if number == 13:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * number


def complain(number: int) -> int:
    raise ValueError(f"no {number}")


def run(function, items, workers):
    return in_parallel(function, items, workers=workers, title="", progress=False)


def test_without_processes_the_outcomes_come_in_order():
    assert list(run(square, [3, 1, 2], 0)) == [(3, 9), (1, 1), (2, 4)]


def test_nothing_to_do_starts_no_process():
    assert list(run(square, [], 2)) == []


@pytest.mark.slow
def test_a_crash_costs_only_the_item_that_caused_it():
    outcomes = dict(run(square, range(30), 2))
    assert isinstance(outcomes.pop(13), Crash)
    assert outcomes == {number: number * number for number in range(30) if number != 13}


@pytest.mark.slow
def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(ValueError, match="no 1"):
        list(run(complain, [1], 1))


WITHOUT_GUARD = """
from openfsar.data.pool import in_parallel
print(list(in_parallel(abs, [1], workers=1, title="", progress=False)))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    (tmp_path / "script.py").write_text(WITHOUT_GUARD)
    run = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True)
    assert run.returncode == 1
    assert "under `if __name__ == '__main__':`" in run.stderr.splitlines()[-1]


SLEEPER = """
import os, sys, time
from pathlib import Path
from openfsar.data.pool import in_parallel
def sleep(file):
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)
if __name__ == "__main__":
    list(in_parallel(sleep, [sys.argv[1]], workers=1, title="", progress=False))
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "script.py").write_text(SLEEPER)
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", tmp_path / "pid"])
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    worker = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(worker))


def wait_until(condition) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{process}/status").read_text()
