from __future__ import annotations

import pytest
import torch

from mprnet.bench.peak import float32_products, peak_operations

CPU = torch.device("cpu")


def test_the_peak_is_that_of_a_processor():
    peak = peak_operations("fp32", CPU)
    assert peak is not None
    assert 1e9 < peak < 1e14


@pytest.mark.parametrize(("precision", "device"), [("int4", "cpu"), ("fp32", "meta")])
def test_what_torch_cannot_compute_with_has_no_peak(precision, device):
    assert peak_operations(precision, torch.device(device)) is None


def test_short_products_are_for_tf32_alone_and_what_was_set_before_comes_back():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32)
    with float32_products("fp32"):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
    with float32_products("tf32"):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)
    with pytest.raises(KeyError), float32_products("tf32"):
        raise KeyError
    assert (cudnn.allow_tf32, matmul.allow_tf32) == before
