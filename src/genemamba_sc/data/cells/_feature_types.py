"""Tell which columns of a matrix are gene expression, and which count something else: antibodies, peaks, controls."""

import re
from collections import Counter

import numpy as np
import pandas as pd
from jaxtyping import Bool

from genemamba_sc.data.cells._gene_columns import names_of, only_column

# Columns in which files of 10x (read by scanpy), MuData and Seurat say what a row counts, and what they call genes.
_COLUMNS = ("feature_types", "feature_type", "modality")
_EXPRESSION = frozenset({"gene expression", "gene", "genes", "rna", "gex"})
# Names of controls, spike-ins and peaks; no gene has such a name.
_CONTROLS = re.compile(
    r"NegControl(Probe|Codeword)_.+|NegPrb\d+|Negative\d+|SystemControl\d+|[Bb][Ll][Aa][Nn][Kk][-_]\d+|antisense_.+"
    r"|(Unassigned|Deprecated)Codeword_.+|Intergenic_Region_.+|ERCC-\d{5}|(chr)?(\d{1,2}|[XYM]|MT)[:-]\d+-\d+"
)

_KINDS_OF_CONTROLS = "control probes, spike-ins or peaks"


def is_control(name: str) -> bool:
    """Tell whether a name is that of a control probe, a spike-in or a peak.

    Parameters
    ----------
    name
        Name of a column.
    """
    return _CONTROLS.fullmatch(name) is not None


def other_features(var: pd.DataFrame) -> tuple[Bool[np.ndarray, "n_vars"], dict[str, int]]:
    """Find the columns that are not gene expression.

    A column of ``var`` that says what a row counts is believed (``feature_types`` of 10x files). Control probes,
    spike-ins and peaks are recognised by their names, too: Cell Ranger calls spike-ins gene expression.

    Parameters
    ----------
    var
        ``adata.var``, ``n_vars`` rows.

    Returns
    -------
    A mask, True where a column is something else, shape ``(n_vars,)``; and how many there are of each kind.

    Raises
    ------
    ValueError
        If no column is gene expression, or ``var`` has two columns of a name that tells.
    """
    controls = np.array([is_control(name) for name in names_of(var)], dtype=bool)
    for key in _COLUMNS:
        if key in var.columns:
            kinds = np.array([str(kind).strip() for kind in only_column(var, key)], dtype=object)
            known = np.array([kind.lower() in _EXPRESSION for kind in kinds], dtype=bool)
            missing = np.array([kind.lower() in ("", "nan", "none", "<na>") for kind in kinds], dtype=bool)
            other = ~known & ~missing
            # A column of the same name may mean something else: if it does not name a single gene, only all of 10x's
            # words for other things are believed.
            if known.any() or _is_10x(kinds):
                by_name = controls & ~other
                counts = Counter(kinds[other].tolist()) + Counter({_KINDS_OF_CONTROLS: int(by_name.sum())})
                return _checked(other | by_name, counts, key)
    return _checked(controls, Counter({_KINDS_OF_CONTROLS: int(controls.sum())}), "var_names")


def _is_10x(kinds: np.ndarray) -> bool:
    words = {"antibody capture", "peaks", "crispr guide capture", "multiplexing capture", "custom", "antigen capture"}
    return len(kinds) > 0 and {kind.lower() for kind in kinds} <= words


def _checked(
    other: Bool[np.ndarray, "n_vars"], counts: "Counter[str]", source: str
) -> tuple[Bool[np.ndarray, "n_vars"], dict[str, int]]:
    if len(other) and other.all():
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in counts.items())
        raise ValueError(
            f"Tokens are made of gene expression; {source} of adata.var tells of none ({kinds}). Pass the gene counts: "
            "of a 10x file, sc.read_10x_h5(path, gex_only=True); of a MuData, its 'rna' modality."
        )
    return other, {kind: n for kind, n in counts.items() if n}
