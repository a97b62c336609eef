"""Our model, our optimizers and our schedule in PyTorch, written from what `trainer/model` and `kernels` say of them."""

import math

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F


def tensors(path, dtype=torch.float32):
    """All tensors of a file by name, and its metadata."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).to(dtype) for name in file.keys()}, file.metadata() or {}


class Gpt(nn.Module):
    """Pre-LayerNorm blocks, learned positions, GELU by tanh, an untied head. Matrices are `[inputs, outputs]`."""

    def __init__(self, index, start):
        super().__init__()
        self.shape = index["model"]
        # A parameter's name may hold no dot.
        self.weights = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(value.clone()) for name, value in start.items()})

    def named(self):
        return {name.replace("/", "."): value for name, value in self.weights.items()}

    def forward(self, tokens):
        """Scores of the byte after each: `[batch, seq]` to `[batch, seq, vocabulary]`."""
        w = self.named()
        batch, seq = tokens.shape
        d, heads = self.shape["d_model"], self.shape["heads"]

        def norm(x, name):
            return F.layer_norm(x, (d,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

        def linear(x, name):
            return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

        x = F.embedding(tokens, w["embedding.token.weight"]) + w["embedding.position.weight"][:seq]
        for block in (f"blocks.{number}" for number in range(self.shape["layers"])):
            qkv = linear(norm(x, f"{block}.attention.norm"), f"{block}.attention.qkv")
            q, k, v = qkv.view(batch, seq, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, seq, d)
            x = x + linear(mixed, f"{block}.attention.output")
            up = F.gelu(linear(norm(x, f"{block}.mlp.norm"), f"{block}.mlp.up"), approximate="tanh")
            x = x + linear(up, f"{block}.mlp.down")
        return norm(x, "norm") @ w["head.weight"]


def loss_of(scores, rows):
    """Mean cross-entropy in nats per byte of scores for sequences whose last byte is only predicted."""
    return F.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten())


def rows_of(path, index):
    """All sequences of a file, `[sequences, context + 1]`."""
    return torch.from_numpy(np.fromfile(path, np.uint8).astype(np.int64)).view(-1, index["model"]["context"] + 1)


@torch.no_grad()
def validation_loss(model, rows, size):
    """Mean over batches of so many sequences."""
    losses = [loss_of(model(batch[:, :-1]), batch).item() for batch in rows.split(size)]
    return sum(losses) / len(losses)


def orthogonal(update, polynomials):
    """The orthogonal matrix nearest to `update`, nearly: odd polynomials of it, scaled to norm one."""
    flipped = update.shape[0] > update.shape[1]
    x = update.t() if flipped else update
    x = x / (x.norm() + 1e-12)
    for a, b, c in polynomials:
        gram = x @ x.t()
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.t() if flipped else x


class Optimizer:
    """Muon for hidden matrices and AdamW for the rest, or AdamW for all: as `train.optimizer` says."""

    def __init__(self, index, model, kind, lr=None, muon_lr=None):
        self.index, self.model, self.steps = index, model, 0
        self.muon_lr = muon_lr or index["muon_lr"]
        self.lr = lr or index["lr"]
        told, named = index["tensors"], model.named()
        self.hidden = [p for name, p in named.items() if kind == "muon" and told[name]["hidden_matrix"]]
        rest = [(name, p) for name, p in named.items() if not (kind == "muon" and told[name]["hidden_matrix"])]
        # Under Muon nothing else decays.
        decays = [p for name, p in rest if kind == "adamw" and told[name]["decays"]]
        stays = [p for name, p in rest if not (kind == "adamw" and told[name]["decays"])]
        groups = [{"params": decays, "weight_decay": index["weight_decay"]}, {"params": stays, "weight_decay": 0.0}]
        betas = (index["beta1"], index["beta2"])
        self.adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=self.lr, betas=betas, eps=index["epsilon"])
        self.momentum = [torch.zeros_like(p) for p in self.hidden]

    def schedule(self, clock, budget):
        """The share of the peak learning rate after so many tokens."""
        warm = min(clock / max(self.index["warmup_tokens"], 1), 1.0)
        last, done = self.index["lr_final_fraction"], min(clock / max(budget, 1), 1.0)
        rewarm = min((self.steps + 1) / max(self.index["rewarm_steps"], 1), 1.0)
        return rewarm * warm * (last + (1 - last) * (1 + math.cos(math.pi * done)) / 2)

    @torch.no_grad()
    def step(self, share):
        """One step at this share of the peak learning rates, the gradient's norm clipped."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.index["clip_norm"])
        self.steps += 1
        for group in self.adamw.param_groups:
            group["lr"] = self.lr * share
        self.adamw.step()
        mu = self.index["muon_momentum"]
        for param, momentum in zip(self.hidden, self.momentum):
            momentum.mul_(mu).add_(param.grad)
            update = orthogonal(param.grad + mu * momentum, self.index["polynomials"])
            short, long = sorted(param.shape)
            param.mul_(1 - self.lr * share * self.index["weight_decay"])
            param.sub_(self.muon_lr * share * math.sqrt(long / short) * update)
        self.model.zero_grad(set_to_none=True)
