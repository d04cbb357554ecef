"""Restore folders of real photographs and build a page that shows each before and after.

    python tests/checks/gallery.py ../shared/data/real -o out/gallery

The folder holds `rain/`, `blur/` and `noise/`, or some of them; the page is OUT/index.html, and opens in any browser.
Nothing leaves the machine. A picture that is restored already is not restored again; remove OUT to begin anew.
"""

from __future__ import annotations

import argparse
import html
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from PIL import Image

TASKS = {"rain": "derain", "blur": "deblur", "noise": "denoise"}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mprnet: before and after</title>
<style>
body {{ margin: 0 auto; max-width: 1320px; padding: 1rem; background: #181818; color: #ddd }}
body {{ font: 16px system-ui, sans-serif }}
h2 {{ margin: 2.5rem 0 .5rem }}
figure {{ margin: 1rem 0 2rem }}
figcaption {{ margin-bottom: .4rem; color: #aaa }}
.pair {{ position: relative; display: inline-block; max-width: 100%; line-height: 0; --at: 50% }}
.pair img {{ max-width: 100%; height: auto }}
.pair .after {{ position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at)) }}
.pair::after {{ content: ""; position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; background: #fff8 }}
.pair input {{ position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize }}
</style>
<h1>Before and after</h1>
<p>{count} photographs without a known truth. Move over a picture: before on the left, after on the right.</p>
{sections}
<script>
for (const slider of document.querySelectorAll(".pair input")) {{
  const show = at => slider.parentElement.style.setProperty("--at", at + "%");
  slider.addEventListener("input", () => show(slider.value));
  slider.addEventListener("pointermove", event => show(100 * event.offsetX / slider.offsetWidth));
}}
</script>
</html>
"""

FIGURE = """<figure>
<figcaption>{name}, {width}×{height}</figcaption>
<div class="pair">
<img class="before" src="{before}" width="{width}" height="{height}" alt="{name} before" loading="lazy">
<img class="after" src="{after}" width="{width}" height="{height}" alt="{name} after" loading="lazy">
<input type="range" min="0" max="100" value="50" aria-label="how much of {name} is shown before">
</div>
</figure>"""


def section(task: str, folder: Path, out: Path) -> tuple[str, int]:
    """Restore a folder, and return its part of the page and how many photographs it shows."""
    before, after = out / task / "before", out / task / "after"
    before.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        Image.open(path).convert("RGB").save(before / f"{path.stem}.png")
    command = ("restore", "--task", task, before, "-o", after)
    subprocess.run([sys.executable, "-c", "import mprnet.cli; mprnet.cli.main()", *map(str, command)], check=True)
    figures = []
    for path in sorted(before.iterdir()):
        with Image.open(path) as picture:
            width, height = picture.size
        figures.append(
            FIGURE.format(
                name=html.escape(path.stem, quote=True),
                width=width,
                height=height,
                before=f"{task}/before/{quote(path.name)}",
                after=f"{task}/after/{quote(path.name)}",
            )
        )
    return f"<h2>{task}</h2>\n" + "\n".join(figures), len(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a page of photographs before and after.")
    parser.add_argument("folder", type=Path, help="holds rain/, blur/ and noise/, or some of them")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/gallery"))
    given = parser.parse_args()
    present = {kind: task for kind, task in TASKS.items() if (given.folder / kind).is_dir()}
    if not present:
        parser.error(f"{given.folder} holds none of {', '.join(TASKS)}; expected at least one of these folders")
    parts = [section(task, given.folder / kind, given.out) for kind, task in present.items()]
    page = given.out / "index.html"
    page.write_text(
        PAGE.format(count=sum(count for _, count in parts), sections="\n".join(part for part, _ in parts)),
        encoding="utf-8",
    )
    print(page)


if __name__ == "__main__":
    main()
