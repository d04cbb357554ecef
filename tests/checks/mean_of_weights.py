"""Write the weighted mean of two networks: it gives back what training on other data lost on the old.

    python tests/checks/mean_of_weights.py BEFORE.safetensors AFTER.safetensors OUT.safetensors --share 0.35

AFTER is BEFORE trained on; OUT is stored in half precision, with the notes of AFTER. After Wortsman et al., "Robust
fine-tuning of zero-shot models", 2022.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from mprnet.checkpoints import load_checkpoint, read_metadata, save_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("before", "after", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of AFTER in the mean")
    chosen = parser.parse_args()
    model, before = load_checkpoint(chosen.after), dict(load_checkpoint(chosen.before).named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # each once; the slope that all activations share, too
            parameter.copy_(before[name].lerp(parameter, chosen.share))
    save_checkpoint(model, chosen.out, metadata=read_metadata(chosen.after), dtype=torch.float16)


if __name__ == "__main__":
    main()
