#!/usr/bin/env python3
"""Peak memory of one peer for several shapes, beside what `murmur run` estimates before it starts.

usage: measure.py target/release/murmur target/release/examples/memory
"""

import json
import subprocess
import sys
import tempfile

SHAPES = {
    "default": [],
    "width 512": ["model.d_model=512", "model.heads=8"],
    "12 layers": ["model.layers=12", "model.d_model=256"],
    "batch 32 x 512": ["train.batch=32", "model.context=512", "train.steps=2"],
    "width 1024, 6 layers": ["model.layers=6", "model.d_model=1024", "model.heads=16", "train.steps=2", "compress.top=64"],
    "batch 64, class profile": ["train.batch=64", "train.steps=2", "numeric=class"],
}


def peak(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return [int(lines[key].split()[0]) / 1024 for key in ("VmHWM", "VmPeak")]
    except (OSError, KeyError, ValueError):
        return None


def measure(program, sets):
    with tempfile.TemporaryDirectory() as folder:
        arguments = [program, "run", "--json", "--local", "1", "--seconds", "20", "--tokens", "1G"]
        arguments += ["--state-dir", f"{folder}/run"]
        for setting in sets:
            arguments += ["--set", setting]
        run = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        most, pid, text = [0, 0], None, 0
        for line in run.stdout:
            found = json.loads(line)
            if found["schema"] == "murmur.started/1":
                pid = found["peers"][0]["pid"]
                text = found["peers"][0]["train_bytes"] + found["peers"][0]["validation_bytes"]
            if pid:
                most = peak(pid) or most
        return most, text


def estimate(example, text, sets):
    done = subprocess.run([example, str(text), *sets], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


print("| shape | resident, MiB | estimated | address space, MiB | estimated |")
print("|---|---|---|---|---|")
for name, sets in SHAPES.items():
    (resident, space), text = measure(sys.argv[1], sets)
    memory, address = estimate(sys.argv[2], text, sets)
    print(f"| {name} | {resident:.0f} | {memory} | {space:.0f} | {address} |", flush=True)
