"""Tables of genes: no larger than their model, and refused by name where they cannot be read."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from genemamba_sc import GeneVocabulary
from genemamba_sc.weights._folder import read_vocabulary

GENES = GeneVocabulary(("ENSG00000000001", "ENSG00000000002"), ("A", "B"), np.array([1.0, 2.0]), "human")


def test_a_table_that_expands_beyond_its_genes_is_refused_unread(tmp_path: Path):
    path = tmp_path / "vocabulary.tsv.gz"
    GENES.to_tsv(path)
    assert read_vocabulary(path, 2) == GENES
    path.write_bytes(gzip.compress(b"# " + b"x" * 50_000_000))
    tracemalloc.start()
    with pytest.raises(
        ValueError, match=r"A table of 2 genes has at most 66,560 bytes; .*tsv\.gz has more\. It is"
    ) as e:
        read_vocabulary(path, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(e.value)) < 400 and peak < 5_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip at all", r"is not a gzip file \(.*damaged\. Copy it again"),
        (gzip.compress(b"token_id\tensembl_id\n", mtime=0)[:-9], r"is not a gzip file \("),
        (gzip.compress(b"token_id\tensembl_id\n", mtime=0), r"holds no genes that can be read \(.*lacks"),
        (gzip.compress(b"\xff\xfe\x00", mtime=0), r"holds no genes that can be read \("),
        (gzip.compress(b"\t".join([b"y" * 60_000] * 1)), r"holds no genes that can be read \("),
    ],
    ids=["another kind", "half a file", "a column missing", "no text", "a long line"],
)
def test_a_table_that_cannot_be_read_is_named_in_few_words(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "vocabulary.tsv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_vocabulary(path, 2)
    assert len(str(caught.value)) < 500
