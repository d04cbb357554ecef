from __future__ import annotations

import pytest

from mprnet.errors import ConfigError
from mprnet.network import PRESETS, TASKS, preset, stage_costs


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("derain", 3_637_249), ("denoise", 15_741_025), ("deblur", 20_127_073), ("lite", 1_032_937)],
)
def test_presets_have_the_published_number_of_parameters(name, parameters):
    assert stage_costs(preset(name), (8, 8))[-1].parameters == parameters


def test_every_task_is_a_preset():
    assert set(TASKS) < set(PRESETS)


def test_an_unknown_preset_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="preset is 'dehaze'; expected one of derain, denoise, deblur, lite"):
        preset("dehaze")
