"""Laws of the colour scale: what sign filters and normalisation may and may not change."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from captum.attr.visualization import VisualizeSign
from captum.attr.visualization.scaling import finite, normalized, pick, scale_of, signed, to_array

quick = settings(deadline=None, max_examples=60)
floats = hnp.arrays(
    np.float64,
    hnp.array_shapes(max_dims=2, max_side=6),
    elements=st.floats(allow_nan=False, allow_infinity=False),
)
tame = hnp.arrays(np.float64, 12, elements=st.floats(-1e6, 1e6).map(lambda v: round(v, 3)))
whole = hnp.arrays(np.int64, st.integers(1, 12), elements=st.integers(-9, 9))
percentages = st.integers(0, 100)


def literal_scale(values, percent):
    """The definition in exact arithmetic: try every magnitude, smallest first."""
    magnitudes = sorted(abs(Fraction(int(v))) for v in values if v)
    total = sum(magnitudes)
    for candidate in magnitudes:
        if sum(m for m in magnitudes if m <= candidate) >= total * Fraction(100 - percent, 100):
            return float(candidate)
    return 0.0


@quick
@given(whole, percentages)
def test_the_scale_is_the_literal_definition(values, percent):
    assert scale_of(values.astype(float), percent) == literal_scale(values, percent)


@quick
@given(floats, percentages)
def test_normalized_values_are_bounded_and_keep_their_signs(values, percent):
    result = normalized(values, percent)
    assert result.shape == values.shape
    assert np.isfinite(result).all()
    assert (np.abs(result) <= 1).all()
    assert (result * np.sign(values) >= 0).all()
    assert (np.abs(result).max() == 1) == bool(values.any())


@quick
@given(tame, percentages, st.integers(-40, 40))
def test_scaling_the_attributions_changes_nothing(values, percent, exponent):
    scaled = np.ldexp(values, exponent)
    np.testing.assert_array_equal(normalized(scaled, percent), normalized(values, percent))


@quick
@given(tame, percentages)
def test_flipping_the_attributions_flips_the_map(values, percent):
    np.testing.assert_array_equal(normalized(-values, percent), -normalized(values, percent))


@quick
@given(tame, percentages, percentages)
def test_more_outliers_never_make_a_value_fainter(values, one, other):
    fewer, more = sorted((one, other))
    assert (np.abs(normalized(values, more)) >= np.abs(normalized(values, fewer))).all()


@quick
@given(floats)
def test_sign_filters_partition_the_map(values):
    parts = {sign.name: signed(values, sign) for sign in VisualizeSign}
    np.testing.assert_array_equal(parts["positive"] - parts["negative"], parts["all"])
    np.testing.assert_array_equal(parts["positive"] + parts["negative"], parts["absolute_value"])
    assert not (np.minimum(parts["positive"], parts["negative"])).any()


@pytest.mark.parametrize("percent", [0, 2, 100])
def test_zeros_stay_zeros(percent):
    assert not normalized(np.zeros((3, 4)), percent).any()


@pytest.mark.parametrize(("percent", "scale"), [(0, 90), (2, 90), (50, 90), (67, 9), (99, 2)])
def test_known_scales(percent, scale):
    values = np.array([1.0, 2, 3, 4, 90, -5, -6, 7, 8, 9])
    assert scale_of(values, percent) == scale


@pytest.mark.parametrize("extreme", [5e-324, 1e-300, 1e308])
def test_extreme_magnitudes_neither_overflow_nor_vanish(extreme):
    np.testing.assert_array_equal(normalized(np.array([extreme, -extreme, 0]), 2), [1, -1, 0])


@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
def test_a_percentage_is_a_percentage(percent):
    with pytest.raises(ValueError, match="between 0 and 100"):
        scale_of(np.ones(3), percent)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_of_any_float_type_with_a_graph(dtype):
    tensor = torch.tensor([1.0, -0.5], dtype=dtype, requires_grad=True) * 1
    np.testing.assert_array_equal(finite(tensor, "attr"), [1.0, -0.5])


def test_whole_numbers_stay_whole():
    assert to_array(torch.zeros(2, dtype=torch.uint8), "image").dtype == np.uint8


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_no_scale_can_hold_is_refused(bad):
    with pytest.raises(ValueError, match="attr without NaN or infinity"):
        finite(np.array([0.0, bad]), "attr")


@pytest.mark.parametrize("bad", ["words", np.ones(2, dtype=complex), np.zeros((0, 3)), None])
def test_what_is_not_real_numbers_is_refused(bad):
    with pytest.raises(TypeError, match="attr to be one tensor or array of real numbers"):
        to_array(bad, "attr")


@pytest.mark.parametrize("sign", list(VisualizeSign))
def test_members_and_their_names_are_the_same(sign):
    assert pick(VisualizeSign, sign.name, "sign") is pick(VisualizeSign, sign, "sign") is sign


@pytest.mark.parametrize("bad", ["both", 4, None])
def test_a_mistaken_name_lists_the_valid_ones(bad):
    with pytest.raises(ValueError, match="one of positive, absolute_value, negative, all"):
        pick(VisualizeSign, bad, "sign")
