from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from mprnet.errors import ConfigError
from mprnet.settings import apply_change, build, flattened


@dataclass(frozen=True)
class Camera:
    iso: int = 100
    lens: tuple[float, float] = (28.0, 70.0)


@dataclass(frozen=True)
class Photo:
    name: str
    camera: Camera = field(default_factory=Camera)
    sharp: bool = True
    light: float = 1.0
    tags: tuple[str, ...] = ()
    frames: int | None = None
    form: Literal["png", "jpeg"] = "png"
    notes: dict[str, int] = field(default_factory=dict)


def test_a_table_becomes_a_dataclass_with_the_defaults_of_what_is_left_out():
    table = {"name": "a", "camera": {"lens": [35, 50.5]}, "light": 2, "tags": ["x", "y"], "frames": 3, "form": "jpeg"}
    photo = build(Photo, table, "photo")
    assert photo == Photo("a", Camera(100, (35.0, 50.5)), True, 2.0, ("x", "y"), 3, "jpeg")
    assert isinstance(photo.light, float)
    assert build(Photo, {"name": "a", "notes": {"x": 1}}, "photo").notes == {"x": 1}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "photo lacks the entry 'name'"),
        ({"name": "a", "colour": 1}, "photo has no entry 'colour'; expected some of name, camera, sharp"),
        ({"name": 1}, "photo.name is 1; expected str"),
        ({"name": "a", "camera": {"iso": 1.5}}, r"photo\.camera\.iso is 1\.5; expected int"),
        ({"name": "a", "camera": {"iso": True}}, r"photo\.camera\.iso is True; expected int"),
        ({"name": "a", "camera": {"lens": [1]}}, r"photo\.camera\.lens is \[1\]; expected \[float, float\]"),
        ({"name": "a", "camera": {"lens": [1, "x"]}}, r"photo\.camera\.lens is 'x'; expected float"),
        ({"name": "a", "camera": 3}, r"photo\.camera is 3; expected Camera"),
        ({"name": "a", "light": "much"}, r"photo\.light is 'much'; expected float"),
        ({"name": "a", "sharp": 1}, r"photo\.sharp is 1; expected bool"),
        ({"name": "a", "form": "gif"}, r"photo\.form is 'gif'; expected .*'png', 'jpeg'"),
        ({"name": "a", "frames": "x"}, r"photo\.frames is 'x'; expected int \| None"),
    ],
)
def test_a_mistake_is_one_clear_line_that_names_the_entry(table, message):
    with pytest.raises(ConfigError, match=message):
        build(Photo, table, "photo")


def test_changes_reach_into_tables_and_are_read_as_toml():
    settings = {"a": {"b": 1}}
    for change in ("a.b=2", "a.c=[1, 2.5]", "d.e.f=true", " g =text with spaces", 'h="quoted"', "i=1e-3", "j="):
        apply_change(settings, change)
    assert settings == {
        "a": {"b": 2, "c": [1, 2.5]},
        "d": {"e": {"f": True}},
        "g": "text with spaces",
        "h": "quoted",
        "i": 1e-3,
        "j": "",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps", "got 'steps'; expected key=value"),
        ("=3", "got '=3'; expected key=value"),
        ("a.b=3", "'a.b' cannot be set: 'a' is not a table"),
    ],
)
def test_a_change_that_cannot_be_made_is_one_clear_line(change, message):
    with pytest.raises(ConfigError, match=message):
        apply_change({"a": 1}, change)


def test_the_values_of_tables_in_tables_have_their_whole_keys():
    table = {"a": 1, "b": {"c": [2], "d": {"e": "f"}}, "g": {}}
    assert flattened(table) == {"a": 1, "b.c": [2], "b.d.e": "f"}
