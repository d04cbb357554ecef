"""`mprnet evaluate`: a test set restored, scored and reported as the papers do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mprnet.cli import options
from mprnet.cli.terminal import notice, plain
from mprnet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mprnet.datasets.benchmarks import Benchmark
    from mprnet.evaluation.benchmark import Method, Run
    from mprnet.evaluation.results import Results


class _Modes(NamedTuple):
    """How the network restores; the defaults are those of the options."""

    local: bool | str = "auto"
    ensemble: bool = False
    scales: int = 1
    backend: str = "auto"
    precision: str = "auto"
    device: str | None = None
    tile_px: int | None = None


def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            metavar="ROOT", help="The folder of the test set; with --noise, of clean pictures, without its subfolders."
        ),
    ],
    task: Annotated[
        str | None, typer.Option(metavar=options.TASKS, help="What is undone; a published test set says it itself.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="test100, rain100h, rain100l, test2800, test1200, gopro, hide, realblur-j, realblur-r, sidd, dnd; "
            "or pairs, a folder with input/ and target/.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="SIGMA,…",
            help="Instead of a test set: put in white noise of these standard deviations, where white is 255.",
        ),
    ] = None,
    weights: options.Weights = None,
    restored: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Measure what another program has made of the set: pictures named as in the results, or lying as in "
            "ROOT, with any ending.",
        ),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="What the network has learned from, where its file does not say it, for the paper's tables: gopro, "
            "realblur-j, and so on.",
        ),
    ] = None,
    stage: Annotated[str, typer.Option(metavar="1|2|3|all", help="Which stages to measure.")] = "all",
    local: options.Local = None,
    ensemble: options.Ensemble = False,
    scales: options.Scales = 1,
    backend: options.Backend = "auto",
    precision: options.Precision = "auto",
    device: options.Device = None,
    tile_px: options.TilePx = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="mprnet, or a method without training: for noise dct, nlm, wavelet, tv; for blur unsharp, wiener, "
            "richardson-lucy; for rain median, guided. Given several times, they stand side by side.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            "--output",
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for the results and the report; without it, evaluation/SET-METHOD here.",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For pairs and noise: how to measure, as for mprnet metrics; without it rain, gopro (deblur) or rgb "
            "(denoise).",
        ),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Take a published test set that is not complete.")] = False,
    picture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Measure only this picture, named as in the results; * and ? stand for any letters. It may be given "
            "several times.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Measure only the first so many pictures.")] = None,
    seed: Annotated[int, typer.Option(help="With --noise: another one draws other noise.")] = 0,
    blind: Annotated[
        bool, typer.Option("--blind", help="With --noise: do not tell the other methods how strong it is.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Forget the results that DIR holds.")] = False,
) -> None:
    """Restore a test set, score it against its originals as its papers do, and write a report.

    It writes results.json, results.csv and report.html. Interrupted, the same command goes on where it stopped.

    Under torchrun the processes share the pictures.
    """
    import shlex
    import sys

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    from mprnet.evaluation.benchmark import Run, Watch, evaluate_all
    from mprnet.evaluation.processes import shared_work
    from mprnet.evaluation.report import REPORT, examples_of, write_report
    from mprnet.evaluation.restored import restored_method

    sigmas = _sigmas(noise) if noise is not None else []
    methods = method or ["mprnet"]
    modes = _Modes("auto" if local is None else local, ensemble, scales, backend, precision, device, tile_px)
    if restored and (method or sigmas):
        raise ConfigError("--restored is measured instead of a method, on a test set; expected no --method, no --noise")
    if ("mprnet" not in methods or restored) and (weights or stage != "all" or modes != _Modes()):
        raise ConfigError("there are options for the network; expected --method mprnet among the methods, or none")
    if trained_on and "mprnet" not in methods:
        raise ConfigError("--trained-on is for what has learned; leave it out")
    if stage not in ("1", "2", "3", "all"):
        raise ConfigError(f"--stage is {stage!r}; expected 1, 2, 3 or all")
    if not sigmas and (seed or blind):
        raise ConfigError("--seed and --blind are for --noise, which is not given; leave them out")
    if partial and (sigmas or dataset == "pairs"):
        raise ConfigError("--partial is for published test sets; leave it out")
    with shared_work() as processes:
        benchmarks = _benchmarks(data, task, dataset, sigmas, protocol, partial, seed)
        if restored:
            runs = [Run(benchmarks[0], restored_method(restored, benchmarks[0], trained_on=trained_on))]
        else:
            network = _network(weights, benchmarks[0].task, stage, trained_on, modes) if "mprnet" in methods else None
            runs = _runs(benchmarks, sigmas, methods, network, seed, blind)
        if picture:
            runs = [run._replace(benchmark=run.benchmark.only(picture)) for run in runs]
        name = runs[0].benchmark.name
        methods = [runs[0].method.name] if restored else methods
        folder = report or Path("evaluation") / f"{name}-{'-'.join(methods)}"
        console = Console(stderr=True)
        bar = Progress(console=console, transient=True, disable=not (console.is_terminal and processes.is_first))
        row = bar.add_task(name, total=None)

        def watch(progress: Watch) -> None:
            bar.update(row, completed=progress.done, total=progress.total, description=escape(plain(progress.name)))
            if isinstance(progress.outcome, str):
                typer.echo(plain(f"mprnet: {progress.name}: {progress.outcome}"), err=True)

        try:
            with bar:
                found = evaluate_all(runs, folder, limit=limit, overwrite=overwrite, processes=processes, watch=watch)
        except KeyboardInterrupt:
            typer.echo(f"mprnet: interrupted; {folder} keeps what is done, and the same command goes on", err=True)
            raise typer.Exit(130) from None
        if processes.is_first:
            _print(found)
            for results in found:
                if results.in_tiles and tile_px is None:
                    notice(f"{results.label}: {results.in_tiles}, not whole, by size or for want of memory")
            if restored and runs[0].benchmark.protocol == "sidd":
                notice("sidd measures what was not rounded: pictures of 8 bits lose about 0.05 dB at 40 dB")
            if any(results.images for results in found):
                command = shlex.join(["mprnet", *sys.argv[1:]])
                write_report(folder / REPORT, found, examples_of(runs, found), command=command)
                typer.echo(str(folder / REPORT))
            else:
                (folder / REPORT).unlink(missing_ok=True)  # of pictures that cannot be measured any more
    if any(results.failed for results in found):
        raise typer.Exit(1)


def _sigmas(noise: str) -> list[float]:
    try:
        return [float(part) for part in noise.split(",")]
    except ValueError:
        raise ConfigError(f"--noise is {noise!r}; expected standard deviations such as 10,20,40") from None


def _benchmarks(
    data: Path,
    task: str | None,
    dataset: str | None,
    sigmas: list[float],
    protocol: str | None,
    partial: bool,
    seed: int,
) -> list[Benchmark]:
    """Find the test set, one for each strength of noise; what does not go together is said here."""
    from mprnet.datasets.benchmarks import BENCHMARKS, open_benchmark
    from mprnet.evaluation.own_sets import noisy_set, paired_set
    from mprnet.evaluation.protocols import get_protocol
    from mprnet.network import TASKS

    if task is not None and task not in TASKS:
        raise ConfigError(f"--task is {task!r}; expected one of {', '.join(TASKS)}")
    if protocol is not None:
        get_protocol(protocol)
    if sigmas:
        if dataset is not None or task not in (None, "denoise"):
            raise ConfigError("--noise makes a test set of its own; expected --task denoise and no --dataset")
        return [noisy_set(data, sigma, seed=seed, protocol=protocol) for sigma in sigmas]
    if dataset == "pairs":
        if task is None:
            raise ConfigError(f"nothing says what to undo in the pairs; give --task {options.TASKS}")
        return [paired_set(data, task, protocol)]
    if dataset is None:
        raise ConfigError(f"nothing says what to measure; give --noise, or --dataset {', '.join(BENCHMARKS)} or pairs")
    if protocol is not None:
        raise ConfigError(f"{dataset} is measured in one way only; expected no --protocol, or --dataset pairs")
    benchmark = open_benchmark(dataset, data, allow_partial=partial)
    if task not in (None, benchmark.task):
        raise ConfigError(f"{dataset} is for {benchmark.task}; got --task {task}")
    return [benchmark]


def _runs(
    benchmarks: list[Benchmark],
    sigmas: list[float],
    methods: list[str],
    network: Method | None,
    seed: int,
    blind: bool,
) -> list[Run]:
    """Pair every method with every test set."""
    from mprnet.evaluation.benchmark import Run, baseline_method

    strengths: Sequence[float | None] = sigmas or [None]
    runs = []
    for name in methods:
        for benchmark, sigma in zip(benchmarks, strengths, strict=True):
            told = None if blind else sigma
            one: Method = network if network and name == "mprnet" else baseline_method(name, sigma=told)
            runs.append(Run(benchmark, one, None if sigma is None else {"sigma": sigma, "seed": seed}))
    return runs


def _network(weights: str | None, task: str, stage: str, trained_on: str | None, modes: _Modes) -> Method:
    from mprnet.evaluation.benchmark import network_method
    from mprnet.restoration import Restorer

    name = weights or task
    restorer = Restorer.from_pretrained(name, task=task, notice=notice, **modes._asdict())  # checked there
    return network_method(restorer, name, stage=None if stage == "all" else int(stage), trained_on=trained_on)


def _print(found: Sequence[Results]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    strength = ["σ"] if found[0].settings.get("noise") else []
    table = Table(*strength, "method", "picture", title=found[0].settings["dataset"], title_justify="left")
    for heading in ("PSNR (dB)", "SSIM", "seconds each"):
        table.add_column(heading, justify="right")
    table.add_column("mean over")
    inputs = set()
    for results in found:
        sigma = [f"{results.settings['noise']['sigma']:g}"] if strength else []
        each = "–" if results.seconds_each is None else f"{results.seconds_each:.3f}"
        for output, mean in (results.means() or dict.fromkeys(results.outputs[-1:])).items():
            about, spent = [*sigma, results.settings["method"]["name"], output], each
            if output == "input":
                about[-2], spent = "", ""
                if str(sigma) in inputs:  # every method has the same
                    continue
                inputs.add(str(sigma))
            scores = (f"{mean.psnr:.3f}", f"{mean.ssim:.5f}") if mean else ("–", "–")
            table.add_row(*map(Text, about), *scores, spent, results.coverage)
    Console().print(table)
