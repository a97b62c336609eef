"""The operations that `ops.py` compares: inputs, PyTorch's way of computing each, and the order in which ours gives its results.

PyTorch gets each operation as a model written for it would call it: weights as `nn.Linear` stores them, images channels-last, one call
where it has one. Inputs are standard normal `f32`, the same for every type.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F


@dataclass
class Case:
    label: str
    # What the Rust example calls it, and its dimensions.
    command: list
    results: list[str]
    # Inputs in the Rust example's order, from a random generator.
    inputs: Any
    # Forward and backward: from what `prepare` makes of the inputs to the results.
    compute: Any
    # Not timed: (arrays, type) -> tensors.
    prepare: Any = field(default=lambda arrays, dtype: [leaf(a, dtype) for a in arrays])
    # Not timed: results -> in our order of numbers.
    finish: Any = field(default=lambda results: results)
    # Multiplications and additions, where they are what counts.
    operations: int = 0
    # Whether its errors are not those of another case.
    judged: bool = True


def leaf(array, dtype):
    return torch.from_numpy(array).to(dtype).requires_grad_()


def normal(*shapes):
    return lambda rng: [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def with_grad(forward):
    """Forward, then the gradients of all inputs but the last, which is the gradient of the result."""

    def compute(tensors):
        *inputs, grad = tensors
        out = forward(*inputs)
        return [out, *torch.autograd.grad(out, inputs, grad.detach())]

    return compute


def matmul(m, n, k, kind):
    flips = [kind[0] == "t", kind[1] == "t"]
    a, b = (k, m) if flips[0] else (m, k), (n, k) if flips[1] else (k, n)

    def prepare(arrays, dtype):
        return [*(torch.from_numpy(x).to(dtype) for x in arrays), torch.empty(m, n, dtype=dtype)]

    def compute(tensors):
        left, right, out = tensors
        torch.mm(left.t() if flips[0] else left, right.t() if flips[1] else right, out=out)
        return [out]

    command = ["matmul", m, n, k, *map(int, flips)]
    return Case(f"matmul {kind} {m}×{n}×{k}", command, ["product"], normal(a, b), compute, prepare, operations=2 * m * n * k)


def linear(m, k, n):
    def prepare(arrays, dtype):
        x, weight, bias, grad = arrays
        return [leaf(a, dtype) for a in (x, np.ascontiguousarray(weight.T), bias, grad)]

    def finish(results):
        out, x, weight, bias = results
        return [out, x, weight.t(), bias]

    names = ["out", "∂x", "∂weight", "∂bias"]
    inputs = normal((m, k), (k, n), (n,), (m, n))
    return Case(f"linear {m}×{k}→{n}", ["linear", m, k, n], names, inputs, with_grad(F.linear), prepare, finish, 6 * m * k * n)


def attention(batch, seq, heads, width):
    """From queries, keys and values as one layer makes them to what the next layer reads."""
    d = heads * width

    def forward(qkv):
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, seq, d)

    inputs = normal((batch, seq, 3, heads, width), (batch, seq, d))
    command = ["attention", batch, seq, heads, width]
    return Case(f"attention {batch}×{seq}, {heads}×{width}", command, ["out", "∂qkv"], inputs, with_grad(forward))


def attention_alone(batch, seq, heads, width):
    """The same for PyTorch's function alone, its factors laid out as it likes them best; ours still reads them side by side."""
    case = attention(batch, seq, heads, width)

    def prepare(arrays, dtype):
        qkv, grad = (torch.from_numpy(a).to(dtype) for a in arrays)
        factors = [part.contiguous().requires_grad_() for part in qkv.permute(2, 0, 3, 1, 4)]
        return [*factors, grad.view(batch, seq, heads, width).transpose(1, 2).contiguous()]

    def finish(results):
        out, *grads = results
        return [out.transpose(1, 2), torch.stack(grads).permute(1, 3, 0, 2, 4)]

    case.label = case.label.replace("attention", "attention alone")
    case.prepare, case.finish, case.judged = prepare, finish, False
    case.compute = with_grad(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    return case


def layer_norm(rows, d):
    inputs = normal((rows, d), (d,), (d,), (rows, d))
    forward = with_grad(lambda x, gain, bias: F.layer_norm(x, (d,), gain, bias, 1e-5))
    return Case(f"LayerNorm {rows}×{d}", ["layer_norm", rows, d], ["out", "∂x", "∂gain", "∂bias"], inputs, forward)


def rms_norm(rows, d):
    forward = with_grad(lambda x, gain: F.rms_norm(x, (d,), gain, 1e-5))
    inputs = normal((rows, d), (d,), (rows, d))
    return Case(f"RMSNorm {rows}×{d}", ["rms_norm", rows, d], ["out", "∂x", "∂gain"], inputs, forward)


def softmax(rows, width):
    def prepare(arrays, dtype):
        return [torch.from_numpy(arrays[0]).to(dtype)]

    inputs = normal((rows, width))
    return Case(f"softmax {rows}×{width}", ["softmax", rows, width], ["out"], inputs, lambda x: [F.softmax(x[0], -1)], prepare)


def pointwise(label, name, forward, count, shape):
    gradients = ["∂x"] if count == 1 else ["∂gate", "∂x"]
    command = [name, int(np.prod(shape))]
    return Case(f"{label} {shape[0]}×{shape[1]}", command, ["out", *gradients], normal(*[shape] * (count + 1)), with_grad(forward))


def rope(batch, seq, heads, width):
    """The two halves of a head turned against each other, as in the Llama models of the transformers library."""

    def prepare(arrays, dtype):
        rates = 1.0 / 10000.0 ** (torch.arange(0, width, 2, dtype=dtype) / width)
        angles = torch.outer(torch.arange(seq, dtype=dtype), rates)[:, None]
        return [*(leaf(a, dtype) for a in arrays), angles.cos(), angles.sin()]

    def compute(tensors):
        x, grad, cos, sin = tensors
        first, second = x.chunk(2, -1)
        out = torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
        return [out, *torch.autograd.grad(out, [x], grad.detach())]

    shape = (batch, seq, heads, width)
    label = f"RoPE {batch}×{seq}, {heads}×{width}"
    return Case(label, ["rope", *shape], ["out", "∂x"], normal(shape, shape), compute, prepare)


def tokens(rng, vocab, count):
    return rng.integers(0, min(vocab, 256), count).astype(np.float32)


def embedding(vocab, batch, seq, d):
    def inputs(rng):
        return [*normal((vocab, d), (seq, d), (batch, seq, d))(rng), tokens(rng, vocab, batch * seq)]

    def prepare(arrays, dtype):
        *floats, places = arrays
        return [*(leaf(a, dtype) for a in floats), torch.from_numpy(places).long().view(batch, seq)]

    def compute(tensors):
        table, positions, grad, places = tensors
        out = F.embedding(places, table) + positions
        return [out, *torch.autograd.grad(out, [table, positions], grad.detach())]

    label = f"embedding {vocab}, {batch}×{seq}×{d}"
    return Case(label, ["embedding", vocab, batch, seq, d], ["out", "∂table", "∂positions"], inputs, compute, prepare)


def cross_entropy(rows, width):
    def inputs(rng):
        return [*normal((rows, width))(rng), tokens(rng, width, rows)]

    def prepare(arrays, dtype):
        return [leaf(arrays[0], dtype), torch.from_numpy(arrays[1]).long()]

    def compute(tensors):
        scores, targets = tensors
        loss = F.cross_entropy(scores, targets)
        return [loss, *torch.autograd.grad(loss, [scores])]

    label = f"cross-entropy {rows}×{width}"
    return Case(label, ["cross_entropy", rows, width], ["loss", "∂scores"], inputs, compute, prepare)


def conv(batch, side, channels, filters, kernel, padding):
    def prepare(arrays, dtype):
        x, weight, grad = (torch.from_numpy(a).to(dtype) for a in arrays)
        weight = weight.view(kernel, kernel, channels, filters).permute(3, 2, 0, 1)
        kept = torch.channels_last
        factors = [t.contiguous(memory_format=kept).requires_grad_() for t in (x.permute(0, 3, 1, 2), weight)]
        return [*factors, grad.permute(0, 3, 1, 2).contiguous(memory_format=kept)]

    def finish(results):
        out, x, weight = results
        return [out.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1), weight.permute(2, 3, 1, 0)]

    after = side + 2 * padding - kernel + 1
    inputs = normal((batch, side, side, channels), (kernel * kernel * channels, filters), (batch, after, after, filters))
    forward = with_grad(lambda x, weight: F.conv2d(x, weight, padding=padding))
    operations = 6 * batch * after * after * filters * kernel * kernel * channels
    command = ["conv", batch, side, channels, filters, kernel, padding]
    label = f"conv {batch}×{side}×{side}×{channels}, {kernel}×{kernel}→{filters}"
    return Case(label, command, ["out", "∂x", "∂weight"], inputs, forward, prepare, finish, operations)


def adamw(count, kind, clipped):
    """The step after the ninth. PyTorch's fused step, or its plain one; the reference in `f64` is the plain one."""

    def inputs(rng):
        params, m, v, grad = normal(*[(count,)] * 4)(rng)
        return [params, m * np.float32(0.1), np.square(v), grad]

    def prepare(arrays, dtype):
        params, m, v, grad = (torch.from_numpy(a.copy()).to(dtype) for a in arrays)
        params.grad = grad
        kinds = {"fused": kind == "fused" and dtype == torch.float32}
        optimizer = torch.optim.AdamW([params], lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, **kinds)
        optimizer.state[params] = {"step": torch.tensor(9.0), "exp_avg": m, "exp_avg_sq": v}
        return [params, m, v, optimizer]

    def compute(tensors):
        *results, optimizer = tensors
        if clipped:
            torch.nn.utils.clip_grad_norm_([results[0]], 1.0)
        optimizer.step()
        return results

    label = f"{'clip, ' if clipped else ''}AdamW {kind} {count}"
    command = ["clip_adamw" if clipped else "adamw", count, 9]
    return Case(label, command, ["parameters", "m", "v"], inputs, compute, prepare)


def norm(count):
    def compute(tensors):
        return [torch.linalg.vector_norm(tensors[0])]

    def prepare(arrays, dtype):
        return [torch.from_numpy(arrays[0]).to(dtype)]

    return Case(f"norm {count}", ["norm", count], ["norm"], normal((count,)), compute, prepare)


# As many parameters as the model of `step.py` has, about.
PARAMETERS = 3_200_000

KINDS = ("nn", "nt", "tn")
STEP_PRODUCTS = [(2048, 256, 256), (2048, 768, 256), (2048, 1024, 256), (2048, 256, 1024), (2048, 96, 256), (256, 1024, 2048)]
HEADS = [(16, 128, 4, 64), (4, 1024, 4, 64)]

CASES = [
    *(matmul(n, n, n, kind) for n in (256, 512, 1024, 2048) for kind in KINDS),
    *(matmul(*shape, kind) for shape in STEP_PRODUCTS for kind in KINDS),
    *(linear(2048, k, n) for k, n in ((256, 768), (256, 256), (256, 1024), (1024, 256), (256, 96))),
    *(attention(*shape) for shape in HEADS),
    *(attention_alone(*shape) for shape in HEADS),
    layer_norm(2048, 256),
    layer_norm(2048, 1024),
    rms_norm(2048, 256),
    softmax(2048, 128),
    softmax(2048, 1024),
    pointwise("GELU", "gelu", lambda x: F.gelu(x, approximate="tanh"), 1, (2048, 1024)),
    pointwise("SiLU", "silu", F.silu, 1, (2048, 1024)),
    pointwise("SwiGLU", "swiglu", lambda gate, x: F.silu(gate) * x, 2, (2048, 1024)),
    rope(16, 128, 4, 64),
    rope(4, 1024, 4, 64),
    embedding(96, 16, 128, 256),
    embedding(256, 16, 128, 256),
    cross_entropy(2048, 96),
    cross_entropy(2048, 32000),
    conv(16, 32, 64, 64, 3, 1),
    *(adamw(PARAMETERS, kind, clipped) for kind in ("fused", "plain") for clipped in (False, True)),
    norm(PARAMETERS),
]
