from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest

from mprnet.errors import ConfigError
from mprnet.evaluation.paper import paper_ablations
from mprnet.network import PRESETS, preset
from mprnet.training.recipe import (
    CleanData,
    Data,
    Optimization,
    PairData,
    Recipe,
    Validation,
    find_recipe,
    load_recipe,
    shipped_recipes,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SMALLEST = """
task = "derain"
[data]
pairs = [{ folder = "pairs" }]
[validation]
pairs = "unseen"
"""


@pytest.fixture
def smallest(tmp_path):
    path = tmp_path / "smallest.toml"
    path.write_text(SMALLEST, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_a_shipped_recipe_is_sound_and_found_by_its_name(path):
    recipe = load_recipe(path.stem)
    assert recipe == load_recipe(path)
    assert recipe.task in path.stem or path.stem == "paper-ablation"
    assert recipe.config == PRESETS[recipe.preset]


def test_there_is_a_shipped_recipe_for_every_task():
    assert {load_recipe(path).task for path in shipped_recipes().values()} == {"derain", "deblur", "denoise"}


@pytest.mark.parametrize(
    ("task", "folder", "features"), [("derain", "rain", 40), ("deblur", "gopro", 96), ("denoise", "sidd", 80)]
)
def test_the_paper_s_training_is_that_of_its_section_4_2(task, folder, features):
    recipe = load_recipe(f"paper-{task}")
    chosen = recipe.optimization
    assert (recipe.task, recipe.config.n_feat) == (task, features)
    assert [pairs.folder for pairs in recipe.data.pairs] == [folder]
    assert (recipe.data.clean, recipe.data.crop_px, recipe.data.batch) == ((), 256, 16)
    assert recipe.data.workers > 0  # 32 pictures a step are decoded while the device computes
    assert (chosen.steps, chosen.rate, chosen.final_rate, chosen.edge_weight) == (400_000, 2e-4, 1e-6, 0.05)
    assert (chosen.warmup, chosen.clip_norm, chosen.ema_decay, chosen.precision) == (0, 0, 0, "fp32")


def test_what_a_recipe_leaves_out_is_the_paper_s(smallest):
    recipe = load_recipe(smallest)
    assert (recipe.data.crop_px, recipe.data.batch) == (256, 16)
    assert (recipe.optimization.rate, recipe.optimization.final_rate) == (2e-4, 1e-6)
    assert recipe.optimization.edge_weight == 0.05


def listed_entries():
    """What the table of the documents says of every entry: its default as written there, and its meaning."""
    table = DOCUMENT.read_text(encoding="utf-8").partition("\n| entry | default | meaning |\n|---|---|---|\n")[2]
    for row in table.partition("\n\n")[0].splitlines():
        names, defaults, meaning = (cell.strip() for cell in row.strip("|").split("|", 2))
        entries = re.findall(r"`([\w.]+?)(?:\.\*)?`", names)
        prefix = entries[0].rpartition(".")[0]
        for entry, default in zip(entries, defaults.split(", ") if defaults else [""] * len(entries), strict=True):
            yield entry if "." in entry or not prefix else f"{prefix}.{entry}", default, meaning


def read_default(text):
    """Read a default that is written for people: `400,000`, `2·10⁻⁴`, `none`."""
    number = text.replace(",", "").replace("·10⁻", "e-").replace("10⁻", "1e-").translate(str.maketrans("⁴⁶", "46"))
    try:
        return tomllib.loads(f"value = {number}")["value"]
    except tomllib.TOMLDecodeError:
        return None if text in ("", "none") else text.strip("`")


def test_every_entry_is_listed_with_its_default():
    tables = {"": Recipe, "data.": Data, "validation.": Validation, "optimization.": Optimization}
    expected = {
        f"{prefix}{each.name}": None if each.default in (dataclasses.MISSING, "", ()) else each.default
        for prefix, table in tables.items()
        for each in dataclasses.fields(table)
        if f"{each.name}." not in tables
    }
    assert {entry: read_default(default) for entry, default, _ in listed_entries()} == expected


@pytest.mark.parametrize(("entry", "folder"), [("data.clean", CleanData), ("data.pairs", PairData)])
def test_what_a_folder_leaves_out_is_listed_with_its_default(smallest, entry, folder):
    meaning = next(meaning for name, _, meaning in listed_entries() if name == entry)
    listed = re.findall(r"(\w+) = (\[.*?\]|[\w.]+)", re.search(r"`\{ folder, (.+?) \}`", meaning)[1])
    assert {name for name, _ in listed} == {each.name for each in dataclasses.fields(folder)} - {"folder"}
    told, alone = (
        load_recipe(smallest, [f"{entry}=[{{folder='a'{more}}}]"])
        for more in ("".join(f", {name} = {default}" for name, default in listed), "")
    )
    assert told == alone


def test_a_table_of_the_network_changes_the_preset(smallest):
    recipe = load_recipe(smallest, ["preset=derain", "network.num_cab=2", "network.downsampling=maxpool"])
    assert recipe.config.n_feat == 40
    assert recipe.config.num_cab == 2
    assert recipe.config.downsampling == "maxpool"


def test_changes_are_read_as_toml_and_else_as_text(smallest):
    recipe = load_recipe(
        smallest,
        [
            "optimization.steps=7",
            "optimization.warmup=0",
            "optimization.rate=1",
            "data.root=/some/where",
            "degradation.coverage=[1, 2]",
            "seed=3",
        ],
    )
    assert recipe.optimization.steps == 7
    assert recipe.optimization.rate == 1.0
    assert recipe.data.root == "/some/where"
    assert recipe.degradation == {"coverage": [1, 2]}
    assert recipe.seed == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("task=dehaze", "task is 'dehaze'; expected one of derain, deblur, denoise"),
        ("preset=huge", "preset is 'huge'; expected one of derain, denoise, deblur, lite"),
        ("network.width=3", "network has no entry 'width'; expected some of in_channels"),
        ("network.n_feat=0", "n_feat is 0; expected at least 1"),
        ("network={in_channels=1, out_channels=1}", "network.in_channels is 1; training reads RGB, expected 3"),
        ("speed=1", "recipe has no entry 'speed'"),
        ("data.crops=1", "recipe.data has no entry 'crops'"),
        ("data.crop_px=20", "data.crop_px is 20; expected a multiple of 8 above 0"),
        ("data.crop_px=64.0", "recipe.data.crop_px is 64.0; expected int"),
        ("data.batch=0", "data.batch is 0; expected at least 1"),
        ("data.growth=[{step=5, crop_px=12, batch=1}]", "data.growth.crop_px is 12; expected a multiple of 8 above 0"),
        ("data.growth=[{step=5, crop_px=8, batch=0}]", "data.growth.batch is 0; expected at least 1"),
        ("data.growth=[{step=0, crop_px=8, batch=1}]", "data.growth.step is 0; expected more than 0"),
        ("optimization.stages=4", "optimization.stages is 4; expected 1, 2 or 3"),
        ("data.growth=[{step=5}]", "lacks the entry"),
        ("data.workers=-1", "data.workers is -1; expected 0 or more"),
        ("data.cache_mib=-1", "data.cache_mib is -1; expected 0 or more"),
        ("data.pairs=[]", "data.clean and data.pairs are empty"),
        ("data.pairs=[{folder='a', weight=0}]", "data.pairs (a): weight is 0.0; expected more than 0"),
        ("data.clean=[{folder='a', weight=nan}]", "data.clean (a): weight is nan; expected more than 0"),
        ("data.clean=[{folder='a', shrink=[1, 0.5]}]", "data.clean (a): shrink is [1.0, 0.5]; expected lowest"),
        ("data.clean=[{folder='a', shrink=[0, 1]}]", "data.clean (a): shrink is [0.0, 1.0]; expected lowest"),
        ("data.clean=[{folder='a', soften_px=[2, 1]}]", "data.clean (a): soften_px is [2.0, 1.0]; expected least"),
        ("data.clean=[{folder='a', soften_px=[-1, 1]}]", "data.clean (a): soften_px is [-1.0, 1.0]; expected least"),
        ("data.clean=[{}]", "lacks the entry 'folder'"),
        ("data.rain_layer_share=1.5", "data.rain_layer_share is 1.5; expected 0 to 1"),
        ("validation.pairs=", "expected one of validation.pairs and validation.clean"),
        ("validation.clean=both", "expected one of validation.pairs and validation.clean"),
        ("validation.count=0", "validation.count is 0; expected at least 1"),
        ("validation.every=0", "validation.every is 0; expected at least 1"),
        ("validation.log_every=0", "validation.log_every is 0; expected at least 1"),
        ("optimization.steps=0", "optimization.steps is 0; expected at least 1"),
        ("optimization.rate=0", "optimization.rate is 0.0; expected more than 0"),
        ("optimization.rate=inf", "optimization.rate is inf; expected more than 0"),
        ("optimization.rate=fast", "recipe.optimization.rate is 'fast'; expected float"),
        ("optimization.final_rate=-1", "optimization.final_rate is -1.0; expected 0 or more"),
        ("optimization.final_rate=1e-3", "final_rate is 0.001; expected at most optimization.rate, 0.0002"),
        ("optimization.warmup=-1", "optimization.warmup is -1; expected 0 or more"),
        ("optimization.steps=1000", "optimization.warmup is 1000; expected fewer than optimization.steps, 1000"),
        ("optimization.clip_norm=nan", "optimization.clip_norm is nan; expected 0 or more"),
        ("optimization.ema_decay=1", "optimization.ema_decay is 1.0; expected 0 to less than 1"),
        ("optimization.edge_weight=-1", "optimization.edge_weight is -1.0; expected 0 or more"),
        ("optimization.root_over=crops", "recipe.optimization.root_over is 'crops'; expected"),
        ("optimization.precision=fp16", "recipe.optimization.precision is 'fp16'; expected"),
        ("seed=-1", "seed is -1; expected 0 or more"),
        ("degradation.sigma=[1, 2]", "degradation (derain) has no entry 'sigma'"),
        ("optimization", "got 'optimization'; expected key=value"),
        ("task.name=derain", "'task.name' cannot be set: 'task' is not a table"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_entry(smallest, change, message):
    with pytest.raises(ConfigError) as error:
        load_recipe(smallest, [change])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_entries_that_contradict_each_other_are_refused(smallest):
    with pytest.raises(ConfigError, match="weights bring their own network"):
        load_recipe(smallest, ["weights=derain", "network.num_cab=2"])
    assert load_recipe(smallest, ["weights=derain", "network.num_cab=5", "widen=true"]).config.num_cab == 5
    with pytest.raises(ConfigError, match="widen is true and there are no weights"):
        load_recipe(smallest, ["widen=true"])
    with pytest.raises(ConfigError, match=r"data\.rain_layers is for the task derain; got the task deblur"):
        load_recipe(smallest, ["task=deblur", "data.rain_layers=['a']"])


@pytest.mark.parametrize("missing", ["task", "data", "validation"])
def test_what_has_no_default_must_be_there(tmp_path, missing):
    tables = {
        "task": 'task = "derain"',
        "data": '[data]\npairs = [{ folder = "a" }]',
        "validation": '[validation]\npairs = "b"',
    }
    path = tmp_path / "recipe.toml"
    path.write_text("\n".join(text for name, text in tables.items() if name != missing))
    with pytest.raises(ConfigError, match=f"^recipe lacks the entry '{missing}'$"):
        load_recipe(path)


def test_a_file_that_is_no_recipe_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe nowhere; expected a \.toml file or one of .*lite-denoise"):
        find_recipe("nowhere")
    broken = (b"task = ", b"\xff\xfe", b"seed = " + b"9" * 5000, b"seed = " + b"[" * 10**5)
    for content, message in ((each, "is not TOML") for each in broken):
        (tmp_path / "broken.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=message) as error:
            load_recipe(tmp_path / "broken.toml")
        assert "\n" not in str(error.value)


def test_the_crops_of_weights_are_those_that_their_last_step_saw():
    grows = ["data.crop_px=64", "data.growth=[{step=2, crop_px=96, batch=4}, {step=5, crop_px=256, batch=1}]"]
    data = load_recipe("lite-derain", grows).data
    sizes = [data.size_after(steps) for steps in (0, 1, 2, 3, 5, 6, 99)]
    assert [size.crop_px for size in sizes] == [64, 64, 64, 96, 96, 256, 256]


def test_a_seed_that_torch_does_not_take_is_one_clear_line():
    with pytest.raises(ConfigError, match="less than 2\\^63"):
        load_recipe("lite-derain", [f"seed={2**63}"])


def test_the_recipe_of_the_ablations_makes_every_row_of_table_6():
    for row in paper_ablations():
        stages = row.combination.replace("U-Nets", "U-Net + U-Net").lower().replace("-", "").replace(" ", "")
        network = {"combination": stages, "sam": row.sam, "csff": row.csff}
        changes = [f"network.{name}={json.dumps(value)}" for name, value in network.items()]
        recipe = load_recipe("paper-ablation", changes)
        assert recipe.config == dataclasses.replace(preset("deblur"), **network)
        assert (recipe.data.crop_px, recipe.optimization.steps) == (128, 100_000)
