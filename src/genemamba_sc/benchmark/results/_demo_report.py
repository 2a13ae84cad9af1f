"""What a demo run tells: how each method did, who is ahead and by how much, and what to do next."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from sklearn.metrics import f1_score

_NEXT = """next, with cells of yours:
  genemamba annotate --reference REF.h5ad --labels-key cell_type QUERY.h5ad OUT.h5ad
  genemamba embed CELLS.h5ad OUT.h5ad --pretrained mini     without any training
  genemamba integrate STUDIES.h5ad OUT.h5ad --batch-key study
  genemamba benchmark CELLS.h5ad --labels-key cell_type --out RESULTS     which method is best on them
  in Python: tutorials/ of the repository; when another method serves better: docs/which_method.md there"""


@dataclass(frozen=True, eq=False)
class Score:
    """Tell how one method did on the held-out cells.

    Parameters
    ----------
    method
        Name of the method.
    right
        Which cells it named right.
    macro_f1
        Mean F1 of the types, in [0, 1].
    seconds
        Time taken, training included.
    """

    method: str
    right: Bool[np.ndarray, "n"]
    macro_f1: float
    seconds: float

    @classmethod
    def of(cls, method: str, truth: np.ndarray, predicted: np.ndarray, seconds: float) -> "Score":
        """Compare a prediction with the truth; the mean F1 is that of the types that occur.

        Parameters
        ----------
        method, seconds
            As in the class.
        truth, predicted
            Types of the held-out cells, as text.
        """
        macro_f1 = f1_score(truth, predicted, average="macro", labels=np.unique(truth))
        return cls(method, truth == predicted, float(macro_f1), seconds)

    @property
    def accuracy(self) -> float:
        """Share of the cells that were named right."""
        return float(self.right.mean())


@dataclass(frozen=True)
class DemoReport:
    """Hold scores and files of a demo run, which prints as a table with a plain sentence.

    Parameters
    ----------
    scores
        Those of GeneMamba first, then of the others.
    n_train
        Number of cells to learn from.
    labels
        Where the types are from.
    remarks
        Further results, a line each.
    files
        What was written.
    loaded
        Whether the model was loaded instead of trained.
    """

    scores: list[Score]
    n_train: int
    labels: str
    remarks: list[str]
    files: list[Path]
    loaded: bool

    def __str__(self) -> str:
        n_test = len(self.scores[0].right)
        lines = [f"{self.n_train} cells to train on, {n_test} held out, {self.labels}", ""]
        if self.loaded:
            lines.append("the model was loaded: it has seen the held-out cells unless it was trained with this --seed")
        lines.append(f"{'method':<28}{'accuracy':>10}{'macro-F1':>10}{'seconds':>9}")
        lines += [f"{s.method:<28}{s.accuracy:>10.3f}{s.macro_f1:>10.3f}{s.seconds:>9.1f}" for s in self.scores]
        lines += ["", standing(self.scores), "", *self.remarks, "", "written:", *(f"  {path}" for path in self.files)]
        return "\n".join([*lines, "", _NEXT])


def standing(scores: list[Score]) -> str:
    """Say in a sentence who is ahead in accuracy, and whether so few cells can tell.

    Parameters
    ----------
    scores
        Those of GeneMamba first, then of the others, on the same cells.
    """
    ours, best = scores[0], max(scores[1:], key=lambda score: score.accuracy)
    gain = ours.right.astype(float) - best.right
    points, error = 100 * gain.mean(), 100 * gain.std(ddof=1) / np.sqrt(len(gain))
    size = f"{abs(points):.1f} points of accuracy (standard error {error:.1f}, {len(gain)} cells)"
    if abs(points) <= 2 * error:
        side = "level with" if not round(points, 1) else "above" if points > 0 else "below"
        return f"{ours.method} is {side} {best.method}, by {size}: too few cells to tell them apart."
    ahead, behind = (ours, best) if points > 0 else (best, ours)
    return f"{ahead.method} is ahead of {behind.method}, by {size}."
