"""Say what published figures can mean and what they cannot."""

from genemamba_sc.benchmark.published._facts import Task

CAVEATS: dict[Task, tuple[str, ...]] = {
    "annotation": (
        "The best epoch was chosen on the test cells: the authors' summary takes the maximum over epochs, and there "
        "are no validation cells. Such a figure is an upper bound of what the method does on new cells.",
        "The authors' split is random within each type, 90 to 10, without a seed, so that cells of one donor are on "
        "both sides; it exists only in obs['partition'] of their processed files. The figures of the other methods "
        "look like those of another split (reference to query), which was not settled.",
        "No standard deviation of GeneMamba's figures was found.",
    ),
    "integration": (
        "The embedding was fine-tuned with the cell types of 90 % of the cells, and is scored by cell types on all of "
        "them. avg_bio is not comparable with methods that see no types, such as Harmony in the same table.",
        "avg_bio is the mean of NMI, ARI and ASW of types, avg_batch the mean of ASW of batches and graph "
        "connectivity, by a version of scib that is not stated.",
    ),
    "reconstruction": (
        "Copying solves it: tokens are predicted at the positions where the model reads them. Copying every token "
        "gives L-Dist 0; a copy shifted by one gives L-Dist 11, BLEU .992 to .998 and Spearman .98 to .99 of 10 "
        "cells. The figures say nothing about biology.",
    ),
}  # fmt: skip
