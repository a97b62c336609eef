"""Where PyTorch and our programs are."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def target():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def in_environment():
    """Runs this script again inside its own virtual environment, which it makes if need be."""
    home = target() / "torch-venv"
    python = home / "bin" / "python"
    if Path(sys.prefix) == home:
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    if not list(home.glob("lib/python*/site-packages/torch/__init__.py")):
        subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
    os.execv(python, [str(python), *sys.argv])


def example(package, name, variable):
    """The program, built; or the one that the variable names."""
    if variable in os.environ:
        return os.environ[variable]
    subprocess.run(["cargo", "build", "--release", "-q", "-p", package, "--example", name], cwd=ROOT, check=True)
    return target() / "release" / "examples" / name


def start(command, threads):
    """The program, with a pipe to it and one back. What runs outside its own pool, the optimizer, gets as many threads."""
    pipe = subprocess.PIPE
    variables = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    return subprocess.Popen(list(map(str, command)), stdin=pipe, stdout=pipe, text=True, env=variables)
