"""Clocks, CPU seconds and memory of processes, from the kernel's own books."""

import contextlib
import ctypes
import dataclasses
import os
import pathlib
import time

TICKS = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass
class Sample:
    """One operation. Seconds and MB; a field that was not measured is None."""

    visible: float = None  # until the client said that it was done
    durable: float = None  # until a sync after that was done, from the same start
    cpu: float = None      # user + system of the daemon, its children and the client
    peak: float = None     # VmHWM of the daemon's processes, summed
    wrong_bytes: int = None  # blobs whose bytes served were not their size


def tree(pid):
    """`pid` and its living descendants."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


def cpu_seconds(pids):
    """User and system time that `pids` and the children they waited for have used (10 ms steps)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / TICKS


def memory_mb(pids, field):
    """The sum of a field of /proc/<pid>/status: VmHWM, VmRSS, RssAnon."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1])
    return total / 1024


def reset_peak(pids):
    for pid in pids:
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def sync_file_system(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if LIBC.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(path))
    finally:
        os.close(fd)


def chill(*folders):
    """Nothing dirty, nothing cached: of the whole machine, or where that is not allowed, of the
    files below `folders`."""
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        for path in (p for folder in folders for p in pathlib.Path(folder).rglob("*") if p.is_file()):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def spawn(command, **options):
    """Runs `command` to its end: (seconds, CPU seconds of it and its children). Output is shown only
    when it fails."""
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2)]
    command = [str(word) for word in command]
    start = time.monotonic()
    pid = os.posix_spawnp(command[0], command, options.get("env", os.environ), file_actions=actions)
    os.close(write)
    os.close(null)
    output = b""
    with os.fdopen(read, "rb") as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    if status != 0:
        raise RuntimeError(f"{' '.join(command)}: status {os.waitstatus_to_exitcode(status)}\n"
                           + output.decode(errors="replace")[-2000:])
    return seconds, usage.ru_utime + usage.ru_stime
