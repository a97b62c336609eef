"""The virtual environment of these scripts, and the data that they train on."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("MURMUR_FOREIGN_VENV", Path.home() / ".cache" / "murmur-foreign" / "venv"))


def skip(why):
    """Says why there is no result, to people and to programs, and ends."""
    print(json.dumps({"skipped": why}), flush=True)
    sys.exit(0)


def enter(*packages):
    """Runs this script again inside the environment, which it makes if need be. Skips where that cannot be."""
    python = HOME / "bin" / "python"
    if Path(sys.prefix) != HOME:
        if not python.exists():
            made = subprocess.run([sys.executable, "-m", "venv", HOME], capture_output=True, text=True)
            if made.returncode:
                skip(f"no virtual environment: {(made.stderr or made.stdout).strip()[-200:]}")
        os.execv(python, [str(python), *sys.argv])
    missing = [package for package in packages if not list(HOME.glob(f"lib/python*/site-packages/{package}/__init__.py"))]
    if missing:
        got = subprocess.run([sys.executable, "-m", "pip", "install", "-q", *missing], capture_output=True, text=True)
        if got.returncode:
            skip(f"PyPI gives no {', '.join(missing)}: {got.stderr.strip()[-200:]}")


def add_data_arguments(parser):
    """What every script here is told."""
    parser.add_argument("--data", type=Path, default=ROOT / "target" / "foreign", help="folder that the example `foreign` wrote")
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--lr", type=float, help="peak learning rate of AdamW, instead of the run's")
    parser.add_argument("--muon-lr", type=float, help="peak learning rate of Muon, instead of the run's")


def index(folder):
    path = folder / "index.json"
    if not path.exists():
        sys.exit(f"no {path}: cargo run --release -p murmur --example foreign -- {folder}")
    return json.loads(path.read_text())
