#!/usr/bin/python3
"""Makes one thread of a process stand still, as one that waits for a dead device does, while the others go on: freeze_thread.py TID.
It goes on when this tool ends. A stop signal would stop them all; a tracer stops one."""

import ctypes
import os
import signal
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000


def ptrace(request, tid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    if libc.ptrace(request, tid, 0, 0) != 0:
        sys.exit(f"ptrace of {tid}: {os.strerror(ctypes.get_errno())}")


tid = int(sys.argv[1])
# Whoever is traced goes on when its tracer is gone, however that ends.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ptrace(PTRACE_SEIZE, tid)
ptrace(PTRACE_INTERRUPT, tid)
os.waitpid(tid, WALL)
print("stands still", flush=True)
while True:
    signal.pause()
