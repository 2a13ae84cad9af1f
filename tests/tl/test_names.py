"""Names that users give of what a result holds."""

import pytest

from genemamba_sc.tl._names import numbered, numbered_gene


def test_a_name_is_found_and_another_one_refused():
    assert numbered("group", "b", ("a", "b")) == 1
    assert numbered("group", 2, ("1", "2")) == 1
    with pytest.raises(ValueError, match=r"group must be one that there is. Got 'c'; there are \['a', 'b'\]. Name"):
        numbered("group", "c", ("a", "b"))
    with pytest.raises(ValueError, match="Got 'c'; there are none"):
        numbered("cell_type", "c", ())


def test_a_gene_is_found_by_id_or_symbol_unless_genes_share_it():
    ids, symbols = ("E1", "E2", "E3", "E4"), ("A", "B", "B", "E1")
    assert [numbered_gene("gene", name, ids, symbols) for name in ("A", "E2", "E3", "E1", "E4")] == [0, 1, 2, 0, 3]
    with pytest.raises(ValueError, match=r"gene must be one gene. Got 'B', the symbol of 2: \['E2', 'E3'\]. Name one"):
        numbered_gene("gene", "B", ids, symbols)
    with pytest.raises(ValueError, match="gene must be one that there is. Got 'C'"):
        numbered_gene("gene", "C", ids, symbols)
