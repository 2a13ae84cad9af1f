"""Half-octaves of values."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from genemamba_sc._bins import NO_VALUE, from_bins, to_bins
from genemamba_sc.nn._encoder import ExpressionWeight


def test_a_bin_is_a_half_octave_and_comes_back_as_its_middle():
    values = np.array([1.0, 1.5, 2.0, 0.99, 0.0, 64.0], dtype=np.float32)
    assert to_bins(values).tolist() == [0, 1, 2, -1, NO_VALUE, 12]
    middles = from_bins(np.array([0, 1, -1, NO_VALUE], dtype=np.int8))
    assert np.allclose(middles, [2**0.25, 2**0.75, 2**-0.25, 0.0])


def test_every_bin_survives_the_way_back():
    bins = np.arange(-127, 128).astype(np.int8)
    assert np.array_equal(to_bins(from_bins(bins)), bins)


@given(st.lists(st.floats(2**-20, 2**20, width=32), min_size=1, max_size=50))
def test_the_encoder_weighs_a_stored_value_as_the_value_itself(values: list[float]):
    exact = np.array([values], dtype=np.float32)
    weigh = ExpressionWeight(16)
    stored = from_bins(to_bins(exact))
    off = np.abs(2 * np.log2(exact.astype(np.float64)) % 1 - 0.5) < 0.499  # not on the edge between two bins
    weights = [weigh(torch.from_numpy(x)).detach().numpy()[off] for x in (exact, stored)]
    assert np.array_equal(*weights)
