"""Runs `murmur estimate` and then the run that it is of, and prints how far they are apart, a row each.

    python3 experiments/estimate/measure.py target/release/murmur 300k [key=value …]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time


def last(text, schema):
    objects = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [o for o in objects if o["schema"] == schema][-1]


def peaks(parent, found, stop):
    """The highest resident memory of each child of `parent`, in bytes."""
    while not stop.is_set():
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(l.split(":", 1) for l in status.read_text().splitlines() if ":" in l)
            except OSError:
                continue
            if lines.get("PPid", "").strip() == str(parent) and "VmHWM" in lines:
                found[status.parent.name] = int(lines["VmHWM"].split()[0]) * 1024
        time.sleep(0.1)


def main():
    program, tokens, *sets = sys.argv[1:]
    given = [word for pair in sets for word in ("--set", pair)]
    asked = [program, "estimate", "--tokens", tokens, "--json", *given]
    said = last(subprocess.run(asked, capture_output=True, text=True, check=True).stdout, "murmur.estimate/1")
    with tempfile.TemporaryDirectory() as folder:
        run = [program, "run", "--tokens", tokens, "--json", "--state-dir", f"{folder}/run", *given]
        child = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        found, stop = {}, threading.Event()
        watcher = threading.Thread(target=peaks, args=(child.pid, found, stop))
        watcher.start()
        out = child.communicate()[0]
        stop.set()
        watcher.join()
    was = last(out, "murmur.summary/1")
    peers, bits = said["peers"], was["payload_bits_per_param"]
    sent = [row["bytes_sent"] for row in was["per_peer"]]
    received = [row["bytes_received"] for row in was["per_peer"]]
    rows = [
        ("memory of a peer, MiB, the largest", said["memory"]["peer_bytes"] / 2**20, max(found.values()) / 2**20),
        ("payload, kB", said["payload_bytes"] / 1e3, bits * said["parameters"] / 8e3),
        ("sent by a peer, MB", said["peer_up_bytes"] / 1e6, sum(sent) / peers / 1e6),
        ("received by a peer, MB", said["peer_down_bytes"] / 1e6, sum(received) / peers / 1e6),
        ("tokens a second, swarm", said["swarm_tokens_per_second"], was["tokens"] / was["seconds"]),
        ("seconds", said["training_seconds"], was["seconds"]),
    ]
    print(f"tokens {was['tokens']}, updates {was['updates']}, audits {was['audits']['passed']}, "
          f"inner steps {said['step_share']:.2f} of the time")
    print("| what | estimated | was | |\n|---|---|---|---|")
    for what, estimated, measured in rows:
        print(f"| {what} | {estimated:.4g} | {measured:.4g} | {100 * (estimated / measured - 1):+.0f} % |")


main()
