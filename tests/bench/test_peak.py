from __future__ import annotations

import pytest
import torch

from mprnet.bench.peak import peak_operations

CPU = torch.device("cpu")


def test_the_peak_is_that_of_a_processor():
    peak = peak_operations("fp32", CPU)
    assert peak is not None
    assert 1e9 < peak < 1e14


@pytest.mark.parametrize(("precision", "device"), [("int4", "cpu"), ("fp32", "meta")])
def test_what_torch_cannot_compute_with_has_no_peak(precision, device):
    assert peak_operations(precision, torch.device(device)) is None
