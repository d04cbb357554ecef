"""The page itself: what stands on it, and what happens when somebody asks for a restoration."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mprnet.errors import ConfigError, ImageError, MPRNetError
from mprnet.imaging import first_frame, thumbnail, write_image
from mprnet.restoration import PictureOptions, restore_files
from mprnet.restoration.plan import beside, is_video
from mprnet.web.guard import MAX_FILES, is_full

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mprnet.restoration import Progress, Restorer
    from mprnet.web.folder import Folder

_ABOUT = (
    "# mprnet\nTakes rain, blur and noise out of photographs. What you drop here is restored on the machine that "
    "serves this page, is sent nowhere else, and is deleted an hour later, or when the server is ended."
)
_WORDS = {"derain": "Rain", "deblur": "Blur", "denoise": "Noise"}
_FORMATS = {"as it came": None, "JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WebP": "webp", "AVIF": "avif"}
_STAGES = {"1, the quickest": 1, "2": 2, "3, the best": 3}
_KINDS = (str, int, int | float, bool, int, str)
"""Of what is asked for, behind the files; whether it is one of the choices is checked by Gradio and the library."""

_WAITING = 16
"""How many may wait for their turn; whoever comes then is told to come again."""

_LARGEST_PX = 3072
"""Of the longer side of what is shown; larger pictures are shrunk for the page."""

CSS = "#results .label-clear-button { display: none }"
"""Results are not taken off the list: a click on one shows it, by its place."""

_Pair = tuple[str, str] | None
"""Files that show a picture before and after; None for a video, and where there was no room for them."""


class _Shown(NamedTuple):
    """What the page shows of a run, in the order of its outputs."""

    slider: Any
    results: list[str]
    pairs: list[_Pair]
    everything: Any
    said: Any


class _Stopped(Exception):  # noqa: N818 (asked for)
    """The visitor has stopped the run, or is gone."""


class Desk:
    """Takes what visitors drop, restores it one after the other, and hands out the results.

    Args:
        folder: where uploads are, and where results go.
        open_restorer: returns the network of a name, of its ensemble or not, at so many sizes.
        names: shipped weights, or weights files, that visitors choose from; they see words for tasks, or the name of
            the file without its folder and ending.
    """

    def __init__(
        self, folder: Folder, open_restorer: Callable[[str, bool, int], Restorer], names: Sequence[str]
    ) -> None:
        self._folder = folder
        self._open_restorer = open_restorer
        self.choices: dict[str, str] = {}
        """The names, by what visitors see."""
        for name in names:
            self.choices[_apart(_WORDS.get(name, Path(name).stem), "", self.choices)] = name
        self._turn = threading.Lock()
        self._runs: dict[str, threading.Event] = {}
        """Of each visitor's run, whether it is to stop."""
        self._looking: set[str] = set()
        """Who has chosen a result to look at."""

    def restore(
        self,
        uploads: list[str] | None,
        choice: str,
        stage: int,
        strength: float,
        ensemble: bool,
        scales: int,
        file_format: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds it so)
    ) -> Iterator[_Shown]:
        """Restore what was dropped, and show each picture as it is done."""
        visitor = str(request.session_hash)
        stop = self._runs.setdefault(visitor, threading.Event())
        self._looking.discard(visitor)
        try:
            _check_question(uploads, (choice, stage, strength, ensemble, scales, file_format))
            progress(0, desc="getting the network ready")
            restorer = self._open_restorer(self.choices[choice], ensemble, scales)
            stage = min(stage, restorer.trained_stages)
            options = PictureOptions(stage=stage, strength=strength, format=_FORMATS[file_format])
            sources, made = [self._folder.uploaded(path) for path in uploads or ()], self._folder.make_folder()
            with self._folder.using([*sources, made]):
                yield from self._restore(visitor, sources, made, restorer, options, stop, progress)
        except _Stopped:
            return
        except MPRNetError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:  # whatever it is, the visitor is to know that it is not theirs
            raise gr.Error("Something went wrong on the server; its terminal says what.") from error
        finally:
            if self._runs.get(visitor) is stop:
                del self._runs[visitor]

    def ask(self, request: gr.Request) -> None:
        """Note that a visitor's run will come, which can be stopped while it waits for its turn."""
        visitor = str(request.session_hash)
        if visitor not in self._runs or self._runs[visitor].is_set():  # a stop is of what was asked before it
            self._runs[visitor] = threading.Event()

    def stop(self, request: gr.Request) -> None:
        """Stop the run of a visitor at the next tile; one that waits, when its turn comes."""
        if (stop := self._runs.get(str(request.session_hash))) is not None:
            stop.set()

    def show(self, pairs: list[_Pair], event: gr.SelectData, request: gr.Request) -> _Pair:
        """Return what to show when a result is chosen; it stays until their next run."""
        self._looking.add(str(request.session_hash))
        return pairs[int(event.index)] if 0 <= int(event.index) < len(pairs) else None

    def leave(self, request: gr.Request) -> None:
        """Forget a visitor, and stop their run."""
        self.stop(request)
        self._runs.pop(str(request.session_hash), None)
        self._looking.discard(str(request.session_hash))

    def close(self, timeout_seconds: float) -> None:
        """Stop every run, and wait for the tile that is under work."""
        for stop in [*self._runs.values()]:
            stop.set()
        if self._turn.acquire(timeout=timeout_seconds):
            self._turn.release()

    def _restore(
        self,
        visitor: str,
        sources: Sequence[Path],
        made: Path,
        restorer: Restorer,
        options: PictureOptions,
        stop: threading.Event,
        progress: gr.Progress,
    ) -> Iterator[_Shown]:
        shown, results, pairs, said = None, [], [], []
        everything = gr.DownloadButton(visible=False)
        for number, source in enumerate(sources):
            start, name = time.monotonic(), f"{source.name}, {number + 1} of {len(sources)}"

            def watch(now: Progress, number: int = number, start: float = start, name: str = name) -> None:
                if stop.is_set():
                    raise _Stopped
                if is_full(made):
                    raise ImageError("the disk of this server is nearly full; come again in an hour")
                left = (time.monotonic() - start) * (1 / now.fraction - 1) if now.fraction else 0
                timing = f", {timedelta(seconds=round(left))} left" if left >= 1 else ""
                progress((number + now.fraction) / len(sources), desc=name + timing)

            target = made / str(number) / beside(source, options.ending).name
            with self._alone(stop):
                report = restore_files(restorer, source, target, options=options, watch=watch)
            for job in report.restored:
                results.append(str(job.target))
                pairs.append(_pair(source, job.target))
                shown = pairs[-1] or shown
            for failure in report.failures:  # without places on the server, which are nobody's business
                reason = failure.reason.replace(f"{source.parent}{os.sep}", "")
                said.append(reason.replace(f"{target.parent}{os.sep}", ""))
            is_last = number == len(sources) - 1
            if is_last and len(results) > 1 and not is_full(made, sum(Path(path).stat().st_size for path in results)):
                everything = gr.DownloadButton(value=_packed(results, made / "restored.zip"), visible=True)
            slider = gr.skip() if visitor in self._looking else shown
            reasons = gr.Textbox("\n".join(said), visible=bool(said))
            yield _Shown(slider, [*results], [*pairs], everything, reasons)

    @contextmanager
    def _alone(self, stop: threading.Event) -> Iterator[None]:
        """Wait for a run whose visitor is gone, and that Gradio takes for ended, until it comes to its next tile."""
        while not self._turn.acquire(timeout=0.2):
            if stop.is_set():
                raise _Stopped
        try:
            yield
        finally:
            self._turn.release()


def build_page(desk: Desk) -> gr.Blocks:
    """Lay the page out, in front of what restores."""
    choices = [*desk.choices]
    page: gr.Blocks
    with gr.Blocks(title="mprnet", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(_ABOUT)
        pairs = gr.State([])
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                uploads = gr.File(label="Photographs", file_count="multiple", type="filepath", height=180)
                choice = gr.Radio(choices, value=choices[0], label="Take out")
                with gr.Row():
                    start = gr.Button("Restore", variant="primary", min_width=80, scale=2)
                    stop = gr.Button("Stop", min_width=80)
                status = gr.Markdown(height=70, show_label=False)
                with gr.Accordion("More", open=False):
                    stage = gr.Radio(
                        [*_STAGES.items()],
                        value=3,
                        label="Stage",
                        info="Each is slower, and nearly always better; of a network with fewer, its last.",
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
                everything = gr.DownloadButton("Download all", visible=False)
                said = gr.Textbox(label="Not restored", visible=False, interactive=False)
        asked = [uploads, choice, stage, strength, ensemble, scales, file_format]
        start.click(desk.ask, queue=False, api_visibility="private")
        start.click(
            desk.restore,
            asked,
            [slider, results, pairs, everything, said],
            concurrency_limit=1,
            show_progress_on=status,
            api_name="restore",
        )
        # Not by Gradio's `cancels`, which leaves the thread at work, and often shows an error.
        stop.click(desk.stop, queue=False, api_visibility="private")
        results.select(desk.show, [pairs], slider, queue=False, api_visibility="private")
        page.unload(desk.leave)
    page.queue(max_size=_WAITING, default_concurrency_limit=1, api_open=False)
    return page


def _check_question(uploads: list[str] | None, given: tuple[Any, ...]) -> None:
    """Raise ConfigError unless it is one that the page asks."""
    if not uploads:
        raise ConfigError("Drop a photograph first.")
    if len(uploads) > MAX_FILES:
        raise ConfigError(f"Drop at most {MAX_FILES} photographs at a time.")
    if not all(isinstance(value, kind) for value, kind in zip(given, _KINDS, strict=True)):
        raise ConfigError("This is nothing that the page asks for; load it again.")


def _pair(source: Path, target: Path) -> _Pair:
    if is_video(source):
        return None
    before, after = target.parent / "before.webp", target.parent / "after.webp"
    try:
        for picture, preview in ((source, before), (target, after)):
            write_image(thumbnail(first_frame(picture), _LARGEST_PX), preview, quality=92)
    except (ImageError, MemoryError):  # the result is there
        return None
    return str(before), str(after)


def _packed(results: Sequence[str], archive: Path) -> str:
    """Write all results to one file, each under a name of its own."""
    with zipfile.ZipFile(archive, "w") as file:  # stored as they are: pictures hardly shrink
        for path in map(Path, results):
            file.write(path, _apart(path.stem, path.suffix, file.namelist()))
    return str(archive)


def _apart(stem: str, ending: str, taken: Collection[str]) -> str:
    """Return a name that is none of those that are taken.

    Example:
        >>> _apart("rain", ".png", ["rain.png", "rain (2).png"])
        'rain (3).png'
    """
    name, count = stem + ending, 1
    while name in taken:
        count += 1
        name = f"{stem} ({count}){ending}"
    return name
