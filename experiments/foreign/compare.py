"""Compares one training step of ours with PyTorch's, from the same parameters on the same batch.

    cargo run --release -p murmur --example foreign -- target/foreign
    python3 experiments/foreign/compare.py

A line of JSON for each optimizer with relative differences: of the loss, of the gradient (all of it, and the tensor that differs
most), of the parameters after the step, and of what the step changed; against PyTorch in f32, and against PyTorch in f64, beside
PyTorch's own f32 against f64. Ends with 1 if loss or gradient differ by more than the tolerance.
"""

import argparse
import json
import sys

import environment

environment.enter("torch", "numpy", "safetensors")

import torch  # noqa: E402

import model as twin  # noqa: E402


def step(index, folder, kind, dtype):
    start, _ = twin.tensors(folder / "start.safetensors", dtype)
    model = twin.Gpt(index, start)
    rows = twin.rows_of(folder / "peer-0.u8", index)[: index["batch"]]
    loss = twin.loss_of(model(rows[:, :-1]), rows)
    loss.backward()
    gradient = {name: value.grad.clone() for name, value in model.named().items()}
    twin.Optimizer(index, model, kind).step(1.0)
    return loss.item(), gradient, {name: value.detach() for name, value in model.named().items()}, start


def relative(ours, theirs):
    """Norm of the difference of two vectors that are kept in pieces, relative to the second."""
    far = sum((ours[name].double() - theirs[name].double()).square().sum() for name in theirs)
    return (far / sum(value.double().square().sum() for value in theirs.values())).sqrt().item()


def differences(ours, theirs):
    (loss, gradient, after), (their_loss, their_gradient, their_after, start) = ours, theirs
    moved = {name: after[name].double() - start[name].double() for name in start}
    their_move = {name: their_after[name].double() - start[name].double() for name in start}
    worst = max(their_gradient, key=lambda name: relative({name: gradient[name]}, {name: their_gradient[name]}))
    return {
        "loss": abs(loss - their_loss) / abs(their_loss),
        "gradient": relative(gradient, their_gradient),
        "worst_gradient": {worst: relative({worst: gradient[worst]}, {worst: their_gradient[worst]})},
        "parameters": relative(after, their_after),
        "movement": relative(moved, their_move),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    environment.add_data_arguments(parser)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    index = environment.index(arguments.data)
    good = True
    for kind in ("adamw", "muon"):
        told, metadata = twin.tensors(arguments.data / f"{kind}.safetensors")
        part = lambda prefix: {name.removeprefix(prefix): value for name, value in told.items() if name.startswith(prefix)}
        ours = (float(metadata["loss"]), part("gradient/"), part("after/"))
        single, double = (step(index, arguments.data, kind, dtype) for dtype in (torch.float32, torch.float64))
        found = {
            "optimizer": kind,
            "torch": torch.__version__,
            "ours_to_f32": differences(ours, single),
            "ours_to_f64": differences(ours, double),
            "f32_to_f64": differences(single[:3], double),
        }
        print(json.dumps(found), flush=True)
        good &= all(found["ours_to_f32"][name] <= arguments.tolerance for name in ("loss", "gradient"))
    sys.exit(0 if good else 1)


main()
