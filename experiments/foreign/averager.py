"""hivemind's DecentralizedAverager: H local steps, then an average of all parameters, again and again; same model and data.

    python3 experiments/foreign/averager.py --local 4 --every 5
    links run cable 4 python3 experiments/foreign/averager.py --rank {rank} --peers {peers} --address {address}

Peers find each other by a file that peer 0 writes beside the data. A round that fails leaves a peer with its own parameters, and
is counted. Prints a line of JSON at every evaluation, of peer 0's parameters.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import environment

environment.enter("torch", "numpy", "safetensors", "hivemind")

import hivemind  # noqa: E402
import torch  # noqa: E402

import model as twin  # noqa: E402
import processes  # noqa: E402
import traffic  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    environment.add_data_arguments(parser)
    parser.add_argument("--local", type=int, metavar="N", help="start N processes on loopback")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--peers", type=int, default=1)
    parser.add_argument("--address", default="127.0.0.1", help="of this peer")
    parser.add_argument("--every", type=int, default=5, metavar="H", help="local steps between two averages")
    parser.add_argument("--steps", type=int, help="instead of all that the data has")
    parser.add_argument("--evaluate-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--matchmaking", type=float, default=2.0, metavar="SECONDS", help="how long peers look for a group")
    parser.add_argument("--patience", type=float, default=30.0, metavar="SECONDS", help="how long a round may take")
    parser.add_argument("--meeting", type=Path, help="the file by which peers find each other")
    return parser.parse_args()


def introduce(told):
    """The hash table, which peer 0 begins and the others join."""
    host = [f"/ip4/{told.address}/tcp/0"]
    if told.rank == 0:
        dht = hivemind.DHT(host_maddrs=host, start=True, use_relay=False, use_auto_relay=False)
        partial = told.meeting.with_suffix(".part")
        partial.write_text("\n".join(map(str, dht.get_visible_maddrs())))
        partial.rename(told.meeting)
        return dht
    deadline = time.monotonic() + 120
    while not told.meeting.exists():
        if time.monotonic() > deadline:
            sys.exit("peer 0 did not come")
        time.sleep(0.1)
    first = told.meeting.read_text().split()
    return hivemind.DHT(host_maddrs=host, initial_peers=first, start=True, use_relay=False, use_auto_relay=False)


def train(told):
    torch.set_num_threads(1)
    told.meeting = told.meeting or told.data / f"meeting-{os.getppid()}"
    index = environment.index(told.data)
    start, _ = twin.tensors(told.data / "start.safetensors")
    model = twin.Gpt(index, start)
    optimizer = twin.Optimizer(index, model, told.optimizer, told.lr, told.muon_lr)
    batches = twin.rows_of(told.data / f"peer-{told.rank}.u8", index).split(index["batch"])[: told.steps]
    held_out = twin.rows_of(told.data / "validation.u8", index)
    step_tokens = told.peers * index["batch"] * index["model"]["context"]
    dht = introduce(told)
    flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    averager = hivemind.averaging.DecentralizedAverager(
        [flat], dht, prefix="murmur", target_group_size=told.peers, min_group_size=2, initial_group_bits="",
        min_matchmaking_time=told.matchmaking, request_timeout=told.matchmaking / 2, start=True,
    )
    clock, before = traffic.Clock(), traffic.sent_bytes(traffic.interface())
    rounds = failed = 0
    for number, rows in enumerate(batches, 1):
        twin.loss_of(model(rows[:, :-1]), rows).backward()
        optimizer.step(optimizer.schedule(number * step_tokens, step_tokens * len(batches)))
        if number % told.every == 0:
            rounds += 1
            failed += not average(averager, model, told.patience)
        if number % told.evaluate_every == 0 or number == len(batches):
            seconds, sent = clock.seconds(), traffic.sent_bytes(traffic.interface()) - before
            if told.rank == 0:
                loss = clock.outside(lambda: twin.validation_loss(model, held_out, index["validation"][1]))
                traffic.tell(
                    "hivemind-averager", optimizer=told.optimizer, peers=told.peers, every=told.every, tokens=number * step_tokens,
                    seconds=seconds, bytes=sent, bytes_of="all" if traffic.interface() == "lo" else "this peer", loss=loss,
                    rounds=rounds, failed_rounds=failed,
                )
    averager.shutdown()
    dht.shutdown()
    if told.rank == 0:
        told.meeting.unlink(missing_ok=True)


@torch.no_grad()
def average(averager, model, patience):
    """Whether this peer took part in an average."""
    with averager.get_tensors() as held:
        held[0].copy_(torch.nn.utils.parameters_to_vector(model.parameters()))
    try:
        good = averager.step(timeout=patience, allow_retries=False) is not None
    except Exception as error:  # hivemind raises many kinds; a failed round is part of what is measured
        print(f"a round failed: {type(error).__name__}: {error}", file=sys.stderr)
        good = False
    if good:
        with averager.get_tensors() as held:
            torch.nn.utils.vector_to_parameters(held[0], model.parameters())
    return good


def main():
    told = arguments()
    if told.local:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(processes.start_all(told.local, "--meeting", f"{folder}/meeting"))
    train(told)


if __name__ == "__main__":
    main()
