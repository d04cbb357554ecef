"""Check by hand that spandrel loads what `mprnet convert --to official` writes, and computes the same picture.

This is no test and spandrel is no dependency: the architectures in `spandrel_extra_arches`, MPRNet's among them,
are under a non-commercial licence. Run it in a throw-away environment, from the root of the repository:

    python -m venv /tmp/spandrel
    /tmp/spandrel/bin/pip install .
    /tmp/spandrel/bin/pip install --no-deps spandrel spandrel_extra_arches einops typing_extensions
    /tmp/spandrel/bin/python tests/checks/spandrel_check.py [WEIGHTS]

`torchvision`, which only two unrelated architectures of spandrel import, is replaced by an empty stand-in. Without
WEIGHTS (ours or published), networks of every preset with random weights are compared; the exit code is 1 where
a difference is larger than float32 rounding.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock

TOLERANCE = 1e-5
"""Of the largest value in the picture: the same sums in another order, in float32."""


def relative_difference(weights: Path) -> float:
    """Return max |theirs − ours| / max |ours| of the last stage on a random 64×96 picture."""
    import spandrel
    import spandrel_extra_arches
    import torch

    import mprnet.checkpoints
    import mprnet.cli

    with tempfile.TemporaryDirectory() as folder:
        published = Path(folder) / "published.pth"
        mprnet.cli.app(["convert", "--to", "official", str(weights), str(published)], standalone_mode=False)
        spandrel_extra_arches.install(ignore_duplicates=True)
        theirs = spandrel.ModelLoader(device="cpu").load_from_file(published)
    ours = mprnet.checkpoints.load_checkpoint(weights)
    degraded = torch.rand(1, ours.config.in_channels, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = ours(degraded).last
        raw = theirs.model(degraded)[0]  # the original gives its last stage first
        if not torch.equal(theirs(degraded), raw.clamp(0, 1)):
            raise RuntimeError("spandrel's picture is not its network's last stage; expected first of its outputs")
    return float((raw - expected).abs().max() / expected.abs().max())


def main() -> int:
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = MagicMock()
    import torch

    from mprnet.checkpoints import save_checkpoint
    from mprnet.network import PRESETS, MPRNet

    differences = {}
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1:]:
            weights = {argument: Path(argument) for argument in sys.argv[1:]}
        else:
            weights = {name: Path(folder) / f"{name}.safetensors" for name in PRESETS}
            for name, path in weights.items():
                torch.manual_seed(0)
                save_checkpoint(MPRNet(PRESETS[name]), path, metadata={"task": name})
        for name, path in weights.items():
            differences[name] = relative_difference(path)
            sys.stdout.write(f"{name}: max |theirs - ours| / max |ours| = {differences[name]:.2e}\n")
    return int(max(differences.values()) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
