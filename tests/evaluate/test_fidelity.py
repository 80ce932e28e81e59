import numpy as np
import pytest

from optimizer.evaluate import agreement, max_norm, relative_l2
from optimizer.evaluate.fidelity import Agreement


def test_max_norm_is_relative_to_the_largest_reference_value() -> None:
    assert max_norm(np.array([1.0, 4.2]), np.array([1.0, 4.0])) == pytest.approx(0.05)
    assert max_norm(np.array([1e-7]), np.array([0.0])) == pytest.approx(0.1)


def test_max_norm_takes_unequal_shapes_and_nan_for_the_worst() -> None:
    assert max_norm(np.ones(2), np.ones(3)) == 1e9
    assert max_norm(np.array([np.nan, 1.0]), np.ones(2)) == 1e9
    assert max_norm(np.array([np.nan, -np.inf]), np.array([np.nan, -np.inf])) == 0
    assert max_norm(np.empty((0, 2)), np.empty((0, 2))) == 0
    assert max_norm(np.array(["a"], object), np.array(["b"], object)) == 1


def test_relative_l2_is_taken_per_sample() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 10.0], [0.0, 0.0]])
    got = relative_l2(reference + np.array([[0.3, 0.4], [0.0, 0.0], [0.0, 0.0]]), reference)
    np.testing.assert_allclose(got, [0.1, 0.0, 0.0], atol=1e-12)


def test_relative_l2_leaves_out_what_is_infinite_on_both_sides() -> None:
    got = relative_l2(np.array([[-np.inf, 1.1]]), np.array([[-np.inf, 1.0]]))
    np.testing.assert_allclose(got, [0.1])
    assert relative_l2(np.array([[np.nan, 1.0]]), np.array([[1.0, 1.0]])) == [1e9]


def test_agreement_compares_answers_and_not_scores() -> None:
    a, b = np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([[0.4, 0.6], [0.4, 0.6]])
    assert agreement(a, b, "softmax").tolist() == [1, 0]
    assert agreement(a, b, "sigmoid").tolist() == [1, 0]
    assert agreement(np.array([[0.9, 0.1]]), np.array([[0.9, 0.6]]), "sigmoid").tolist() == [0.5]
    assert agreement(np.array([3, 4]), np.array([3, 5]), "values").tolist() == [1, 0]


def test_agreement_of_a_sequence_is_a_fraction() -> None:
    a = np.eye(3)[None, [0, 1, 2, 2]]
    b = np.eye(3)[None, [0, 1, 2, 0]]
    assert agreement(a, b, "softmax").tolist() == [0.75]


def test_fractions_that_all_agree_still_have_the_width_that_n_allows() -> None:
    loss, needs_100 = Agreement("sigmoid").loss(np.ones(100), 4)
    assert loss.estimate == 0
    assert loss.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert needs_100
