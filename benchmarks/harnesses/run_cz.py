"""Score an embedding with cz-benchmarks: tasks take arrays, not models.

pip install cz-benchmarks
python benchmarks/harnesses/run_cz.py /tmp/embedded.h5ad
"""

import sys
import warnings
from importlib.metadata import version

import anndata as ad
import numpy as np
from czbenchmarks.tasks import (
    BatchIntegrationTask,
    BatchIntegrationTaskInput,
    ClusteringTask,
    ClusteringTaskInput,
    EmbeddingTask,
    EmbeddingTaskInput,
    MetadataLabelPredictionTask,
    MetadataLabelPredictionTaskInput,
)


def main(path: str) -> None:
    warnings.simplefilter("ignore")
    adata = ad.read_h5ad(path)
    labels, batches = adata.obs["cell_type"].astype(str), adata.obs["batch"].astype(str)
    tasks = {
        "clustering": (ClusteringTask(), ClusteringTaskInput(obs=adata.obs, input_labels=labels)),
        "embedding": (EmbeddingTask(), EmbeddingTaskInput(input_labels=labels)),
        "labels": (MetadataLabelPredictionTask(), MetadataLabelPredictionTaskInput(labels=labels)),
        "batches": (BatchIntegrationTask(), BatchIntegrationTaskInput(labels=labels, batch_labels=batches)),
    }
    print(f"cz-benchmarks {version('cz-benchmarks')}, anndata {version('anndata')}, Python {sys.version.split()[0]}")
    print("| task | metric | X_emb | X_pca |\n|---|---|---|---|")
    for name, (task, given) in tasks.items():
        found = [
            task.run(cell_representation=np.asarray(adata.obsm[key]), task_input=given) for key in ("X_emb", "X_pca")
        ]
        for ours, theirs in zip(*found):
            label = f"{ours.metric_type.value} {ours.params or ''}".strip()
            print(f"| {name} | {label} | {ours.value:.3f} | {theirs.value:.3f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
