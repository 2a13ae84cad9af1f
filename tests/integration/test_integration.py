"""An integration as numbers: its choices, its arrays, its codes of batches."""

from typing import Any

import numpy as np
import pytest

from genemamba_sc.integration import CannotIntegrateError, Integration, IntegrationConfig, fit_integration

SMALL = IntegrationConfig(n_axes=3, n_rounds=2)


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    types, batches = np.arange(90) % 3, np.arange(90) // 3 % 2
    return (4 * np.eye(5)[types] + 0.3 * rng.normal(size=(90, 5)) + batches[:, None]).astype(np.float32), batches


@pytest.fixture(scope="module")
def fitted(cells: tuple[np.ndarray, np.ndarray]) -> Integration:
    return fit_integration(*cells, config=SMALL)


def test_numbers_of_the_choices_are_those_that_a_saved_model_has(unchecked: None):
    config = IntegrationConfig(width=np.float32(0.2), sharpness=1)
    assert (type(config.width), type(config.sharpness)) == (float, float)
    assert config.width == float(np.float32(0.2))


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"n_axes": 0}, ValueError, r"n_axes must be at least 1\. Got 0"),
        ({"n_neighbours": 2.5}, TypeError, r"n_neighbours must be a whole number\. Got 2\.5"),
        ({"n_clusters": True}, TypeError, r"n_clusters must be a whole number\. Got True"),
        ({"n_rounds": 0}, ValueError, r"n_rounds must be at least 1"),
        ({"width": 0.0}, ValueError, r"width must be 1e-06 or more, and finite\. Got 0\.0\. Its default is 0\.1"),
        ({"width": 1e-320}, ValueError, r"width must be 1e-06 or more"),
        ({"width": np.nan}, ValueError, r"width must be 1e-06 or more, and finite\. Got nan"),
        ({"width": np.inf}, ValueError, r"width must be 1e-06 or more, and finite\. Got inf"),
        ({"width": "0.1"}, TypeError, r"width must be a number\. Got '0\.1'"),
        ({"sharpness": -1}, ValueError, r"sharpness must be 0 or more, and finite\. Got -1\.0\. Its default is 0\.25"),
        ({"sharpness": np.inf}, ValueError, r"sharpness must be 0 or more, and finite\. Got inf"),
        ({"sharpness": True}, TypeError, r"sharpness must be a number\. Got True"),
    ],
)
def test_choices_out_of_range_are_refused(
    unchecked: None, choices: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        IntegrationConfig(**choices)


def test_arrays_make_the_same_integration(fitted: Integration, cells: tuple[np.ndarray, np.ndarray]):
    arrays = fitted.arrays()
    assert {values.dtype for values in arrays.values()} == {np.dtype(np.float32)}
    again = Integration.of_arrays(arrays, SMALL)
    assert np.array_equal(again(*cells), fitted(*cells))
    assert {name: values.tobytes() for name, values in again.arrays().items()} == {
        name: values.tobytes() for name, values in arrays.items()
    }


def test_a_missing_array_is_named(fitted: Integration):
    for name in fitted.arrays():
        arrays = fitted.arrays()
        del arrays[name]
        with pytest.raises(KeyError, match=name.replace(".", r"\.")):
            Integration.of_arrays(arrays, SMALL)


def test_arrays_that_do_not_fit_together_are_refused(fitted: Integration, unchecked: None):
    for name, values in fitted.arrays().items():
        axis = 1 if name in ("reference", "axes") or name.endswith(("factors", "offsets")) else 0
        for wrong in (np.delete(values, -1, axis=axis), values[None], values.ravel()[0]):
            with pytest.raises(ValueError, match=r"arrays of an integration must fit together\. Got "):
                Integration.of_arrays(fitted.arrays() | {name: wrong}, SMALL)


def test_arrays_of_more_rounds_than_there_are_to_be_are_refused(fitted: Integration):
    with pytest.raises(ValueError, match=r"An integration of 1 rounds has .*Got also \['rounds\.1\.centroids', "):
        Integration.of_arrays(fitted.arrays(), IntegrationConfig(n_axes=3, n_rounds=1))


def test_batches_get_other_codes(fitted: Integration, cells: tuple[np.ndarray, np.ndarray]):
    embedding, batches = cells
    wider = fitted.with_batches(np.array([3, 1]), 5)
    assert (fitted.n_batches, wider.n_batches) == (2, 5)
    assert np.array_equal(wider(embedding, np.array([3, 1])[batches]), fitted(embedding, batches))
    nobody = wider(embedding, np.full(90, 4))
    assert np.array_equal(nobody, wider(embedding, np.full(90, -1)))


def test_a_cell_is_mapped_by_itself(fitted: Integration, cells: tuple[np.ndarray, np.ndarray]):
    embedding, batches = cells
    together = fitted(embedding, batches)
    alone = [fitted(embedding[i : i + 1], batches[i : i + 1])[0] for i in range(0, 90, 7)]
    np.testing.assert_allclose(alone, together[::7], atol=1e-6)
    assert fitted(embedding[:0], batches[:0]).shape == (0, 3)


def test_a_cell_of_an_unknown_batch_is_projected(fitted: Integration, cells: tuple[np.ndarray, np.ndarray]):
    embedding, batches = cells
    expected = embedding @ fitted.axes - fitted.centre
    np.testing.assert_allclose(fitted(embedding, np.full(90, -1)), expected, atol=1e-5)
    np.testing.assert_allclose(fitted.project(embedding), expected, atol=1e-5)
    assert np.abs(fitted(embedding, batches) - expected).max() > 0.1


def test_there_are_no_more_axes_than_the_embedding_has(cells: tuple[np.ndarray, np.ndarray]):
    assert fit_integration(*cells)(*cells).shape == (90, 5)
    assert fit_integration(*cells, config=IntegrationConfig(n_axes=1))(*cells).shape == (90, 1)


def test_batches_without_a_label_in_common_are_refused(cells: tuple[np.ndarray, np.ndarray]):
    embedding, batches = cells
    with pytest.raises(CannotIntegrateError, match="No cell has a partner in another batch, .*batch_key names the"):
        fit_integration(embedding, batches, labels=batches)


@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["zeros", "somewhere"])
def test_cells_that_do_not_differ_are_refused(cells: tuple[np.ndarray, np.ndarray], scale: float):
    embedding, batches = cells
    with pytest.raises(CannotIntegrateError, match=r"Cells of one batch differ less than .*Check that batch_key"):
        fit_integration(np.tile(scale * embedding[:1], (90, 1)), batches)
