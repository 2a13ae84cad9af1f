"""Which batches of a query a reference knows, by their names."""

import pytest

from genemamba_sc.model.registration._batch_names import NEW, known_codes


@pytest.mark.parametrize(
    ("names", "known", "codes"),
    [
        (["1", "2"], ["1", "2"], [0, 1]),
        (["1.0", "2.", "3.0"], ["1", "2"], [0, 1, NEW]),
        (["1", "2"], ["1.0", "2.0"], [0, 1]),
        (["1", "1.0"], ["1.0", "1"], [1, 0]),
        (["1.5", "-1.0"], ["1", "-1"], [NEW, 1]),
        ([], ["1"], []),
    ],
    ids=["as written", "floats as text", "the reference has floats as text", "both are there", "signs", "none"],
)
def test_a_number_is_the_same_however_it_was_read(recwarn, names, known, codes):
    assert known_codes(names, {name: code for code, name in enumerate(known)}) == codes
    assert not recwarn


def test_a_number_that_two_batches_have_is_refused():
    with pytest.raises(
        ValueError, match=r"'1\.00' is the same number as its batches \['1', '1\.0'\]\. Write it as one"
    ):
        known_codes(["1.00"], {"1": 0, "1.0": 1})


@pytest.mark.parametrize(
    ("name", "like"), [("Donor1", "donor1"), (" donor1", "donor1"), ("01", "1"), ("donor 01", "donor 1"), ("1 ", "1")]
)
def test_names_that_are_nearly_the_same_are_new_with_a_warning(name, like):
    with pytest.warns(UserWarning, match=rf"named almost as those of the reference: '{name}' \(there '{like}'\)"):
        assert known_codes([name], {like: 0}) == [NEW]


def test_other_names_are_new_without_a_word(recwarn):
    assert known_codes(["donor10", "100", "x"], {"donor1": 0, "1": 1, "10": 2}) == [NEW] * 3
    assert not recwarn
