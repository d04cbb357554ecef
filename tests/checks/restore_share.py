"""Measure how much of the wall time of `mprnet restore` goes into the network.

    python tests/checks/restore_share.py --megapixels 12 -- --task denoise --backend torch

The photograph is that of `memory_check.py`. What follows `--` goes to `mprnet restore`. The wall time is that of the
whole process, from its start to its end, with the interpreter, the imports, the weights, the JPEG and the log; the
network's is what `Backend.run` takes, in which an engine also compiles for a size that it has not seen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """
import atexit, json, sys, time
from pathlib import Path

import mprnet.cli

spent, runs, begun = 0.0, 0, time.perf_counter()


def timed(run):
    def run_timed(*arguments):
        global spent, runs
        begun = time.perf_counter()
        try:
            return run(*arguments)
        finally:
            spent += time.perf_counter() - begun
            runs += 1

    return run_timed


def open_timed(*arguments, **options):
    backend = open_backend(*arguments, **options)
    backend.run = timed(backend.run)
    opened.append(f"{backend.name} {backend.precision}")
    return backend


report, sys.argv, opened = Path(sys.argv[1]), ["mprnet", *sys.argv[2:]], []
from mprnet.restoration import restorer

loaded = time.perf_counter() - begun
open_backend, restorer.open_backend = restorer.open_backend, open_timed
atexit.register(
    lambda: report.write_text(json.dumps({"engine": opened[-1], "run": spent, "runs": runs, "imports": loaded}))
)
mprnet.cli.main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("options", nargs="*", help="options of `mprnet restore`, after --")
    arguments = parser.parse_args()
    from memory_check import make_photograph  # beside this program

    options = arguments.options or ["--task", "denoise"]
    with tempfile.TemporaryDirectory() as folder:
        source, target, report = (Path(folder) / name for name in ("photograph.jpg", "restored.jpg", "report.json"))
        width, height = make_photograph(source, arguments.megapixels)
        command = ["restore", str(source), "-o", str(target), "--overwrite", *options]
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", PROGRAM, str(report), *command], check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - begun
        found = json.loads(report.read_text(encoding="utf-8"))
    print("| photograph | engine | wall | network | share | passes | imports |\n|---|---|---|---|---|---|---|")
    run = found["run"]
    print(
        f"| {width}×{height} ({width * height / 1e6:.1f} MP) | {found['engine']} | {wall:.1f} s | {run:.1f} s | "
        f"{run / wall:.1%} | {found['runs']} | {found['imports']:.1f} s |"
    )


if __name__ == "__main__":
    main()
