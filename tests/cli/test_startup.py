from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "numpy", "cv2", "PIL", "scipy", "safetensors", "psutil", "platformdirs", "openvino", "onnxruntime"}

PROGRAM = """
import sys
import mprnet.cli

commands = [command.callback.__name__ for command in mprnet.cli.app.registered_commands]
for arguments in ([], *([name] for name in commands)):
    sys.argv = ["mprnet", *arguments, "--help"]
    try:
        mprnet.cli.main()
    except SystemExit as end:
        assert end.code == 0, arguments
print("loaded:", *sys.modules)
print("commands:", *commands)
"""


def test_help_is_shown_without_loading_what_only_the_work_needs():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    *helps, loaded, commands = done.stdout.splitlines()
    assert {"restore", "bench"} <= set(commands.split())
    assert sum("Usage: mprnet" in line for line in helps) == len(commands.split())  # the first word is no command
    assert HEAVY.intersection(loaded.split()) == set()


def test_the_package_runs_as_the_command():
    shown = [sys.executable, "-m", "mprnet", "info", "--help"]
    done = subprocess.run(shown, capture_output=True, text=True, check=True)
    assert "Usage: python -m mprnet info" in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "mprnet", "info", "nothing"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("mprnet: ")
