"""Counts calls of the C library's allocators by uprobes: of processes that run, without a word to them.

The kernel counts (perf_event_open), so the count is exact; each call also traps, which slows the program meanwhile.
"""
import ctypes
import os
import platform
import struct

from common import BenchError, run
import procs

FUNCTIONS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc"}
SYSCALL = {"x86_64": 298, "aarch64": 241}
ATTRIBUTE_BYTES, CLOSE_ON_EXEC = 128, 8
TYPE = "/sys/bus/event_source/devices/uprobe/type"


class Counter:
    """`with Counter(pids) as counter:`, then `counter.total`. Threads started meanwhile aren't counted."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        self.descriptors = []
        try:
            kind = probe_type()
            for library, process in sorted({(library_of(pid), pid) for pid in self.pids}):
                for offset in offsets(library):
                    self.descriptors += [opened(kind, library, offset, task) for task in procs.tasks(process)]
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.total = sum(struct.unpack("<Q", os.read(descriptor, 8))[0] for descriptor in self.descriptors)
        self.close()

    def close(self):
        for descriptor in self.descriptors:
            os.close(descriptor)


def probe_type():
    try:
        with open(TYPE) as number:
            return int(number.read())
    except OSError:
        raise BenchError("this kernel has no uprobes (CONFIG_UPROBE_EVENTS): allocations can't be counted") from None


def library_of(pid):
    """The C library that a process has mapped."""
    with open(f"/proc/{pid}/maps") as lines:
        for line in lines:
            path = line.split(maxsplit=5)[-1].strip()
            if os.path.basename(path).startswith(("libc.so", "libc-")):
                return path
    raise BenchError(f"process {pid} has no shared C library: its allocations can't be counted")


def offsets(library):
    """In the file, of each function once: some have two names."""
    segments = [line.split() for line in run(["readelf", "-lW", library]).splitlines()]
    segments = [[int(field, 16) for field in line[1:6]]
                for line in segments if line and line[0] == "LOAD"]
    found = set()
    for line in run(["readelf", "-W", "--dyn-syms", library]).splitlines():
        fields = line.split()
        if len(fields) > 7 and fields[3] == "FUNC" and fields[7].split("@")[0] in FUNCTIONS:
            address = int(fields[1], 16)
            start, at = next((s[0], s[1]) for s in segments if s[1] <= address < s[1] + s[4])
            found.add(address - at + start)
    return found


def opened(kind, library, offset, task):
    """A descriptor that counts this thread's passes over this place."""
    path = ctypes.create_string_buffer(library.encode())
    attribute = bytearray(ATTRIBUTE_BYTES)
    struct.pack_into("<II", attribute, 0, kind, ATTRIBUTE_BYTES)
    struct.pack_into("<QQ", attribute, 56, ctypes.addressof(path), offset)
    number = SYSCALL.get(platform.machine())
    if number is None:
        raise BenchError(f"the number of perf_event_open on {platform.machine()} isn't known here")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * ATTRIBUTE_BYTES).from_buffer(attribute)
    descriptor = libc.syscall(number, buffer, task, -1, -1, CLOSE_ON_EXEC)
    if descriptor < 0:
        raise BenchError(f"a uprobe at {library}+{offset:#x}: {os.strerror(ctypes.get_errno())}")
    return descriptor
