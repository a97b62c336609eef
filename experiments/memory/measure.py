#!/usr/bin/env python3
"""Peak memory of peers that train, audit, settle and write checkpoints, for several shapes, beside what `murmur run` estimates
before it starts.

usage: measure.py target/release/murmur target/release/examples/memory
"""

import json
import subprocess
import sys
import tempfile
import threading
import time

# Everything that a peer does now and then happens in a short run: each update is replayed by the other peer, and states are
# settled and written often.
BUSY = ["audit.rate=1", "audit.quorum=1", "train.steps=2", "eval.sequences=8"]

LONG = ["model.layers=1", "model.d_model=16", "model.context=4096", "train.batch=32", "train.steps=1"]
WIDE = ["model.d_model=1024", "model.heads=16", "train.steps=2", "compress.top=64", "audit.rate=0"]

# Peers, tokens between final frontiers and between checkpoints, settings.
SHAPES = {
    "default, 4 peers": (4, None, []),
    "default, busy": (2, "5k", BUSY),
    "width 512, busy": (2, "2k", [*BUSY, "model.d_model=512", "model.heads=8"]),
    "24 layers of 256, busy": (2, "8k", [*BUSY, "model.layers=24", "model.d_model=256", "train.batch=8"]),
    "width 1024, no audits": (1, "4k", WIDE),
    "batch 64 × 512": (1, None, ["train.batch=64", "model.context=512", "train.steps=1"]),
    "batch 4 × 2048": (1, None, ["train.batch=4", "model.context=2048", "train.steps=1"]),
    "batch 32 × 4096, 1 layer of 16": (1, None, LONG),
    "class, busy": (2, "20k", [*BUSY, "numeric=class"]),
    "class, batch 32 × 256": (1, None, ["numeric=class", "train.batch=32", "model.context=256", "train.steps=1"]),
    "class, batch 4 × 1024": (1, None, ["numeric=class", "train.batch=4", "model.context=1024", "train.steps=1"]),
}


def peak(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return [int(lines[key].split()[0]) / 1024 for key in ("VmHWM", "VmPeak")]
    except (OSError, KeyError, ValueError):
        return [0, 0]


def measure(program, peers, sets):
    with tempfile.TemporaryDirectory() as folder:
        arguments = [program, "run", "--json", "--local", str(peers), "--seconds", "20", "--state-dir", f"{folder}/run"]
        for setting in sets:
            arguments += ["--set", setting]
        run = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        most, pids, text = [0, 0], [], 0

        def look():
            while run.poll() is None:
                for pid in pids:
                    most[:] = map(max, most, peak(pid))
                time.sleep(0.05)

        looking = threading.Thread(target=look)
        looking.start()
        for line in run.stdout:
            found = json.loads(line)
            if found["schema"] == "murmur.started/1":
                pids = [peer["pid"] for peer in found["peers"]]
                text = found["peers"][0]["train_bytes"] + found["peers"][0]["validation_bytes"]
            if found["schema"] in ("murmur.summary/1", "murmur.error/1"):
                print(line, end="", file=sys.stderr)
        looking.join()
        return most, text


def estimate(example, text, sets):
    done = subprocess.run([example, str(text), *sets], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


def row(name, peers, every, sets):
    if every:
        sets = [*sets, f"finality.every={every}", f"checkpoint.every_tokens={every}", "run.tokens=8M"]
    found, text = measure(sys.argv[1], peers, sets)
    said = estimate(sys.argv[2], text, sets)
    pairs = (f"{found:.0f} | {said} | {100 * (said / found - 1):+.0f} %" for found, said in zip(found, said))
    return f"| {name} | {' | '.join(pairs)} |"


print("| shape | resident, MiB | estimated | | address space, MiB | estimated | |")
print("|---|---|---|---|---|---|---|")
for name, (peers, every, sets) in SHAPES.items():
    print(row(name, peers, every, sets), flush=True)
