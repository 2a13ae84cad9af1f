"""Annotate by the nearest training cells on principal components."""

from anndata import AnnData
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from genemamba_sc.benchmark._columns import LABEL, column
from genemamba_sc.benchmark.methods._features import scaled_variable_genes
from genemamba_sc.benchmark.methods._outcome import Options, Outcome, clock
from genemamba_sc.benchmark.scores._metrics import n_neighbours

COMPONENTS = 50


def knn(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Let the nearest neighbours on 50 principal components of the variable genes vote: 15, fewer of few cells.

    Parameters
    ----------
    train, test
        Cells with types, and cells to annotate.
    seed
        Seed of the components.
    options
        Not used.
    """
    passed = clock()
    x, x_test = scaled_variable_genes(train, test)
    pca = PCA(min(COMPONENTS, *x.shape), random_state=seed).fit(x)
    k = n_neighbours(train.n_obs)
    model = KNeighborsClassifier(k).fit(pca.transform(x), column(train, LABEL))
    predicted = model.predict(pca.transform(x_test))
    settings = {"k": k, "components": int(pca.n_components_), "features": int(x.shape[1])}
    return Outcome(predicted, 0, settings, passed())
