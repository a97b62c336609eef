"""All peers of one machine, started by one call."""

import signal
import subprocess
import sys
import time


def start_all(count, *more):
    """This script once for each rank, instead of `--local N`. When one fails, or this one is told to end, all end."""
    words = list(sys.argv)
    at = words.index("--local")
    del words[at : at + 2]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = []
    try:
        for rank in range(count):
            started.append(subprocess.Popen([sys.executable, *words, *more, "--rank", str(rank), "--peers", str(count)]))
        while any(process.poll() is None for process in started):
            if any(process.returncode for process in started):
                return 1
            time.sleep(0.1)
        return max(process.returncode != 0 for process in started)
    finally:
        for process in started:
            process.terminate()
