"""Pathways: what is kept, who shares one, and what a split may not give away."""

import itertools

import numpy as np
import pytest
import torch

from genemamba_sc import GeneAliases, GeneVocabulary, PathwaySet

VOCABULARY = GeneVocabulary(
    tuple(f"ENSG{i:011d}" for i in range(1, 41)), tuple(f"G{i}" for i in range(1, 41)), np.ones(40), "human"
)


def new_set(*members, vocab_size=44):
    names = tuple(f"P{i}" for i in range(len(members)))
    return PathwaySet(names, tuple(np.array(genes, dtype=np.int32) for genes in members), vocab_size)


def random_set(n_pathways=30, n_genes=300, seed=0):
    rng = np.random.default_rng(seed)
    return new_set(
        *(rng.choice(n_genes, rng.integers(2, 15), replace=False) + 2 for _ in range(n_pathways)), vocab_size=400
    )


def sharing(pathways):
    """Pairs of genes in one set, by the definition."""
    return {pair for genes in pathways.members for pair in itertools.combinations(genes.tolist(), 2)}


def write_gmt(path, sets):
    path.write_text("".join("\t".join([name, "", *genes]) + "\n" for name, genes in sets.items()), encoding="utf-8")
    return path


def test_genes_become_tokens_and_sizes_are_judged_after_that(tmp_path):
    file = write_gmt(
        tmp_path / "sets.gmt",
        {
            "kept": ["G3", "ENSG00000000001", "G3", "UNKNOWN", "ENSG00000000002.5"],
            "small": ["G1", "G2", "NOBODY", "UNKNOWN"],
            "large": ["G1", "G2", "G3", "G4", "G5"],
            "also kept": ["G10", "G11", "G12", "G13"],
        },
    )

    pathways = PathwaySet.from_gmt(file, VOCABULARY, min_genes=3, max_genes=4)

    assert pathways.names == ("kept", "also kept")
    assert [genes.tolist() for genes in pathways.members] == [[2, 3, 4], [11, 12, 13, 14]]
    assert pathways.sizes.tolist() == [3, 4]
    assert pathways.genes.tolist() == [2, 3, 4, 11, 12, 13, 14]
    assert pathways.vocab_size == VOCABULARY.size
    assert (len(pathways), repr(pathways)) == (2, "PathwaySet(2 pathways, 7 genes)")


def test_the_report_says_what_was_left_out(tmp_path):
    file = write_gmt(
        tmp_path / "sets.gmt", {"a": ["G1", "G2", "X1"], "b": ["G1"], "c": ["G1", "G2", "G3", "X2"], "d": []}
    )

    report = PathwaySet.from_gmt(file, VOCABULARY, min_genes=2, max_genes=2).report

    assert (report.n_read, report.n_small, report.n_large) == (4, 2, 1)
    assert (report.n_named, report.n_found, report.unmatched) == (5, 3, ("X1", "X2"))
    assert str(report) == "1 of 4 pathways kept (2 too small, 1 too large); 3 of 5 genes are in the vocabulary"


def test_older_symbols_count_with_a_table(tmp_path):
    table = tmp_path / "hgnc.tsv"
    table.write_text(
        "symbol\tensembl_gene_id\talias_symbol\tprev_symbol\nG1\tENSG00000000001\tOLD1\t\n", encoding="utf-8"
    )
    file = write_gmt(tmp_path / "sets.gmt", {"a": ["OLD1", "G2"], "b": ["G3", "G4"]})

    without = PathwaySet.from_gmt(file, VOCABULARY, min_genes=2)
    with_table = PathwaySet.from_gmt(file, VOCABULARY, aliases=GeneAliases.from_tsv(table), min_genes=2)

    assert without.names == ("b",)
    assert [genes.tolist() for genes in with_table.members] == [[2, 3], [4, 5]]


def test_a_gene_counts_by_each_of_its_names_and_once_in_a_pathway(tmp_path):
    table = tmp_path / "hgnc.tsv"
    table.write_text(
        "symbol\tensembl_gene_id\talias_symbol\tprev_symbol\nG1\tENSG00000000001\tOLD1\t\n", encoding="utf-8"
    )
    file = write_gmt(tmp_path / "sets.gmt", {"old": ["OLD1", "G2"], "new": ["G1", "G3"], "both": ["G1", "OLD1", "X1"]})

    pathways = PathwaySet.from_gmt(file, VOCABULARY, aliases=GeneAliases.from_tsv(table), min_genes=1)

    assert dict(zip(pathways.names, map(np.ndarray.tolist, pathways.members))) == {
        "old": [2, 3],
        "new": [2, 4],
        "both": [2],
    }
    assert (pathways.report.n_named, pathways.report.n_found, pathways.report.unmatched) == (5, 4, ("X1",))


def test_a_file_of_another_species_is_refused(tmp_path):
    file = write_gmt(tmp_path / "mouse.gmt", {"a": ["Cd3e", "Cd3d"]})

    with pytest.raises(
        ValueError, match=r"2 to 300 genes of the vocabulary of 40 human genes; in '.*mouse\.gmt' none has: 0 of 1 path"
    ):
        PathwaySet.from_gmt(file, VOCABULARY, min_genes=2)


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ({"min_genes": 0}, ValueError, r"min_genes must be at least 1\. Got 0"),
        ({"min_genes": 5, "max_genes": 4}, ValueError, r"max_genes must be at least 5\. Got 4"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        PathwaySet.from_gmt(tmp_path / "none.gmt", VOCABULARY, **sizes)


def test_names_must_be_unique_and_tokens_in_range():
    members = (np.array([2, 3], np.int32), np.array([3, 4], np.int32))

    with pytest.raises(ValueError, match=r"got 1 different names for 2 sets\. Name every set once"):
        PathwaySet(("a", "a"), members, 10)
    with pytest.raises(ValueError, match=r"token id below vocab_size=4; 'b' has 4\. Use the vocabulary"):
        PathwaySet(("a", "b"), members, 4)


@pytest.mark.parametrize("seed", range(3))
def test_the_index_is_the_definition(seed):
    pathways = random_set(seed=seed)
    tokens = torch.from_numpy(np.random.default_rng(seed).integers(0, 400, 120))

    share = pathways.index().share(tokens, tokens)

    pairs = sharing(pathways)
    for i, a in enumerate(tokens.tolist()):
        for j, b in enumerate(tokens.tolist()):
            assert bool(share[i, j]) == ((min(a, b), max(a, b)) in pairs or (a == b and a in pathways.genes))


def test_the_index_asks_for_different_lists_of_genes():
    index = new_set([2, 3], [3, 9]).index()

    assert index.share(torch.tensor([2, 3, 40]), torch.tensor([9, 3])).tolist() == [
        [False, True],
        [True, True],
        [False, False],
    ]
    assert index.known(torch.tensor([2, 40, 9])).tolist() == [True, False, True]
    assert index.bits.numel() == 3  # three genes, a byte each


def test_the_digest_of_an_index_tells_who_shares_a_pathway_and_nothing_else():
    digest = new_set([2, 3], [4, 5]).index().sha256

    assert len(digest) == 64
    assert new_set([5, 4], [2, 3], [3]).index().sha256 == digest
    others = [new_set([2, 4], [3, 5]), new_set([2, 3], [4, 6]), new_set([2, 3]), new_set([2, 3], [4, 5], vocab_size=45)]
    assert len({digest, *(other.index().sha256 for other in others)}) == 5


def test_pairs_are_each_there_once():
    assert new_set([4, 2, 3], [3, 4], [9]).pairs().tolist() == [[2, 3], [2, 4], [3, 4]]
    assert {tuple(pair) for pair in random_set().pairs().tolist()} == sharing(random_set())


def test_no_pathway_makes_no_pair():
    empty = PathwaySet((), (), 10)

    assert empty.pairs().tolist() == []
    assert empty.index().share(torch.tensor([2]), torch.tensor([2])).tolist() == [[False]]


def test_a_split_parts_the_pathways():
    pathways = random_set()

    split = pathways.split(0.2, seed=1)

    assert (len(split.held_out), len(split.train)) == (6, 24)
    assert sorted(split.held_out.names + split.train.names) == sorted(pathways.names)
    members = dict(zip(pathways.names, pathways.members))
    for part in (split.held_out, split.train):
        assert all(np.array_equal(members[name], genes) for name, genes in zip(part.names, part.members))
    assert split.held_out.names == pathways.split(0.2, seed=1).held_out.names
    assert split.held_out.names != pathways.split(0.2, seed=2).held_out.names


def test_held_out_pairs_share_no_training_pathway():
    split = random_set(n_pathways=60).split(0.3)

    positives = {tuple(pair) for pair in split.positives.tolist()}

    trained = set(split.train.genes.tolist())
    expected = {pair for pair in sharing(split.held_out) - sharing(split.train) if set(pair) <= trained}
    assert positives == expected
    assert len(sharing(split.held_out) & sharing(split.train)) > 0  # there was something to leave out


def test_sampled_negatives_share_nothing_and_have_the_genes_of_the_positives():
    pathways = random_set(n_pathways=60)
    split = pathways.split(0.3)

    pairs, labels = split.sample_pairs(100, seed=0)

    positives, negatives = pairs[labels], pairs[~labels]
    assert len(positives) == 100
    assert len({tuple(pair) for pair in positives.tolist()}) == 100
    assert {tuple(pair) for pair in positives.tolist()} <= {tuple(pair) for pair in split.positives.tolist()}
    assert not {tuple(sorted(pair)) for pair in negatives.tolist()} & sharing(pathways)
    assert (negatives[:, 0] != negatives[:, 1]).all()
    # Shuffled partners: the same first genes and the same second genes, as often.
    assert len(negatives) == 100
    assert sorted(negatives[:, 0]) == sorted(positives[:, 0])
    assert sorted(negatives[:, 1]) == sorted(positives[:, 1])
    assert np.array_equal(pairs, split.sample_pairs(100, seed=0)[0])


def test_pairs_that_cannot_be_parted_give_no_negatives():
    # All genes of all pathways share one: no negative exists.
    split = new_set([2, 3, 4], [2], [3], [4]).split(0.25, seed=0)
    pairs, labels = split.sample_pairs(10)

    assert not (~labels).any()
    assert len(pairs) == len(split.positives)


@pytest.mark.parametrize(
    ("pathways", "share"),
    [(random_set(), 0.0), (random_set(), 1.0), (new_set([2, 3]), 0.5)],
    ids=["nothing", "everything", "one pathway"],
)
def test_splits_without_two_parts_are_refused(pathways, share):
    with pytest.raises(ValueError, match=r"share in \(0, 1\) and two pathways at least; got share=.* Hold out a share"):
        pathways.split(share)


@pytest.mark.parametrize("name", ["reactome_2016.gmt", "go_biological_process_2021.gmt"])
def test_real_files_are_covered(name, real_data):
    genes = real_data / "genes"
    vocabulary = GeneVocabulary.from_tsv(genes / "published_vocabulary.tsv.gz")

    pathways = PathwaySet.from_gmt(genes / name, vocabulary)

    assert pathways.report.n_found > 0.95 * pathways.report.n_named
    assert len(pathways) > 1000
    assert 10 <= pathways.sizes.min() <= pathways.sizes.max() <= 300
    index, genes = pathways.index(), torch.from_numpy(pathways.members[0].astype(np.int64))
    assert index.share(genes, genes).all()
    assert len(pathways.split(0.2).positives) > 10_000
