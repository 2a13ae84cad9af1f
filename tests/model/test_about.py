"""What a model says about itself, in a console and in a notebook."""

from collections.abc import Callable
from html.parser import HTMLParser

from anndata import AnnData

from genemamba_sc import GeneMambaModel

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]


class Table(HTMLParser):
    """Tags, and the texts between them as a reader sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def lines(model: GeneMambaModel) -> dict[str, str]:
    head, *rows = repr(model).splitlines()
    assert head == "GeneMambaModel"
    return {row[2:15].strip(): row[17:] for row in rows}


def test_a_model_that_is_not_trained_says_so(make_cells: Cells, capsys):
    cells = make_cells()
    GeneMambaModel.setup_anndata(cells)
    assert lines(GeneMambaModel(cells, d_model=16, max_len=30)) == {
        "genes": "40 (human)",
        "encoder": "1 layer(s), width 16, at most 30 genes of a cell",
        "weights": "not trained, from scratch",
        "cell types": "none",
        "batches": "none",
        "integrated": "no",
        "calibrated on": "no cells",
        "cells": "60",
    }
    assert capsys.readouterr().out == ""  # what is shown is returned, and not printed


def test_a_trained_model_names_types_batches_and_calibration(trained: GeneMambaModel, make_cells: Cells):
    told = lines(trained)
    assert told["weights"] == "trained from scratch, 2 epoch(s)"
    assert told["cell types"] == "3: B cell, T cell, monocyte" and told["batches"] == "2: first, second"
    assert told["integrated"] == "into 16 dimensions"
    assert told["calibrated on"].startswith("6 validation cells of the training")


def test_weights_without_cells_are_described(make_cells: Cells):
    told = lines(GeneMambaModel.from_pretrained("mini", accelerator="cpu"))
    assert told["weights"].startswith("pretrained, from mini") and told["cells"] == "none held"


def test_names_are_escaped_and_long_lists_cut(make_cells: Cells):
    cells = make_cells()
    cells.obs["kind"] = [f"<b>a & b</b> {i % 10}" if i % 10 else "x" * 100 for i in range(60)]
    GeneMambaModel.setup_anndata(cells, labels_key="kind")
    model = GeneMambaModel(cells, d_model=16)
    table = Table(model._repr_html_())
    assert set(table.tags) == {"table", "caption", "tr", "th", "td"}
    shown = dict(zip(table.texts[1::2], table.texts[2::2]))
    assert shown == lines(model)
    assert shown["cell types"].startswith("10: <b>a & b</b> 1, ") and shown["cell types"].endswith(", and 2 more")


def test_an_annotation_says_what_was_found(trained: GeneMambaModel, make_cells: Cells):
    found = trained.annotate(make_cells(), majority_voting="cell_type", reject_unknown=0.5, coverage=0.8)
    head, *rows = repr(found).splitlines()
    told = {row[2:14].strip(): row[14:] for row in rows}
    counts = found.cell_types.value_counts()
    n_unknown = int(counts["Unknown"])
    assert head == "Annotation"
    assert told["cells"] == "60" and told["embedding"] == "16 dimensions"
    assert told["cell types"] == f"{(counts > 0).sum()}: " + ", ".join(
        f"{name} ({n})" for name, n in counts.items() if n
    )
    assert told["confidence"] == f"median {found.confidence.median():.3f}, calibrated"
    assert told["unknown"] == f"{n_unknown} cells" and told["votes"] == "of 3 clusters (cell_type)"
    assert told["sets"] == f"of coverage 0.8; {(found.sets.sizes == 1).mean():.1%} hold one type"
    assert Table(found._repr_html_()).texts[0] == "Annotation"
