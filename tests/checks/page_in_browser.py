"""Use the web page with a real browser, as a visitor does, and look at what came of it.

    pip install playwright
    python tests/checks/page_in_browser.py --browser /usr/bin/chromium -o out/page

Restores the noisy sample pictures and a file that is none, chooses a result while others are under work, stops a run,
and downloads everything. It ends with 1 where the page asks for something that is refused or lies elsewhere, where it
shows an error, or where something is missing. OUT gets a picture of each step, to be looked at; `phone.png` is as a
telephone shows it.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "denoise" / "input"
OPTIONS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", help="Chromium or Chrome; without it, what playwright has installed")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/page"))
    chosen = parser.parse_args()
    from playwright.sync_api import sync_playwright

    from mprnet.web import serve

    chosen.out.mkdir(parents=True, exist_ok=True)
    note = chosen.out / "no picture.txt"
    note.write_text("no picture\n", encoding="utf-8")
    pictures = sorted(SAMPLES.glob("*.png"))
    wrong: list[str] = []
    with serve() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chosen.browser, args=[*OPTIONS])
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.on("request", lambda asked: asked.url.startswith(("blob:", "data:", address)) or wrong.append(asked.url))
        page.on("response", lambda told: told.status >= 400 and wrong.append(f"{told.status} {told.url}"))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))

        def look(name: str) -> None:
            page.wait_for_timeout(1500)
            page.screenshot(path=chosen.out / f"{name}.png")
            if page.get_by_text("Error", exact=True).count():
                wrong.append(f"an error is shown: {name}.png")

        page.goto(address)
        page.get_by_text("Noise", exact=True).click()
        page.set_input_files("input[type=file]", [note, *pictures, *pictures])
        page.wait_for_selector("text=chelsea")
        look("dropped")
        page.get_by_role("button", name="Restore").click()
        page.wait_for_selector(f"text={pictures[0].stem}_restored")
        page.get_by_text(f"{pictures[0].stem}_restored").first.click()
        look("chosen")
        with page.expect_download(timeout=120_000) as download:
            page.get_by_text("Download all").click(timeout=120_000)
        with zipfile.ZipFile(download.value.path()) as archive:
            print("downloaded:", *archive.namelist())
            if len(archive.namelist()) != 2 * len(pictures):
                wrong.append(f"{len(archive.namelist())} files were packed; expected {2 * len(pictures)}")
        look("restored")
        page.get_by_text("More", exact=True).click()
        page.get_by_label("Ensemble").click()
        page.get_by_role("button", name="Restore").click()
        page.wait_for_timeout(2000)
        look("begun")
        page.get_by_role("button", name="Stop").click()
        page.wait_for_timeout(8000)
        look("stopped")
        if page.get_by_text(f" of {2 * len(pictures) + 1}").count():
            wrong.append("the run goes on after Stop: stopped.png")
        page.set_viewport_size({"width": 390, "height": 844})
        look("phone")
        browser.close()
    print(f"pictures of each step: {chosen.out}")
    for each in wrong:
        print("wrong:", each)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
