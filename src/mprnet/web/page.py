"""The page itself: what stands on it, and what happens when somebody asks for a restoration."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mprnet.errors import MPRNetError
from mprnet.restoration import PictureOptions, restore_files
from mprnet.restoration.plan import is_video
from mprnet.web.previews import write_preview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mprnet.restoration import Progress, Restorer
    from mprnet.web.folder import Folder

_ABOUT = (
    "# mprnet\nTakes rain, blur and noise out of photographs. What you drop here is restored on the machine that "
    "serves this page, is sent nowhere else, and is deleted an hour later, or when the server is ended."
)
_WORDS = {"derain": "Rain", "deblur": "Blur", "denoise": "Noise"}
_FORMATS = {"as it came": None, "JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WebP": "webp", "AVIF": "avif"}
_STAGES = {"1, the quickest": 1, "2": 2, "3, the best": 3}
_WAITING = 16
"""How many may wait for their turn; whoever comes then is told to come again."""

CSS = "#results .label-clear-button { display: none }"
"""Results are not taken off the list: a click on one shows it, by its place."""

_Pair = tuple[str, str] | None
"""Files that show a picture before and after; None for a video."""


class _Shown(NamedTuple):
    """What the page shows of a run, in the order of its outputs."""

    slider: _Pair
    results: list[str]
    pairs: list[_Pair]
    said: Any


class _Stopped(Exception):  # noqa: N818 (asked for)
    """The visitor has stopped the run, or is gone."""


class Desk:
    """Takes what visitors drop, restores it one after the other, and hands out the results.

    Args:
        folder: where uploads are, and where results go.
        open_restorer: returns the network of a name, of its ensemble or not, at so many sizes.
    """

    def __init__(self, folder: Folder, open_restorer: Callable[[str, bool, int], Restorer]) -> None:
        self._folder = folder
        self._open_restorer = open_restorer
        self._runs: dict[str, threading.Event] = {}
        """Of each visitor's run, whether it is to stop."""

    def restore(
        self,
        uploads: list[str] | None,
        name: str,
        stage: int,
        strength: float,
        ensemble: bool,
        scales: int,
        file_format: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds it so)
    ) -> Iterator[_Shown]:
        """Restore what was dropped, and show each picture as it is done."""
        if not uploads:
            raise gr.Error("Drop a photograph first.", print_exception=False)
        visitor, stop = str(request.session_hash), threading.Event()
        self._runs[visitor] = stop
        try:
            options = PictureOptions(stage=stage, strength=strength, format=_FORMATS[file_format])
            progress(0, desc="getting the network ready")
            restorer = self._open_restorer(name, ensemble, int(scales))
            sources = [self._folder.upload(path) for path in uploads]
            with self._folder.using(sources):
                yield from self._restore(sources, restorer, options, stop, progress)
        except _Stopped:
            return
        except MPRNetError as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            if self._runs.get(visitor) is stop:
                del self._runs[visitor]

    def stop(self, request: gr.Request) -> None:
        """Stop the run of a visitor at the next tile."""
        if (stop := self._runs.get(str(request.session_hash))) is not None:
            stop.set()

    def stop_all(self) -> None:
        """Stop every run."""
        for stop in [*self._runs.values()]:
            stop.set()

    def _restore(
        self,
        sources: Sequence[Path],
        restorer: Restorer,
        options: PictureOptions,
        stop: threading.Event,
        progress: gr.Progress,
    ) -> Iterator[_Shown]:
        shown, results, pairs, said = None, [], [], []
        for number, source in enumerate(sources):
            start, name = time.monotonic(), f"{source.name}, {number + 1} of {len(sources)}"

            def watch(now: Progress, start: float = start, name: str = name) -> None:
                if stop.is_set():
                    raise _Stopped
                left = (time.monotonic() - start) * (1 / now.fraction - 1) if now.fraction else 0
                timing = f", {timedelta(seconds=round(left))} left" if left >= 1 else ""
                progress(now.fraction, desc=name + timing)

            folder = self._folder.make()
            with self._folder.using([folder]):
                report = restore_files(restorer, source, _target(source, folder, options), options=options, watch=watch)
                for job in report.restored:
                    results.append(str(job.target))
                    pairs.append(_pair(source, job.target))
                    shown = pairs[-1] or shown
            said += [_without_folders(failure.reason, source, folder) for failure in report.failures]
            yield _Shown(shown, [*results], [*pairs], gr.Textbox("\n".join(said), visible=bool(said)))


def build_page(desk: Desk, names: Sequence[str]) -> gr.Blocks:
    """Lay the page out.

    Args:
        desk: what restores.
        names: shipped weights, or weights files, that the visitor chooses from.
    """
    choices = [(_WORDS.get(name, Path(name).stem), name) for name in names]
    page: gr.Blocks
    with gr.Blocks(title="mprnet", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(_ABOUT)
        pairs = gr.State([])
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                uploads = gr.File(label="Photographs", file_count="multiple", type="filepath", height=180)
                name = gr.Radio(choices, value=choices[0][1], label="Take out")
                with gr.Row():
                    start = gr.Button("Restore", variant="primary", min_width=80, scale=2)
                    stop = gr.Button("Stop", min_width=80)
                status = gr.Markdown(height=70, show_label=False)
                with gr.Accordion("More", open=False):
                    stage = gr.Radio(
                        [*_STAGES.items()], value=3, label="Stage", info="Each is slower, and nearly always better."
                    )
                    strength = gr.Slider(
                        0, 1, value=1, step=0.05, label="Strength", info="How much of the restoration to take."
                    )
                    ensemble = gr.Checkbox(
                        label="Ensemble", info="Mean over flips and rotations: 4 to 8 times slower, a little better."
                    )
                    scales = gr.Slider(
                        1, 5, value=1, step=1, label="Sizes", info="2 or 3 for coarse rain or grain in large pictures."
                    )
                    file_format = gr.Dropdown([*_FORMATS], value="as it came", label="Format")
            with gr.Column(scale=3, min_width=400):
                slider = gr.ImageSlider(
                    label="Before and after", type="filepath", interactive=False, buttons=["fullscreen"], max_height=700
                )
                results = gr.File(
                    label="Restored, to download", file_count="multiple", interactive=False, elem_id="results"
                )
                said = gr.Textbox(label="Not restored", visible=False, interactive=False)
        asked = [uploads, name, stage, strength, ensemble, scales, file_format]
        run = start.click(
            desk.restore,
            asked,
            [slider, results, pairs, said],
            concurrency_limit=1,
            show_progress_on=status,
            api_name="restore",
        )
        stop.click(desk.stop, cancels=[run], concurrency_limit=None, api_visibility="private")
        results.select(_chosen, [pairs], slider, concurrency_limit=None, api_visibility="private")
        page.unload(desk.stop)
    page.queue(max_size=_WAITING, default_concurrency_limit=1)
    return page


def _chosen(pairs: list[_Pair], event: gr.SelectData) -> _Pair:
    """Return what to show when one of the results is chosen."""
    return pairs[int(event.index)] if 0 <= int(event.index) < len(pairs) else None


def _target(source: Path, folder: Path, options: PictureOptions) -> Path:
    ending = source.suffix if options.ending is None or is_video(source) else options.ending
    return folder / f"{source.stem}_restored{ending}"


def _pair(source: Path, target: Path) -> _Pair:
    if is_video(source):
        return None
    before, after = target.parent / "before.webp", target.parent / "after.webp"
    write_preview(source, before)
    write_preview(target, after)
    return str(before), str(after)


def _without_folders(reason: str, source: Path, folder: Path) -> str:
    """Return a reason without places on the server, which are nobody's business."""
    return reason.replace(f"{source.parent}/", "").replace(f"{folder}/", "")
