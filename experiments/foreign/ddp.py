"""PyTorch's DistributedDataParallel on gloo: a dense all-reduce of the gradient every step, the same model, parameters and data.

    python3 experiments/foreign/ddp.py --local 4                      # four processes on loopback
    links run cable 4 python3 experiments/foreign/ddp.py --rank {rank} --peers {peers} --address {address} --first {first}

Prints a line of JSON at every evaluation: tokens of all peers, seconds without evaluations, bytes that all peers sent, loss on
held-out text.
"""

import argparse
import os
import sys

import environment

environment.enter("torch", "numpy", "safetensors")

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

import model as twin  # noqa: E402
import processes  # noqa: E402
import traffic  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    environment.add_data_arguments(parser)
    parser.add_argument("--local", type=int, metavar="N", help="start N processes on loopback")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--peers", type=int, default=1)
    parser.add_argument("--address", default="127.0.0.1", help="of this peer; gloo finds it by the interface")
    parser.add_argument("--first", default="127.0.0.1", help="address of peer 0")
    parser.add_argument("--port", type=int, default=29400)
    parser.add_argument("--steps", type=int, help="instead of all that the data has")
    parser.add_argument("--evaluate-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--seconds", type=float, help="end after so many")
    return parser.parse_args()


def train(told):
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", traffic.interface())
    dist.init_process_group("gloo", init_method=f"tcp://{told.first}:{told.port}", rank=told.rank, world_size=told.peers)
    index = environment.index(told.data)
    start, _ = twin.tensors(told.data / "start.safetensors")
    model = twin.Gpt(index, start)
    optimizer = twin.Optimizer(index, model, told.optimizer, told.lr, told.muon_lr)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    batches = twin.rows_of(told.data / f"peer-{told.rank}.u8", index).split(index["batch"])[: told.steps]
    held_out = twin.rows_of(told.data / "validation.u8", index)
    step_tokens = told.peers * index["batch"] * index["model"]["context"]
    budget = step_tokens * len(batches)
    dist.barrier()
    clock, before = traffic.Clock(), traffic.sent_bytes(traffic.interface())
    for number, rows in enumerate(batches, 1):
        loss = twin.loss_of(parallel(rows[:, :-1]), rows)
        loss.backward()
        optimizer.step(optimizer.schedule(number * step_tokens, budget))
        if number % told.evaluate_every == 0 or number == len(batches):
            over = report(told, model, index, held_out, clock, before, number * step_tokens)
            if over:
                break
    dist.destroy_process_group()


def report(told, model, index, held_out, clock, before, tokens):
    """Peer 0 measures for all. Says whether the time is over."""
    seconds = clock.seconds()
    sent = torch.tensor([float(traffic.sent_bytes(traffic.interface()) - before)], dtype=torch.float64)
    if traffic.interface() != "lo":
        clock.outside(lambda: dist.all_reduce(sent))

    def measure():
        if told.rank == 0:
            loss = twin.validation_loss(model, held_out, index["validation"][1])
            told_of = {"optimizer": told.optimizer, "peers": told.peers}
            traffic.tell("pytorch-ddp-gloo", **told_of, tokens=tokens, seconds=seconds, bytes=int(sent), loss=loss)
        over = torch.tensor([float(told.seconds is not None and seconds >= told.seconds)])
        dist.broadcast(over, 0)
        return bool(over)

    return clock.outside(measure)


def main():
    told = arguments()
    if told.local:
        sys.exit(processes.start_all(told.local))
    train(told)


main()
