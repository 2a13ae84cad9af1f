"""Names that users give of what a result holds."""

import pytest

from genemamba_sc.tl._names import numbered


def test_a_name_is_found_and_another_one_refused():
    assert numbered("group", "b", ("a", "b")) == 1
    assert numbered("group", 2, ("1", "2")) == 1
    with pytest.raises(ValueError, match=r"group must be one that there is. Got 'c'; there are \['a', 'b'\]. Name"):
        numbered("group", "c", ("a", "b"))
    with pytest.raises(ValueError, match="Got 'c'; there are none"):
        numbered("cell_type", "c", ())
