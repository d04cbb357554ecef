"""Draw crops as a recipe does, and write them as pairs whose targets a teacher has smoothed: to learn from it.

    python tests/checks/distil.py lite-deblur deblur OUT --count 640 --share 0.6 --set data.root=DATA
    mprnet train lite-deblur --set weights=deblur --set data.root=DATA --set 'data.pairs=[{folder="/full/path/of/OUT"}]'

TEACHER is a shipped name or a weights file, of any width; it restores as an ensemble (`--alone`: in one look). A target
is `--share` of what it makes of the crop, and the rest of the truth. What no network can know of the truth counts for
less in such a target. Run again, it goes on where it was stopped. After Hinton et al., "Distilling the knowledge in a
neural network", 2015.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.progress import track

from mprnet import Restorer
from mprnet.imaging import write_image
from mprnet.training.data import RecipeData
from mprnet.training.recipe import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("teacher")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=640, help="of the crops, rounded up to whole batches")
    parser.add_argument("--share", type=float, default=0.6, help="of the teacher in the targets")
    parser.add_argument("--alone", action="store_true", help="the teacher looks once, not eight times")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="as of mprnet train")
    chosen = parser.parse_args()
    recipe = load_recipe(chosen.recipe, chosen.changes)
    teacher = Restorer.from_pretrained(chosen.teacher, ensemble=not chosen.alone)
    batches = RecipeData(recipe).train_dataloader().dataset
    for kind in ("input", "target"):
        (chosen.out / kind).mkdir(parents=True, exist_ok=True)
    size = recipe.data.batch
    for number in track(range(-(-chosen.count // size)), "crops"):
        names = [f"{number * size + place:06}.png" for place in range(size)]
        if all((chosen.out / kind / name).exists() for kind in ("input", "target") for name in names):
            continue
        degraded, truth = batches.make(number)
        taught = truth.lerp(teacher(degraded), chosen.share)
        for name, crop, target in zip(names, degraded, taught, strict=True):
            write_image(target, chosen.out / "target" / name, overwrite=True)
            write_image(crop, chosen.out / "input" / name, overwrite=True)


if __name__ == "__main__":
    main()
