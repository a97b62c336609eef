"""Compares our kernels on an NVIDIA GPU with PyTorch's eager ones, on the same shapes, in f32.

    python3 experiments/pytorch/gpu.py [--backend cuda|wgpu] [--only WORDS]

Needs an NVIDIA GPU with its driver, and cargo; says what is missing otherwise, with status 2. MURMUR_GPU_SPEEDS names the built example
`speeds` of murmur-gpu, if there is one; MURMUR_TORCH=here uses the PyTorch of this interpreter instead of making an environment.

Both sides are timed alike: enough calls to fill a fiftieth of a second, one after the other, then one wait; the median of seven turns after
a warm-up. TF32 is off. Ratios above 1 mean that ours is faster. Shares are of two ceilings measured in the same run: a copy within the
device (bytes read and written), and PyTorch's largest product of the list or of 8192 squared, whichever is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from environment import ROOT, in_environment, target

TURNS, TURN_SECONDS, CALLS_MAX = 7, 0.02, 2000


def binary(backend):
    variable = "MURMUR_GPU_SPEEDS"
    if variable in os.environ:
        return os.environ[variable]
    command = ["cargo", "build", "--release", "-q", "-p", "murmur-gpu", "--features", backend, "--example", "speeds"]
    subprocess.run(command, cwd=ROOT, check=True)
    return target() / "release" / "examples" / "speeds"


def microseconds(work):
    """The median time of a call, as the example times its own."""
    import torch

    def turn(calls):
        begun = time.perf_counter()
        for _ in range(calls):
            work()
        torch.cuda.synchronize()
        return (time.perf_counter() - begun) / calls

    turn(1)
    calls = min(CALLS_MAX, max(1, int(TURN_SECONDS / turn(3))))
    return 1e6 * statistics.median(turn(calls) for _ in range(TURNS))


def numbers(*shape):
    import torch

    return torch.rand(*shape, device="cuda") * 2 - 1


def matmul(form, shape):
    import torch

    m, n, k = map(int, shape.split("x"))
    a = numbers(k, m).t() if form == "tn" else numbers(m, k)
    b = numbers(n, k).t() if form == "nt" else numbers(k, n)
    out = numbers(m, n)
    return lambda: torch.mm(a, b, out=out)


def attention(way, shape):
    from torch.nn.functional import scaled_dot_product_attention

    batch, seq, heads, width = map(int, shape.split("x"))
    qkv = numbers(batch, seq, 3, heads, width).requires_grad_(way == "backward")

    def forward():
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).contiguous()

    return forward if way == "forward" else backward(forward(), qkv)


def backward(result, *inputs):
    import torch

    grad = numbers(*result.shape)
    return lambda: torch.autograd.grad(result, inputs, grad, retain_graph=True)


def layer_norm(way, shape):
    from torch.nn.functional import layer_norm as norm

    rows, d = map(int, shape.split("x"))
    x, gain, bias = (part.requires_grad_(way == "backward") for part in (numbers(rows, d), numbers(d), numbers(d)))

    def forward():
        return norm(x, (d,), gain, bias)

    return forward if way == "forward" else backward(forward(), x, gain, bias)


def softmax(shape):
    x = numbers(*map(int, shape.split("x")))
    return lambda: x.softmax(1)


def cross_entropy(shape):
    import torch

    rows, width = map(int, shape.split("x"))
    scores, targets = numbers(rows, width).requires_grad_(), torch.full((rows,), 7, device="cuda")

    def work():
        loss = torch.nn.functional.cross_entropy(scores, targets)
        torch.autograd.grad(loss, scores)
        # Ours says what the loss is, too.
        return loss.item()

    return work


def gelu(way, count):
    from torch.nn.functional import gelu as f

    x = numbers(int(count)).requires_grad_(way == "backward")

    def forward():
        return f(x, approximate="tanh")

    return forward if way == "forward" else backward(forward(), x)


def adamw(count):
    import torch

    x = torch.nn.Parameter(numbers(int(count)))
    x.grad = numbers(int(count))
    return torch.optim.AdamW([x], lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True).step


def norm(count):
    x = numbers(int(count))
    return lambda: x.norm().item()


def theirs(name):
    """PyTorch's side of what the example calls `name`, if it has one."""
    *words, shape = name.split()
    way = "backward" if words[-1] == "backward" else "forward"
    match words:
        case ["matmul", form]:
            return matmul(form, shape)
        case ["attention", _]:
            return attention(way, shape)
        case ["layer", "norm", *_]:
            return layer_norm(way, shape)
        case ["softmax"]:
            return softmax(shape)
        case ["cross-entropy"]:
            return cross_entropy(shape)
        case ["gelu", *_]:
            return gelu(way, shape)
        case ["adamw"]:
            return adamw(shape)
        case ["norm", *_]:
            return norm(shape)
        case _:
            return None


def ceilings():
    """Bytes a second of a copy, and operations a second of a large product."""
    import torch

    source = numbers(1 << 28)
    copy = torch.empty_like(source)
    moved = 2 * 4 * source.numel() / microseconds(lambda: copy.copy_(source)) * 1e6
    del source, copy
    side = 8192
    product = 2 * side**3 / microseconds(matmul("nn", f"{side}x{side}x{side}")) * 1e6
    return moved, product


def lines(options):
    """What the example prints, line by line."""
    command = [binary(options.backend), options.backend, *options.only]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield from map(json.loads, process.stdout)
    if process.returncode:
        sys.exit(f"the example ended with status {process.returncode}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=["cuda", "wgpu"], default="cuda")
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    if os.environ.get("MURMUR_TORCH") != "here":
        in_environment()
    import torch

    if not torch.cuda.is_available():
        print("no NVIDIA GPU that PyTorch can use here: nothing to compare. It needs the GPU, its driver, and a PyTorch built for CUDA.")
        sys.exit(2)
    torch.backends.cuda.matmul.allow_tf32 = False
    # Ours first, so that the two never share the device.
    device, *rows = lines(options)
    moved, product = ceilings()
    found = []
    for row in rows:
        work = theirs(row["name"])
        found.append((row, work and microseconds(work)))
    fastest = [row["amount"] / us * 1e6 for row, us in found if us and row["name"].startswith("matmul")]
    product = max(product, *fastest, 0)
    print(f"{device['device']} ({device['backend']}); PyTorch {torch.__version__} on {torch.cuda.get_device_name()}")
    print(f"copy within the device {moved / 1e9:.0f} GB/s, product {product / 1e12:.1f} TFLOP/s\n")
    print("| operation | ours, µs | PyTorch, µs | ratio | of the ceiling: ours | PyTorch |\n|---|---|---|---|---|---|")
    metrics = {}
    for row, us in found:
        name, arithmetic = row["name"], row["name"].startswith(("matmul", "attention"))
        share = lambda us: f"{100e6 * row['amount'] / us / (product if arithmetic else moved):.0f} %" if us else ""  # noqa: E731
        ratio = us / row["us"] if us else None
        print(f"| {name} | {row['us']:.1f} | {us and f'{us:.1f}' or ''} | {ratio and f'{ratio:.2f}' or ''} | {share(row['us'])} | {share(us)} |")
        if ratio:
            metrics[f"ratio {name}"] = {"value": round(ratio, 3), "unit": "x"}
    print(json.dumps({"schema": "murmur.bench/1", "suite": "pytorch-gpu", "metrics": metrics}))


if __name__ == "__main__":
    main()
