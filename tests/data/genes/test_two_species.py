"""Genes of two species in one file: told with their shares, where they are no accident."""

import warnings

import numpy as np
import pandas as pd
import pytest

from genemamba_sc.data.genes._gene_ids import match_genes, require_match
from genemamba_sc.data.genes._two_species import shares_of_species, warn_of_two_species
from genemamba_sc.data.genes._vocabulary import GeneVocabulary

HUMAN, MOUSE = "ENSG00000198851", "ENSMUSG00000032093"


@pytest.mark.parametrize(
    ("names", "shares"),
    [
        pytest.param([HUMAN, f"{HUMAN}.3", "ENSG00000143420", MOUSE], {"human": 0.75, "mouse": 0.25}, id="ids"),
        pytest.param(["mm10_Cd3e", f"GRCh38______{HUMAN}"], {"mouse": 0.5, "human": 0.5}, id="genomes"),
        pytest.param(["CD3E", "Cd3e", "mm9"], {}, id="symbols tell nothing"),
        pytest.param(["CD3E", MOUSE], {"mouse": 1.0}, id="what tells nothing is not counted"),
    ],
)
def test_shares(names: list[str], shares: dict[str, float]):
    assert shares_of_species(names) == shares


def test_two_species_warn_where_genes_are_matched():
    vocabulary = GeneVocabulary((HUMAN, MOUSE), ("", ""), np.ones(2), "unknown")
    var = pd.DataFrame(index=[HUMAN, "ENSG00000143420", MOUSE])
    with pytest.warns(UserWarning, match=r"several species \(human 66\.7%, mouse 33\.3%\).*Keep the cells"):
        require_match(var, match_genes(var, vocabulary), vocabulary)


@pytest.mark.parametrize("shares", [{}, {"human": 1.0}, {"human": 0.995, "mouse": 0.005}])
def test_one_species_does_not_warn(shares: dict[str, float]):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warn_of_two_species(shares)
