"""List the sets of the published tables, as far as they are documented; nothing here was seen by this package."""

from genemamba_sc.benchmark.published._facts import Part, PublishedSet, Size, Task

_SCGPT = "figshare 24954519 v1, file 43939560 (processed datasets of scGPT)"
# The copies that the authors of GeneMamba read, which alone have their random split.
OWN_LABELS, OWN_BATCH, OWN_SPLIT = "celltype", "batch", "partition"
_ANNOTATION: tuple[Task, ...] = ("annotation",)
_INTEGRATION: tuple[Task, ...] = ("integration",)


def _read(value: int) -> Size:
    return Size(value, "read")


def _told(value: int) -> Size:
    return Size(value, "told")


_SETS = (
    PublishedSet(
        name="hPancreas",
        parts=(Part("demo_train.h5ad", "reference"), Part("demo_test.h5ad", "query")),
        where="the repository of TOSICA",
        n_cells=_told(14_818), n_genes=_read(3_000), n_types=_told(14), n_batches=Size(),
        labels=("Celltype", OWN_LABELS), batch=(OWN_BATCH,), symbols=None,
        holds="log1p", holds_evidence="read",
        tasks=("annotation", "reconstruction"),
        notes=("The tables of rank reconstruction call a set Pancreas; whether it is this one was not found.",),
    ),
    PublishedSet(
        name="MS",
        parts=(
            Part("c_data.h5ad", "reference", _read(7_844)),
            Part("filtered_ms_adata.h5ad", "query", _read(13_468)),
        ),
        where=_SCGPT + ", Fig2_Annotation/ms-….zip",
        n_cells=_told(21_312), n_genes=_read(3_000), n_types=_told(18), n_batches=Size(),
        labels=("Factor Value[inferred cell type - authors labels]", OWN_LABELS), batch=(OWN_BATCH,),
        symbols="gene_name", holds="not counts", holds_evidence="read", tasks=_ANNOTATION,
        order_is_open=True,
        notes=("scGPT trains on c_data and tests on filtered_ms_adata; another public loader does the reverse.",),
    ),
    PublishedSet(
        name="Myeloid",
        parts=(
            Part("reference_adata.h5ad", "reference", _read(9_748)),
            Part("query_adata.h5ad", "query", _read(3_430)),
        ),
        where=_SCGPT + ", Fig2_Annotation/mye-….zip",
        n_cells=_told(13_178), n_genes=_read(3_000), n_types=_told(21), n_batches=Size(),
        labels=("cell_type", OWN_LABELS), batch=(OWN_BATCH,), symbols=None,
        holds=None, holds_evidence="not found", tasks=_ANNOTATION,
    ),
    PublishedSet(
        name="Myeloid_b",
        parts=(Part("myeloid_b_processed.h5ad"),),
        where="not found",
        n_cells=_told(9_926), n_genes=_told(3_000), n_types=_told(7), n_batches=Size(),
        labels=(OWN_LABELS, "cell_type"), batch=(OWN_BATCH,), symbols=None,
        holds=None, holds_evidence="not found", tasks=_ANNOTATION,
        notes=(
            "How this set was made from Myeloid is not documented anywhere that was found; it is called balanced.",
            "Its file name and its columns are guessed from those of the other processed files.",
        ),
    ),
    PublishedSet(
        name="PBMC12k",
        parts=(Part("pbmc12k.h5ad"),),
        where="scvi.data.pbmc_dataset",
        n_cells=_read(11_990), n_genes=_read(3_346), n_types=_told(9), n_batches=_told(2),
        labels=("str_labels", OWN_LABELS), batch=(OWN_BATCH,), symbols=None,
        holds="counts", holds_evidence="inferred", tasks=("integration", "reconstruction"),
        notes=(
            "The data come from a function and have no file of their own: write what it returns as h5ad.",
            "pbmc_10k.h5ad has the same cells with 19,099 genes and its types in obs['celltype'].",
        ),
    ),
    PublishedSet(
        name="Immune",
        parts=(Part("Immune_ALL_human.h5ad", n_bytes=_read(2_064_748_344)),),
        where="figshare file 25717328",
        n_cells=_told(32_484), n_genes=_told(12_303), n_types=_told(16), n_batches=_told(9),
        labels=("final_annotation", OWN_LABELS), batch=(OWN_BATCH,), symbols=None,
        holds="not counts", holds_evidence="read", counts_layer="counts",
        tasks=("integration", "reconstruction"),
    ),
    PublishedSet(
        name="BMMC",
        parts=(Part("GSE194122_openproblems_neurips2021_cite_BMMC_processed.h5ad"),),
        where=_SCGPT + ", Fig4_ABCD_Integration",
        n_cells=_told(90_261), n_genes=Size(13_953, "inferred"), n_types=_told(45), n_batches=_told(12),
        labels=("cell_type", OWN_LABELS), batch=(OWN_BATCH,), symbols=None,
        holds=None, holds_evidence="not found", tasks=_INTEGRATION,
        other_features=Size(134, "inferred"),
        notes=("The tables count 14,087 features: 13,953 genes and 134 antibody tags, which are left out here.",),
    ),
    PublishedSet(
        name="COVID-19",
        parts=(Part("covid_subsampled.h5ad"),),
        where=_SCGPT,
        n_cells=_told(20_000), n_genes=_told(1_200), n_types=_told(39), n_batches=_told(2),
        labels=("celltype",), batch=("batch",), symbols=None,
        holds="counts", holds_evidence="read", tasks=_INTEGRATION,
    ),
    PublishedSet(
        name="Perirhinal",
        parts=(Part("Perirhinal Cortex.h5ad"),),
        where=_SCGPT + "; cells of Siletti 2023",
        n_cells=_told(17_535), n_genes=_told(59_357), n_types=_told(10), n_batches=_told(2),
        labels=("cell_type", OWN_LABELS), batch=("sample_id", OWN_BATCH), symbols="Gene",
        holds="counts", holds_evidence="read", tasks=_INTEGRATION,
    ),
    PublishedSet(
        name="Zheng68k",
        parts=(Part("Zheng68K.h5ad"),),
        where="not found",
        n_cells=_told(68_579), n_genes=_told(32_738), n_types=Size(), n_batches=Size(),
        labels=("celltype", "cell_type"), batch=(OWN_BATCH,), symbols=None,
        holds=None, holds_evidence="not found", tasks=("annotation", "reconstruction"),
        notes=(
            "Its file name and its columns are guessed.",
            "The split of scBERT is 80/20; which cells are in it was not found.",
        ),
    ),
)  # fmt: skip

NAMES = tuple(facts.name for facts in _SETS)


def published_set(name: str) -> PublishedSet:
    """Return what is documented of a published set.

    Parameters
    ----------
    name
        Name of the set, such as ``"hPancreas"``; case does not matter.

    Raises
    ------
    ValueError
        If there is no such set.
    """
    for facts in _SETS:
        if facts.name.lower() == str(name).lower():
            return facts
    raise ValueError(f"name must be one of the published sets. Got {name!r}. Take one of {', '.join(NAMES)}.")
