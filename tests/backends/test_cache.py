from __future__ import annotations

import inspect
import os
import stat
import sys
import time

import pytest
import torch
from torch import nn

from mprnet.backends import cache
from mprnet.backends.cache import cache_dir, cached, compiled_dir, fingerprint, graph_key, prune, prune_compiled, remade
from mprnet.network import MPRNet, set_local_pooling


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A cache of the test's own, not made yet."""
    monkeypatch.setenv("MPRNET_CACHE", str(tmp_path / "there" / "cache"))
    return tmp_path / "there" / "cache"


def fill(content, count=1):
    def make(entry):
        for number in range(count):
            (entry / f"{number}.bin").write_bytes(content)

    return make


def test_the_folder_is_made_and_only_its_owner_enters_it(folder):
    assert cache_dir() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 or sys.platform == "win32"


def test_without_the_variable_it_is_where_the_system_keeps_such_things(monkeypatch, tmp_path):
    monkeypatch.delenv("MPRNET_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert cache_dir() == tmp_path / "mprnet"


def test_where_it_cannot_be_written_there_is_one_for_this_process(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MPRNET_CACHE", str(tmp_path / "file" / "cache"))
    assert cache_dir().is_dir()
    assert cache_dir() == cache_dir()
    assert tmp_path not in cache_dir().parents
    assert (cached("entry", fill(b"1")) / "0.bin").read_bytes() == b"1"


@pytest.mark.parametrize("named", [True, False])
def test_a_user_without_a_home_has_one_for_this_process(monkeypatch, named):
    def homeless(self):
        raise RuntimeError("Could not determine home directory.")

    def nowhere(name):
        raise RuntimeError

    if named:
        monkeypatch.setenv("MPRNET_CACHE", "~/of-nobody")
        monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    else:
        monkeypatch.delenv("MPRNET_CACHE")
        monkeypatch.setattr("platformdirs.user_cache_dir", nowhere)
    assert cache_dir().is_dir()


def test_networks_that_cannot_be_kept_are_made_for_this_process_which_is_said_once(folder, monkeypatch):
    monkeypatch.setattr(cache, "_told", set())
    cache_dir()
    (folder / "networks").touch()
    told = []
    for name in ("kept nowhere", "nor this"):
        assert (cached(name, fill(b"1"), told.append) / "0.bin").read_bytes() == b"1"
    assert told == [
        "the cache folder cannot be written, so this is done anew each time; MPRNET_CACHE names another folder"
    ]
    (folder / "networks").unlink()
    assert folder in cached("kept", fill(b"1"), told.append).parents
    assert len(told) == 1


def test_an_entry_is_made_once_and_whole_or_not_at_all(folder):
    assert (cached("entry", fill(b"1", 2)) / "1.bin").read_bytes() == b"1"
    assert (cached("entry", lambda entry: pytest.fail("it was made again")) / "0.bin").exists()

    def fail(entry):
        (entry / "half").touch()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        cached("other", fail)
    assert [path.name for path in (folder / "networks").iterdir()] == ["entry"]


def test_a_damaged_entry_is_made_anew_and_one_that_is_in_use_left_whole(folder, monkeypatch):
    cached("entry", fill(b"1", 2))
    assert (remade("entry", fill(b"2")) / "0.bin").read_bytes() == b"2"
    assert [path.name for path in (folder / "networks" / "entry").iterdir()] == ["0.bin"]

    discard = cache._discard

    def refuse(entry):
        if folder in entry.parents:
            raise PermissionError("it is in use")
        discard(entry)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_discard", refuse)
        elsewhere = remade("entry", fill(b"3"))
        assert folder not in elsewhere.parents
        assert (elsewhere / "0.bin").read_bytes() == b"3"
        prune(0)
    assert (folder / "networks" / "entry" / "0.bin").read_bytes() == b"2"


def test_an_entry_that_another_process_made_meanwhile_is_taken(folder):
    def race(entry):
        cached("entry", fill(b"theirs"))
        (entry / "0.bin").write_bytes(b"ours")

    assert (cached("entry", race) / "0.bin").read_bytes() == b"theirs"
    assert [path.name for path in (folder / "networks").iterdir()] == ["entry"]


def test_what_was_used_longest_ago_goes_first_when_the_cache_is_full(folder, monkeypatch):
    assert cache.LARGEST_BYTES == 2**30
    monkeypatch.setattr("mprnet.backends.cache.LARGEST_BYTES", 250)
    networks = folder / "networks"
    for age, name in enumerate(["new", "middle", "old"]):
        cached(name, fill(b"x" * 50, 2))
        os.utime(networks / name, (1e9 - age, 1e9 - age))
    assert sorted(path.name for path in networks.iterdir()) == ["new", "old"]  # the one being made stays
    cached("old", fill(b""))  # which is a use of it
    prune(100)
    assert [path.name for path in networks.iterdir()] == ["old"]
    prune(0)
    assert list(networks.iterdir()) == []
    for name, size in (("small", 1), ("large", 300)):  # too large for the cache
        cached(name, fill(b"x" * size))
    assert [path.name for path in networks.iterdir()] == ["large"]


def test_what_a_user_keeps_in_the_folder_is_never_removed(folder):
    cached("entry", fill(b"1"))
    (folder / "holiday").mkdir()
    (folder / "holiday" / "1.jpg").write_bytes(b"x" * 100)
    prune(0)
    assert (folder / "holiday" / "1.jpg").exists()


def test_compiled_code_that_was_used_longest_ago_goes_first_and_a_days_use_stays(folder):
    now, hour = time.time(), 60 * 60
    for name, hours in (("a/oldest", 99), ("b/old", 50), ("a/read", 70), ("c/young", 1)):
        path = compiled_dir() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (now - (1 if name == "a/read" else hours) * hour, now - hours * hour))

    def left():
        return sorted(path.name for path in compiled_dir().rglob("*") if path.is_file())

    prune_compiled(300)
    assert left() == ["old", "read", "young"]
    prune_compiled(0)
    assert left() == ["read", "young"]


def test_a_fingerprint_tells_networks_apart_by_weights_settings_and_windows(make_network):
    other_weights, local = make_network(), make_network()
    with torch.no_grad():
        next(other_weights.parameters()).mul_(1.001)
    set_local_pooling(local, 64)
    networks = [make_network(), other_weights, local, make_network(num_cab=2), make_network().double()]
    assert len({fingerprint(network) for network in networks}) == len(networks)
    set_local_pooling(local, None)
    assert fingerprint(local) == fingerprint(make_network())


def test_what_is_made_of_a_network_has_another_name_for_other_weights_windows_sizes_or_versions(make_network):
    other_weights, local, network = make_network(), make_network(), make_network()
    with torch.no_grad():
        next(other_weights.parameters()).mul_(1.001)
    set_local_pooling(local, 64)
    keys = [graph_key(each, None, "1") for each in (network, other_weights, local)]
    keys += [graph_key(network, (8, 16), "1"), graph_key(network, None, "2")]
    assert len(set(keys)) == 5
    assert graph_key(make_network(), None, "1") == keys[0]


def test_a_class_of_the_user_s_own_has_another_name_and_so_has_each_edition_of_it(make_network, monkeypatch):
    class Own(MPRNet):
        """A network of ours by its weights."""

    class Block(nn.Sequential):
        """A block with the weights of one."""

    def typed_in(kind):
        raise OSError("could not get source code")

    own, other_block, network = make_network(), make_network(), make_network()
    own.__class__ = Own
    next(each for each in other_block.modules() if type(each) is nn.Sequential).__class__ = Block
    assert fingerprint(own) == fingerprint(other_block) == fingerprint(network)
    keys = [graph_key(each, None) for each in (network, own, other_block)]
    monkeypatch.setattr(inspect, "getsource", lambda kind: "edited since")
    keys.append(graph_key(own, None))
    assert graph_key(network, None) == keys[0]
    monkeypatch.setattr(inspect, "getsource", typed_in)
    keys.append(graph_key(own, None))
    assert len(set(keys)) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_a_folder_that_others_can_write_to_is_left_alone(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    cache._writable.cache_clear()
    assert folder not in (cache_dir(), *cache_dir().parents)
    cache._writable.cache_clear()
