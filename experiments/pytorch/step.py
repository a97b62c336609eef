"""Times PyTorch's f32 eager training step and ours in turns, on the same shapes, so that a slow moment hits both.

    python3 experiments/pytorch/step.py [--threads 1 2] [--turns 7] [--steps 1]

The first call makes a virtual environment under the cargo target folder and installs torch from PyPI. Prints a line for each
number of threads: median seconds of a step for both, and the median ratio of neighbouring turns (above 1: ours is faster).
"""

import argparse
import json
import statistics
import sys
import time

from environment import example, in_environment, start

SHAPE = {"vocab": 96, "context": 128, "d_model": 256, "layers": 4, "heads": 4, "batch": 16}


def torch_step(threads):
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    v, t, d, layers, heads, b = (SHAPE[k] for k in ("vocab", "context", "d_model", "layers", "heads", "batch"))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.LayerNorm(d), nn.LayerNorm(d)
            self.qkv, self.output = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

        def forward(self, x):
            q, k, w = self.qkv(self.first(x)).view(b, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, w, is_causal=True)
            x = x + self.output(mixed.transpose(1, 2).reshape(b, t, d))
            return x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh"))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.position = nn.Embedding(v, d), nn.Embedding(t, d)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, v, bias=False)

        def forward(self, x):
            x = self.token(x) + self.position.weight[:t]
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    tokens = torch.tensor([(i * i + 7 * i) % 256 % v for i in range(b * t + 1)])
    x, y = tokens[:-1].view(b, t), tokens[1:]

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x).view(-1, v), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def ours(threads):
    """A process that steps when it is told to."""
    binary = example("murmur-model", "turns", "MURMUR_TURNS")
    words = [str(SHAPE[k]) for k in ("vocab", "context", "d_model", "layers", "heads", "batch")] + [str(threads)]
    process = start([binary, *words], threads)

    def steps(count):
        process.stdin.write(f"{count}\n")
        process.stdin.flush()
        wall, cpu, loss = map(float, process.stdout.readline().split())
        return wall, cpu, loss

    return steps


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1)
    options = parser.parse_args()
    in_environment()
    metrics = {}
    for threads in options.threads:
        theirs, mine = torch_step(threads), ours(threads)
        theirs(), mine(1)
        walls, cpus = [], []
        for _ in range(options.turns):
            start, cpu = time.perf_counter(), time.process_time()
            for _ in range(options.steps):
                theirs()
            their_wall, their_cpu = time.perf_counter() - start, time.process_time() - cpu
            wall, cpu, _ = mine(options.steps)
            walls.append((their_wall / options.steps, wall))
            cpus.append((their_cpu / options.steps, max(cpu, 0.01)))
        name = f"{threads}_threads"
        for kind, pairs in (("wall", walls), ("cpu", cpus)):
            them, us = (statistics.median(p[i] for p in pairs) for i in (0, 1))
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"{threads} thread(s), {kind}: PyTorch {them:.3f} s, ours {us:.3f} s, ratio {ratio:.2f}", file=sys.stderr)
            metrics[f"step_{kind}_ratio_{name}"] = {"value": round(ratio, 3), "unit": "x"}
    print(json.dumps({"schema": "murmur.bench/1", "suite": "pytorch-step", "metrics": metrics}))


main()
