from __future__ import annotations

import pytest

from mprnet.degradation import CameraNoise, MotionBlur, Noise, Rain, make_degradation
from mprnet.errors import ConfigError
from mprnet.network import TASKS


def test_every_task_has_a_degradation_to_undo():
    assert [type(make_degradation(task, {})) for task in ("derain", "deblur", "denoise")] == [Rain, MotionBlur, Noise]
    assert all(make_degradation(task, {}) for task in TASKS)


def test_settings_change_what_they_name():
    assert make_degradation("derain", {"layers": [2, 3], "tilt_deg": 10}) == Rain(layers=(2, 3), tilt_deg=10)
    camera = {"camera_share": 1, "camera": {"quality": [50, 60]}}
    assert make_degradation("denoise", camera) == Noise(camera_share=1, camera=CameraNoise(quality=(50, 60)))


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("dehaze", {}, "task is 'dehaze'; expected one of derain, deblur, denoise"),
        ("derain", {"wind": 3}, r"degradation \(derain\) has no entry 'wind'; expected some of layers, coverage"),
        ("denoise", {"sigma": 25}, r"degradation \(denoise\).sigma is 25; expected \[float, float\]"),
        ("denoise", {"camera": {"iso": 800}}, r"degradation \(denoise\).camera has no entry 'iso'"),
        ("deblur", {"extent_px": [9, 3]}, "extent_px is .* the lower end first"),
    ],
)
def test_a_mistake_is_one_clear_line(task, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_degradation(task, settings)
