"""The demo's model from scratch and from `mini`, on three splits: accuracy and macro-F1 on the held-out cells.

OMP_NUM_THREADS=1 python benchmarks/pretraining/demo_start.py
"""

import numpy as np
import scvi
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from genemamba_sc import GeneMambaModel
from genemamba_sc.benchmark import demo_cells

LABELS = "bulk_labels"
QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def score(start: str, split_seed: int) -> tuple[float, float]:
    adata = demo_cells()
    train, test = train_test_split(
        np.arange(adata.n_obs), test_size=0.2, stratify=adata.obs[LABELS], random_state=split_seed
    )
    reference, query = adata[train].copy(), adata[test].copy()
    truth = query.obs[LABELS].astype(str).to_numpy()
    scvi.settings.seed = 0
    GeneMambaModel.setup_anndata(reference, labels_key=LABELS)
    fresh = start == "scratch"
    model = GeneMambaModel(reference) if fresh else GeneMambaModel.from_pretrained(start, adata=reference)
    model.train(**QUIET)
    found = np.asarray(model.predict_celltype(query)).astype(str)
    return (found == truth).mean(), f1_score(truth, found, average="macro", labels=np.unique(truth))


def main() -> None:
    scvi.settings.progress_bar_style = None
    for split_seed in (0, 1, 2):
        for start in ("scratch", "mini"):
            accuracy, macro_f1 = score(start, split_seed)
            print(f"split {split_seed}\t{start}\t{accuracy:.3f}\t{macro_f1:.3f}", flush=True)


if __name__ == "__main__":
    main()
