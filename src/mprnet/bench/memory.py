"""What a case needs of memory: a process of its own, which does nothing else, is asked what it held at most."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from mprnet.bench.engines import Engine
from mprnet.checkpoints import load_checkpoint
from mprnet.network import MPRNet, MPRNetConfig

_PROGRAM = "from mprnet.bench.memory import answer; answer()"


@dataclass(frozen=True)
class Alone:
    """What a process is to do: restore one batch at a time, in one engine."""

    config: dict[str, int | str | bool]
    weights: str | None
    int8: str | None
    engine: str
    precision: str
    stage: int
    shape: tuple[int, int, int, int]
    device: str
    threads: int


def peak_memory(task: Alone) -> int | None:
    """Have a process of its own do a task, and return what it held at most.

    Returns:
        Bytes: of the whole process, with torch and the engine in it, once the network is loaded; on a GPU, what torch
        held there. None where the process failed.
    """
    done = subprocess.run(  # noqa: S603 (this Python, this program)
        [sys.executable, "-P", "-c", _PROGRAM],  # without what lies in the current folder
        input=json.dumps(dataclasses.asdict(task)),
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stdout.splitlines() or [""])[-1]  # an engine may have said something before
    return int(last) if done.returncode == 0 and last.isdecimal() else None


def answer() -> None:
    """Do the task that stands on standard input, and print the bytes."""
    task = Alone(**json.load(sys.stdin))
    torch.set_num_threads(task.threads)
    device = torch.device(task.device)
    model = load_checkpoint(task.weights) if task.weights else MPRNet(MPRNetConfig(**task.config))  # type: ignore[arg-type]
    int8 = None if task.int8 is None else Path(task.int8)
    engine = Engine(model, task.engine, task.precision, task.stage, device, int8)
    degraded = torch.rand(task.shape).to(device)
    _forget_peak(device)
    engine.prepare(degraded)
    sys.stdout.write(f"\n{_peak(device)}\n")


def _forget_peak(device: torch.device) -> None:
    """Count from now on, where the system can; where it cannot, what opening the engine took counts too."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (peak := Path("/proc/self/clear_refs")).exists():
        peak.write_text("5", encoding="ascii")  # Linux' word for it


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    status = Path("/proc/self/status")
    if status.exists():  # not `getrusage`, which counts what the parent held when it started this process
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes, on macOS
