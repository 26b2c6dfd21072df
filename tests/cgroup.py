"""A control group with a memory limit, below this process' own group or at the top, in either version of cgroups."""
import contextlib
import os
import pathlib

import pytest


def mounts():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2":
            yield pathlib.Path(place), "", "memory.max"
        elif kind == "cgroup" and "memory" in options.split(","):
            yield pathlib.Path(place), "memory", "memory.limit_in_bytes"


def own_path(controller):
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.lstrip("/")
    return ""


def limited(folder, file, limit):
    """Makes the group. Raises an error if this machine does not let us."""
    folder.mkdir()
    try:
        (folder / file).write_text(str(limit))
        swap = folder / ("memory.swap.max" if file == "memory.max" else "memory.memsw.limit_in_bytes")
        with contextlib.suppress(OSError):  # It is not available everywhere; the limit holds without it.
            swap.write_text("0" if file == "memory.max" else str(limit))
    except OSError:
        folder.rmdir()
        raise


@contextlib.contextmanager
def memory_group(limit):
    """Returns the folder of a group that may use `limit` bytes. Skips the test if none can be made."""
    why = ["no cgroup file system is mounted"]
    for top, controller, file in mounts():
        for parent in (top / own_path(controller), top):
            folder = parent / f"altlas-test-{os.getpid()}"
            try:
                limited(folder, file, limit)
            except OSError as error:
                why.append(str(error))
                continue
            try:
                yield folder
            finally:
                folder.rmdir()
            return
    pytest.skip("no group with a limit of memory can be made: " + why[-1])


def peak_mib(folder):
    for name in ("memory.peak", "memory.max_usage_in_bytes"):
        with contextlib.suppress(OSError):
            return int((folder / name).read_text()) >> 20
    return 0
