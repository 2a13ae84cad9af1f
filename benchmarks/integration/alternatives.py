"""Integrate the same embedding by gradients, beside the package's fit: adversary, MMD, contrast of mutual neighbours.

    R=benchmarks/integration/results
    OMP_NUM_THREADS=1 python benchmarks/integration/alternatives.py --out $R/alternatives.jsonl
    python benchmarks/integration/table.py $R/alternatives.jsonl

Each alternative trains a residual network that reads what the package's own fit reads, the encoder's embedding
(``genemamba_raw``) and the batch of a cell. Its loss is that of what is to be kept, the distances between cells of one
batch, plus a strength times that of what is to be mixed: how far the answers of a network that learns to tell the
batches are from even ones (adversary); the maximum mean discrepancy of the batches (mmd); or InfoNCE, in which mutual
neighbours of two batches attract each other and cells of one batch repel each other (contrast). Every strength is a
row, and the method is named after it: who takes the best of them chooses with the labels in sight.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from run import embedding, listed, load, said
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from rows import append_row, read_rows
from splits import BATCH, LABEL, column
from versions import commit, versions

from genemamba_sc.benchmark import clock, score

STEPS, PER_BATCH, MOST_BATCHES, HIDDEN, LR = 1500, 64, 8, 128, 1e-3
NEIGHBOURS, TEMPERATURE, JUDGED = 20, 0.1, 3
STRENGTHS = {
    "adversary": (0.0003, 0.003, 0.03, 0.3),
    "mmd": (0.0003, 0.003, 0.03, 0.3, 3.0),
    "contrast": (0.00003, 0.0003, 0.003, 0.03, 0.3),
}
UNCHANGED = ("genemamba_raw", "genemamba")

# The loss of what is to be mixed: from moved cells, their batches and their rows.
Mixing = Callable[[Tensor, Tensor, Tensor], Tensor]


class Residual(nn.Module):
    """Move an embedding by what a network of one hidden layer says of it and of the batch; it starts with nothing."""

    def __init__(self, width: int, n_batches: int) -> None:
        super().__init__()
        self.n_batches = n_batches
        self.net = nn.Sequential(nn.Linear(width + n_batches, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, width))
        nn.init.zeros_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    def forward(self, x: Tensor, batches: Tensor) -> Tensor:
        """Return the moved cells."""
        return x + self.net(torch.cat([x, F.one_hot(batches, self.n_batches).to(x.dtype)], dim=1))


def kept(x: Tensor, moved: Tensor, batches: Tensor) -> Tensor:
    """Mean squared change of the distances between cells of one batch; the mean distance of the embedding is 1."""
    same = (batches[:, None] == batches).triu(1)
    return (torch.cdist(moved, moved)[same] - torch.cdist(x, x)[same]).square().mean()


def adversary(width: int, n_batches: int) -> Mixing:
    """Cross-entropy of a network that tells the batches, and of even answers with what it answers.

    A reversed gradient would drive the cells beyond the border between two batches, to the side of the wrong one.
    """
    judge = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, n_batches))
    learned = torch.optim.Adam(judge.parameters(), lr=LR)

    def loss(moved: Tensor, batches: Tensor, rows: Tensor) -> Tensor:
        for _ in range(JUDGED):
            learned.zero_grad()
            F.cross_entropy(judge(moved.detach()), batches).backward()
            learned.step()
        fixed = {name: weight.detach() for name, weight in judge.named_parameters()}
        answers = torch.func.functional_call(judge, fixed, (moved,)).log_softmax(dim=1)
        return -answers[:, batches.unique()].mean()

    return loss


def discrepancy(moved: Tensor, batches: Tensor, rows: Tensor) -> Tensor:
    """Squared maximum mean discrepancy (biased) of pairs of batches: five Gaussian kernels around the mean square."""
    squares = torch.cdist(moved, moved).square()
    kernel = sum(torch.exp(-squares / (squares.detach().mean() * width)) for width in (0.1, 0.3, 1.0, 3.0, 10.0))
    of = F.one_hot(batches).to(moved.dtype)
    of = of[:, of.sum(dim=0) > 0]
    mean = (of / of.sum(dim=0)).T @ kernel @ (of / of.sum(dim=0))
    own = mean.diagonal()
    return (own[:, None] + own - 2 * mean).triu(1).sum() / max(1, len(own) * (len(own) - 1) / 2)


def mutual_pairs(x: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Pairs of rows that are among the nearest of each other's batch, the means of the batches taken off, (n, 2)."""
    x = x.copy()
    for batch in np.unique(batches):
        x[batches == batch] -= x[batches == batch].mean(axis=0)
    found = []
    for one in np.unique(batches):
        for other in np.unique(batches)[np.unique(batches) > one]:
            left, right = np.flatnonzero(batches == one), np.flatnonzero(batches == other)
            ways = []
            for asked, among in ((left, right), (right, left)):
                nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(among))).fit(x[among])
                ways.append(nearest.kneighbors_graph(x[asked]))
            i, j = ways[0].multiply(ways[1].T).nonzero()
            found.append(np.stack([left[i], right[j]], axis=1))
    return np.concatenate(found)


def contrast(x: np.ndarray, batches: np.ndarray) -> Mixing:
    """InfoNCE of mutual neighbours in the draw; the others of a cell's own batch are what it is told from."""
    pairs = torch.zeros(len(x), len(x), dtype=torch.bool)
    i, j = torch.from_numpy(mutual_pairs(x, batches)).T
    pairs[i, j] = pairs[j, i] = True

    def loss(moved: Tensor, batches: Tensor, rows: Tensor) -> Tensor:
        unit = F.normalize(moved - moved.mean(dim=0), dim=1)
        likeness = unit @ unit.T / TEMPERATURE
        partner = pairs[rows][:, rows]
        # A cell that is drawn twice is not told from itself.
        own = (batches[:, None] == batches) & (rows[:, None] != rows)
        told = torch.logaddexp(likeness, likeness.masked_fill(~own, -torch.inf).logsumexp(dim=1, keepdim=True))
        return (told - likeness)[partner].mean() if partner.any() else moved.sum() * 0

    return loss


def integrated(x: np.ndarray, batches: np.ndarray, method: str, strength: float, seed: int) -> np.ndarray:
    """Train, and move all cells."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x = x - x.mean(axis=0)
    drawn = x[rng.permutation(len(x))[:1000]]
    x = (x / np.linalg.norm(drawn[:, None] - drawn, axis=2).mean()).astype(np.float32)
    codes = np.unique(batches, return_inverse=True)[1]
    n_batches = int(codes.max()) + 1
    net = Residual(x.shape[1], n_batches)
    if method == "adversary":
        mixing = adversary(x.shape[1], n_batches)
    else:
        mixing = discrepancy if method == "mmd" else contrast(x, codes)
    optimiser = torch.optim.Adam(net.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    cells, of = torch.from_numpy(x), torch.from_numpy(codes)
    members = [np.flatnonzero(codes == code) for code in range(n_batches)]
    for _ in range(STEPS):
        chosen = rng.permutation(n_batches)[:MOST_BATCHES]
        rows = torch.from_numpy(np.concatenate([rng.choice(members[code], PER_BATCH) for code in chosen]))
        moved = net(cells[rows], of[rows])
        loss = kept(cells[rows], moved, of[rows]) + strength * mixing(moved, of[rows], rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.inference_mode():
        return net(cells, of).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=listed, default=["cell_lines", "pbmc_chemistries", "immune_3studies"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "genemamba_integration")
    options = parser.parse_args()
    done = {(row["set"], row["method"], row["seed"]) for row in read_rows(options.out)}
    settings = [(name, None) for name in UNCHANGED]
    settings += [(name, strength) for name, strengths in STRENGTHS.items() for strength in strengths]
    for name in options.sets:
        adata = load(name)
        labels, batches = column(adata, LABEL), column(adata, BATCH)
        cache = options.cache / commit() / name
        raw, started = embedding(adata, "genemamba_raw", options.seed, cache)
        for method, strength in settings:
            title = method if strength is None else f"{method} {strength:g}"
            if (name, title, options.seed) in done:
                continue
            if strength is None:
                x, seconds = embedding(adata, method, options.seed, cache)
            else:
                passed = clock()
                x = integrated(raw, batches, method, strength, options.seed)
                seconds = started + passed()
            row = {"set": name, "method": title, "seed": options.seed, "scored_on": "all", "seconds": seconds}
            row |= {"n_obs": adata.n_obs, "n_scored": adata.n_obs, "width": x.shape[1]}
            row |= score(x, labels, batches) | {"versions": versions(("scib-metrics",))}
            append_row(options.out, row)
            print(said(row), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
