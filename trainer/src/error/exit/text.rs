//! What each exit code means, what usually causes it and what to do: the text of `murmur explain`.

use super::Exit;

/// What there is to say about one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The word for it, in JSON and on the command line.
    pub name: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    /// The usual causes, most frequent first.
    pub causes: &'static [&'static str],
    /// What to do about it.
    pub fix: &'static str,
}

/// The explanation of `exit`.
pub(super) fn of(exit: Exit) -> Explanation {
    match exit {
        Exit::Ok => OK,
        Exit::Bug => BUG,
        Exit::Usage => USAGE,
        Exit::Config => CONFIG,
        Exit::Data => DATA,
        Exit::Checkpoint => CHECKPOINT,
        Exit::Device => DEVICE,
        Exit::DiskFull => DISK_FULL,
        Exit::NoPeers => NO_PEERS,
        Exit::Version => VERSION,
        Exit::Evicted => EVICTED,
        Exit::IdentityInUse => IDENTITY_IN_USE,
        Exit::Diverged => DIVERGED,
        Exit::TargetMissed => TARGET_MISSED,
        Exit::Crashed => CRASHED,
        Exit::TryAgain => TRY_AGAIN,
    }
}

const OK: Explanation = Explanation {
    name: "ok",
    meaning: "The command did what was asked; after a run, all state roots agree.",
    causes: &["The token budget was reached.", "The time limit was reached.", "Ctrl-C was pressed once."],
    fix: "Nothing.",
};

const BUG: Explanation = Explanation {
    name: "bug",
    meaning: "Something happened in murmur that must not happen.",
    causes: &["Two peers hold the same set of updates and different states.", "An assertion failed."],
    fix: "Please report it with the command line, the last object of --json, and the peer.log of each peer.",
};

const USAGE: Explanation = Explanation {
    name: "usage",
    meaning: "The command line makes no sense.",
    causes: &["A mistyped flag or command.", "A flag without its value.", "Two flags that exclude each other."],
    fix: "Run the command with --help.",
};

const CONFIG: Explanation = Explanation {
    name: "config",
    meaning: "A setting is unknown, impossible, or does not fit another one.",
    causes: &[
        "A mistyped key in run.toml, in --set or in a MURMUR_ variable.",
        "A value out of range, or of the wrong kind.",
        "model.d_model is not a multiple of model.heads.",
        "A setting that belongs to the run was changed while joining or resuming it.",
        "The state folder belongs to something else.",
        "net.listen or net.metrics leaves too few ports for all local peers.",
    ],
    fix: "Run `murmur config explain KEY` to see what is allowed and where the value came from.",
};

const DATA: Explanation = Explanation {
    name: "data",
    meaning: "There is no text to train on, it cannot be read, or it is not the run's text.",
    causes: &[
        "Cargo's registry folder is empty, so the built-in text is not there.",
        "--data names a file or folder that does not exist or holds too little text.",
        "What --data names is binary, in UTF-16, or symbolic links, which are left out.",
        "A joiner has other text than the run: their data roots differ.",
        "A folder given to status or peers does not exist.",
    ],
    fix: "Pass --data PATH with a file or a folder of text; to join a run, the same text as the run's.",
};

const CHECKPOINT: Explanation = Explanation {
    name: "checkpoint",
    meaning: "A checkpoint, or a benchmark's result, is missing, damaged, or belongs to something else.",
    causes: &[
        "A wrong path.",
        "A file cut short by a full disk or a copy.",
        "A checkpoint of another model.",
        "A benchmark's result that was edited: its digests or its conclusion do not fit its samples.",
    ],
    fix: "Name another checkpoint. A peer sets damaged files aside by itself and fetches what they held from the others; to \
        take part with nothing of the old, pass --state-dir with another folder. Nothing needs to be deleted.",
};

const DEVICE: Explanation = Explanation {
    name: "device",
    meaning: "The device cannot do this work.",
    causes: &[
        "Too little memory for the model and the batch.",
        "The processor, its memory or the compiler computes other bits than the exact profile says.",
    ],
    fix: "Make the model, the batch or the number of local peers smaller. `murmur doctor --kernels` says which instruction \
        sets compute what they should; MURMUR_SIMD=scalar, neon, avx2 or avx512 forces one.",
};

const DISK_FULL: Explanation = Explanation {
    name: "disk-full",
    meaning: "No space is left where the state is kept.",
    causes: &["Checkpoints and logs filled the disk.", "A quota was reached."],
    fix: "Free some space or pass --state-dir with a folder on another disk, then resume.",
};

const NO_PEERS: Explanation = Explanation {
    name: "no-peers",
    meaning: "None of the addresses in the ticket answered for this run.",
    causes: &[
        "The run has ended.",
        "The run listens on loopback only, and this is another machine.",
        "A firewall drops UDP between here and there.",
    ],
    fix: "Ask for a fresh ticket. To be reachable from other machines, a run needs --set net.listen=0.0.0.0:PORT.",
};

const VERSION: Explanation = Explanation {
    name: "incompatible-version",
    meaning: "The other side speaks another version of the protocol.",
    causes: &[
        "One side runs an older murmur.",
        "The ticket was made by a newer murmur.",
        "The run that is resumed was started by another version.",
    ],
    fix: "Run the same version of murmur as the peer that gave you the ticket.",
};

const EVICTED: Explanation = Explanation {
    name: "evicted",
    meaning: "The other peers hold proof against this peer, and its updates were removed from the model.",
    causes: &[
        "Its identity signed two entries for one position of its chain, a fork: the folder was copied, or restored from a \
        backup, and used again.",
        "Auditors replayed its work and found something else: faulty memory, overclocking, another build.",
        "The program was changed, or --misbehave was given.",
    ],
    fix: "Join with a new --state-dir. If audits failed, build murmur again from the released source and test the \
        machine's memory first.",
};

const IDENTITY_IN_USE: Explanation = Explanation {
    name: "identity-in-use",
    meaning: "Another process already uses this identity; two of them would fork its chain and be evicted.",
    causes: &["murmur is already running on this state folder.", "The folder was copied while it was in use."],
    fix: "Stop the other process, or pass another --state-dir to take part with a new identity.",
};

const DIVERGED: Explanation = Explanation {
    name: "diverged",
    meaning: "Training does not learn any more: the loss is not a finite number, it grows, or it stays above that of a guess.",
    causes: &["train.lr or outer.alpha is too high.", "train.warmup_tokens is too short."],
    fix: "Start a new run with half of train.lr. The message names the last checkpoint from before the loss rose.",
};

const TARGET_MISSED: Explanation = Explanation {
    name: "target-missed",
    meaning: "A figure that was asked for was not reached; the result names it.",
    causes: &[
        "A benchmark ran on a machine that is slower or busier than its targets suppose.",
        "run.tokens is too small for this model.",
        "The settings suit another model or text.",
    ],
    fix: "Repeat a benchmark on a quiet machine. Give a run more tokens, or change one setting at a time and compare.",
};

const CRASHED: Explanation = Explanation {
    name: "crashed",
    meaning: "A part of murmur stopped that may not stop, so the whole process ended rather than go on without it.",
    causes: &[
        "A mistake in murmur: the message names the thread and the line.",
        "A fault of the machine: a broken memory access, an illegal instruction.",
    ],
    fix: "Please report it with the message, the command line and the peer.log of the peer. Starting again with the same \
        input is likely to end the same way.",
};

const TRY_AGAIN: Explanation = Explanation {
    name: "try-again",
    meaning: "It was stopped or cut short; nothing is wrong for good.",
    causes: &[
        "Ctrl-C was pressed twice, so peers stopped without settling.",
        "Peers could not exchange their last updates in time, so they ended with different sets.",
        "A local peer did not answer any more, so the run ended without it.",
        "Every local peer was killed.",
    ],
    fix: "Run it again; `murmur run --resume DIR` goes on from the run's state folder.",
};
