"""A lab tool that holds its sockets while a script kills and moves things around it: commands come as lines on standard input,
checks leave as lines, and `.done FAILED` ends the answer. lib/pair.sh has the other end (`traffic`).
"""

import sys

from labnet import Report


def serve(handlers):
    """Calls handlers[first word](report, *other words) for each line until standard input ends."""
    for line in sys.stdin:
        name, *words = line.split()
        report = Report()
        handlers[name](report, *words)
        print(f".done {report.failed}", flush=True)
