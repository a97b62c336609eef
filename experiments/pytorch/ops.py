"""Compares operations of the exact profile with PyTorch's, one by one.

    python3 experiments/pytorch/ops.py errors [--seeds 5] [--only WORDS]
    python3 experiments/pytorch/ops.py times [--threads 1 2] [--turns 7] [--only WORDS]

`errors`: how far results and gradients of ours and of PyTorch's f32 are from PyTorch's f64 on the same inputs, one thread. Ends with
status 1 if any of ours is further at every seed, by its root mean square.

`times`: forward and backward in turns, so that a slow moment hits both; ratios above 1 mean that ours is faster.

Both print a table as they go, and one line of JSON. `--only` takes the operations whose names contain one of the words.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

from environment import example, in_environment, start

# One step of f32 next to 1, halved: the most that rounding once can be off, as a share of the number.
UNIT = 2.0**-24
# Seconds of a turn, and most calls in it.
TURN, CALLS = 0.1, 200


class Ours:
    """The Rust example, which computes when it is told to."""

    def __init__(self, threads, folder):
        binary = example("murmur-kernels", "ops", "MURMUR_OPS")
        self.process = start([binary, str(threads)], threads)
        self.given, self.made = Path(folder) / "in", Path(folder) / "out"

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def prepare(self, case, arrays, written):
        with self.given.open("wb") as file:
            for array in arrays:
                array.tofile(file)
        name, *dimensions = case.command
        if not self.ask("case", name, self.given, self.made if written else "-", *dimensions):
            sys.exit(f"{case.label}: our side gave up")

    def results(self):
        import numpy as np

        return np.fromfile(self.made, dtype=np.float32)

    def times(self, calls):
        return tuple(map(float, self.ask("time", calls)))

    def peak(self):
        return max(float(self.ask("peak", 300_000)[0]) for _ in range(5))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def numbers(case, arrays, dtype):
    """PyTorch's results, each flat and in our order of numbers, in f64."""
    results = case.finish(case.compute(case.prepare(arrays, dtype)))
    return [result.detach().reshape(-1).double() for result in results]


def distances(case, arrays, ours):
    """For each result: mean squared and largest error of ours and theirs, in units of the result's root mean square."""
    import torch

    ours.prepare(case, arrays, True)
    mine = torch.from_numpy(ours.results()).double()
    exact, theirs = (numbers(case, arrays, dtype) for dtype in (torch.float64, torch.float32))
    mine = mine.split([len(result) for result in exact])
    found = []
    for name, right, *both in zip(case.results, exact, mine, theirs, strict=True):
        size = math.sqrt(right.square().mean()) * UNIT
        errors = [(value - right).abs() / size for value in both]
        found.append((name, [float(e.square().mean()) for e in errors], [float(e.max()) for e in errors]))
    return found


def ratio(mine, theirs):
    if mine == theirs:
        return 1.0
    return mine / theirs if theirs else math.inf


def percent(share):
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def errors(cases, options):
    import numpy as np
    import torch

    torch.set_num_threads(1)
    metrics, further = {}, []
    print("| operation | result | RMS error, ours | PyTorch f32 | ratio (over seeds) | largest error, ours | PyTorch f32 | |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(1, folder)
        for case in cases:
            if not case.judged:
                continue
            seeds = [distances(case, case.inputs(np.random.default_rng(seed)), ours) for seed in range(options.seeds)]
            for results in zip(*seeds, strict=True):
                name = results[0][0]
                squares = [[squares[i] for _, squares, _ in results] for i in (0, 1)]
                rms = [math.sqrt(statistics.fmean(part)) for part in squares]
                most = [max(largest[i] for _, _, largest in results) for i in (0, 1)]
                each = [math.sqrt(ratio(a, b)) for a, b in zip(*squares, strict=True)]
                overall = ratio(*rms)
                verdict = "" if overall <= 1 else f"larger by {percent(overall - 1)}"
                if min(each) > 1:
                    further.append(f"{case.label} {name} {verdict}")
                elif verdict:
                    verdict += ", not at every seed"
                print(
                    f"| {case.label} | {name} | {rms[0]:.3f} | {rms[1]:.3f} | {overall:.3f} ({min(each):.3f}–{max(each):.3f})"
                    f" | {most[0]:.2f} | {most[1]:.2f} | {verdict} |",
                    flush=True,
                )
                metrics[f"error_ratio {case.label} {name}"] = {"value": round(overall, 4), "unit": "x"}
        ours.end()
    print(json.dumps({"schema": "murmur.bench/1", "suite": "pytorch-errors", "metrics": metrics}, ensure_ascii=False))
    if further:
        sys.exit("further from f64 than PyTorch's f32 at every seed:\n  " + "\n  ".join(further))


def repeated(case, tensors, calls):
    """Seconds of one of PyTorch's calls, by the wall and by all threads' clocks."""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        case.compute(tensors)
    return (time.perf_counter() - start) / calls, (time.process_time() - cpu) / calls


def in_turns(case, ours, turns):
    """Pairs of seconds (theirs, ours), by the wall and by all threads' clocks."""
    import numpy as np
    import torch

    arrays = case.inputs(np.random.default_rng(0))
    ours.prepare(case, arrays, False)
    tensors = case.prepare(arrays, torch.float32)
    repeated(case, tensors, 2), ours.times(2)
    calls = min(CALLS, max(1, round(TURN / repeated(case, tensors, 3)[0])))
    pairs = [(repeated(case, tensors, calls), ours.times(calls)) for _ in range(turns)]
    return [[(theirs[clock], mine[clock]) for theirs, mine in pairs] for clock in (0, 1)]


def times(cases, options):
    import torch

    metrics = {}
    print("| operation | threads | PyTorch, ms of processor time | ours | ratio by processor time | ratio by the wall (spread) | of the peak: PyTorch | ours |")
    print("|---|---|---|---|---|---|---|---|")
    for threads in options.threads:
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:
            ours = Ours(threads, folder)
            for case in cases:
                peak = ours.peak() if case.operations else math.nan
                walls, cpus = in_turns(case, ours, options.turns)
                their_ms, my_ms = (1e3 * statistics.median(pair[i] for pair in cpus) for i in (0, 1))
                by_wall, by_cpu = ([theirs / mine for theirs, mine in pairs] for pairs in (walls, cpus))
                wall, cpu = statistics.median(by_wall), statistics.median(by_cpu)
                shares = [f"{1e-4 * case.operations / ms / peak:.0f} %" if case.operations else "" for ms in (their_ms, my_ms)]
                print(
                    f"| {case.label} | {threads} | {their_ms:.3f} | {my_ms:.3f} | {cpu:.2f} | {wall:.2f} ({min(by_wall):.2f}–{max(by_wall):.2f})"
                    f" | {shares[0]} | {shares[1]} |",
                    flush=True,
                )
                for clock, value in (("cpu", cpu), ("wall", wall)):
                    metrics[f"{clock}_ratio_{threads}_threads {case.label}"] = {"value": round(value, 3), "unit": "x"}
            ours.end()
    print(json.dumps({"schema": "murmur.bench/1", "suite": "pytorch-ops", "metrics": metrics}, ensure_ascii=False))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["errors", "times"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[""])
    options = parser.parse_args()
    in_environment()
    from cases import CASES

    cases = [case for case in CASES if any(word in case.label for word in options.only)]
    (errors if options.what == "errors" else times)(cases, options)


if __name__ == "__main__":
    main()
