"""Define the model that users hold."""

import math
from typing import Any, get_args

# scvi-tools prints a registry with rich.pretty and leaves it to others to import it.
import rich.pretty  # noqa: F401
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.model.base import BaseModelClass

from genemamba_sc._checks import GeneInit, whole_number
from genemamba_sc._constants import VOCABULARY_KEY
from genemamba_sc.confidence import Calibration
from genemamba_sc.data import GeneAliases, GeneVocabulary, Scale
from genemamba_sc.integration import Integration
from genemamba_sc.model._inherited import InheritedMixin
from genemamba_sc.model._integration import check_table, fit_model, integration_config, warn_if_integration_ends
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model._progress import names_compilation
from genemamba_sc.model.annotation._calibrating import calibration_before_refit, cells_not_learned
from genemamba_sc.model.annotation._predictions import PredictionMixin
from genemamba_sc.model.fitting._plan import GeneMambaPlan, chooses_split, default_max_epochs
from genemamba_sc.model.fitting._refit import calibration_after_refit, refit_markers, wants_refit
from genemamba_sc.model.fitting._splitter import TokenDataSplitter
from genemamba_sc.model.fitting._train_arguments import (
    check_monitors,
    check_split,
    check_splitter,
    check_stopping,
    check_trainer,
)
from genemamba_sc.model.fitting._training import cells_to_train, new_runner, plan_config, run, set_start, split_cells
from genemamba_sc.model.registration._fields import GenesField
from genemamba_sc.model.registration._setup import check_encoder_config, check_registered, obs_fields
from genemamba_sc.model.storage._pretrained import PretrainedMixin
from genemamba_sc.model.storage._storage import StorageMixin
from genemamba_sc.nn import EncoderConfig


class GeneMambaModel(PredictionMixin, StorageMixin, PretrainedMixin, InheritedMixin, BaseModelClass):
    """Encode cells with a bidirectional Mamba over their genes, ranked by normalised expression.

    Parameters
    ----------
    adata
        AnnData registered by :meth:`setup_anndata`.
    registry
        Registry of a saved model, when there is no AnnData.
    d_model
        Width of the gene table and of the cell embedding.
    n_layer
        Bidirectional Mamba-2 layers; 0 leaves the bag of tokens.
    max_len
        Largest number of genes read per cell: the highest-ranked ones. All of them are pooled.
    context_len
        Number of these genes that the layers read.
    token_dropout
        Share of the genes that training leaves out at random.
    gene_init
        ``"spectral"`` starts the gene table from a truncated SVD of the training cells, ``"denoised"`` shrinks that to
        what one half of a cell's genes tells about the other. ``"random"`` keeps the normal noise of standard deviation
        ``d_model**-0.5`` that the table is built with; training then fits the table too, which it holds fixed otherwise
        (see ``table_lr`` of the plan). Pretrained weights keep the table that they come with.
    encoder_config
        All choices of the encoder at once; then ``d_model``, ``n_layer``, ``context_len`` and ``token_dropout`` are not
        read.

    Examples
    --------
    >>> gm.GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    >>> model = gm.GeneMambaModel(adata)
    >>> model.train(enable_progress_bar=False)
    >>> adata.obsm["X_genemamba"] = model.get_latent_representation()
    >>> adata.obs["predicted"] = model.predict_celltype()

    Notes
    -----
    Queries are read by their gene names alone: they may have fewer, more, shuffled or unknown genes, no labels
    and new batches, and need no setup.
    """

    _module_cls = GeneMambaModule
    _training_plan_cls = GeneMambaPlan
    _data_splitter_cls = TokenDataSplitter

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        d_model: int = 64,
        n_layer: int = 1,
        max_len: int = 2048,
        context_len: int = 128,
        token_dropout: float = 0.3,
        gene_init: GeneInit = "spectral",
        encoder_config: EncoderConfig | None = None,
    ) -> None:
        check_registered(adata, registry)
        super().__init__(adata, registry)
        if gene_init not in get_args(GeneInit):
            raise ValueError(f"gene_init must be one of {get_args(GeneInit)}. Got {gene_init!r}. Choose one of them.")
        state = self.registry_["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"]
        self._vocabulary = GeneVocabulary.from_dict(state[VOCABULARY_KEY])
        if encoder_config is None:
            encoder_config = EncoderConfig(
                vocab_size=self._vocabulary.size,
                d_model=d_model,
                n_layer=n_layer,
                headdim=math.gcd(d_model, 64) if isinstance(d_model, int) else 64,
                context_len=context_len,
                token_dropout=token_dropout,
            )
        check_encoder_config(encoder_config, self._vocabulary.size)
        self.max_len_ = whole_number("max_len", max_len, 1)
        self.gene_init_ = gene_init
        self.gene_aliases: GeneAliases | None = None
        self.integration_: Integration | None = None
        self.calibration_: Calibration | None = None
        self.module = self._module_cls(encoder_config, n_labels=len(self.cell_types))
        self._model_summary_string = (
            f"GeneMambaModel: {self._vocabulary.n_genes} genes, {encoder_config.n_layer} layer(s), d_model "
            f"{encoder_config.d_model}, max_len {self.max_len_}, {len(self.cell_types)} cell types"
        )
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ setup

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        unlabeled_category: str | int | None = None,
        gene_id_key: str | None = None,
        vocabulary: GeneVocabulary | None = None,
        scale: Scale | None = None,
        **kwargs: Any,
    ) -> None:
        """Register the AnnData to train on.

        Parameters
        ----------
        adata
            Cells × genes; in memory or backed, sparse or dense. Counts, size-factor-normalised or log1p values.
        layer
            Layer with the expression; ``None`` reads ``adata.X``.
        batch_key
            Column of ``adata.obs`` with the batch of each cell.
        labels_key
            Column of ``adata.obs`` with the cell types; ``None`` trains without labels.
        unlabeled_category
            The value in that column that means "no label": cells marked this way count as unlabelled.
        gene_id_key
            Column of ``adata.var`` with the gene ids; ``None`` reads ``adata.var_names``.
        vocabulary
            The genes and their medians; ``None`` builds them from ``adata``.
        scale
            What the values are: ``"counts"``; ``"normalised"`` (CP10k, CPM, TPM, corrected counts); ``"log1p"``,
            ``"log2"`` or ``"log10"`` of one plus such values. ``None`` detects it; ``model.expression`` says what was
            found.
        **kwargs
            Passed to :meth:`scvi.data.AnnDataManager.register_fields`.

        Raises
        ------
        ValueError
            If values cannot be ranked (scaled, negative, NaN, all zero, on different scales), a layer or column is
            missing, labels are missing or of one class, or no gene matches the vocabulary.
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        setup_method_args["setup_args"].pop("vocabulary")  # it stands in the registry of the genes
        new = "source_registry" not in kwargs
        genes = GenesField(layer, gene_id_key, vocabulary, scale)
        fields = [genes, *obs_fields(adata, batch_key, labels_key, unlabeled_category, new=new)]
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    # --------------------------------------------------------------- training

    @names_compilation
    def train(
        self,
        max_epochs: int | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        train_size: float | None = None,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,
        batch_size: int = 32,
        early_stopping: bool = True,
        early_stopping_patience: int = 10,
        refit: bool | None = None,
        integrate: bool | None = None,
        integration_kwargs: dict[str, Any] | None = None,
        datasplitter_kwargs: dict[str, Any] | None = None,
        plan_kwargs: dict[str, Any] | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        """Train on the registered AnnData: masked gene modelling, and classification where labels are registered.

        Parameters
        ----------
        max_epochs
            Number of passes over the training cells; ``None`` chooses it by their number. 0 only initialises the gene
            table and, where labels are registered, fits marker genes and gene programs.
        accelerator, devices
            As in Lightning; ``"auto"`` takes a GPU where there is one.
        train_size, validation_size, shuffle_set_split
            The split, as in :class:`scvi.dataloaders.DataSplitter`. ``train_size`` defaults to 0.9, or to 1, without
            validation, where a type has fewer than five labelled cells and can spare none. ``external_indexing`` takes
            the place of both sizes.
        batch_size
            Number of cells per step.
        early_stopping
            Whether to stop when ``validation_loss`` no longer falls, and to return to the weights of the epoch where it
            was lowest. It has no effect where no cell validates. ``early_stopping_monitor`` names another metric;
            of ``"validation_accuracy"`` the largest value counts, unless ``early_stopping_mode`` says ``"min"``.
        early_stopping_patience
            Number of epochs without improvement before training stops.
        refit
            Whether, when training has ended, marker genes and gene programs are fitted again with the labels of the
            validation cells, whose part in choosing the epoch is then over. ``None`` does it where ``train`` chose the
            split: where neither ``train_size`` nor ``validation_size`` nor ``external_indexing`` was given. Accuracy on
            validation cells is then no estimate of that on new cells; set other cells aside for one. Where it adds a
            type that no training cell has, the model is not calibrated, with a warning.
        integrate
            Whether the embedding is integrated over batches; ``None`` does it where ``setup_anndata`` was given a
            ``batch_key`` with at least two batches. Cells of different batches that are each other's nearest
            neighbours then choose the axes of the embedding and the offsets of the batches; labels, where registered,
            say which cells may be neighbours. Predictions of cell types do not change.
        integration_kwargs
            Fields of :class:`genemamba_sc.IntegrationConfig`.
        datasplitter_kwargs
            ``external_indexing``: a list of training, validation and test cells, as row numbers or masks, of which the
            last two may be left out; every cell is in one of them.
        plan_kwargs
            Fields of :class:`genemamba_sc.model.fitting._plan.PlanConfig`.
        **trainer_kwargs
            Passed to :class:`scvi.train.Trainer`.

        Raises
        ------
        ValueError
            If the model has no AnnData, an argument is out of range, or there is no such device.
        TypeError
            If an argument is unknown.
        KeyboardInterrupt
            If the user stops it. Once the epochs have begun, what was learned is kept and the model can predict; it is
            not integrated, which ``train(max_epochs=0)`` does then.
        """
        config = plan_config(self, plan_kwargs)
        check_trainer(trainer_kwargs, accelerator, devices)
        check_monitors(trainer_kwargs, self.module, config)
        check_stopping(early_stopping, early_stopping_patience)
        further = {"batch_size": batch_size, **check_splitter(datasplitter_kwargs, self._data_splitter_cls)}
        check_split(train_size, validation_size, shuffle_set_split, further)
        if max_epochs is not None:
            max_epochs = whole_number("max_epochs", max_epochs, 0)
        dataset = cells_to_train(self)
        integration = integration_config(integrate, integration_kwargs, dataset.columns)
        splitter = split_cells(self, dataset, train_size, validation_size, shuffle_set_split, further)
        # Without labels the table is for the embedding alone; with them it also serves the prediction of cell types.
        within_batches = integration is not None and not self.cell_types
        learns_types = bool(self.cell_types) and config.classification_weight > 0
        chooses = chooses_split(train_size, validation_size, further)
        refits = wants_refit(refit, splitter, learns_types=learns_types, chooses_split=chooses)
        check_table(self, within_batches=within_batches)
        warn_if_integration_ends(self, integration)
        # Neither holds of what is fitted from here on, whatever becomes of the training.
        self.integration_, self.calibration_ = None, None
        show = bool(trainer_kwargs.get("enable_progress_bar", True))
        start = set_start(self, dataset, splitter, config, within_batches=within_batches, show=show)
        if max_epochs is None:
            max_epochs = default_max_epochs(splitter.n_train, learns_types=start is not None)
        stops_early = early_stopping and splitter.n_val > 0
        runner = new_runner(
            self,
            splitter.with_columns({} if start is None else {"gene_scores": start.scores}),
            config,
            max_epochs=max_epochs,
            accelerator=accelerator,
            devices=devices,
            early_stopping=stops_early,
            **{"early_stopping_patience": early_stopping_patience, **trainer_kwargs},
        )
        unseen = cells_not_learned(self, splitter, max_epochs)
        run(self, runner)
        # The refit reads the validation cells, too; these tell how sure the model is before that.
        self.calibration_ = None if start is None else calibration_before_refit(self, splitter, unseen)
        if refits:
            refit_markers(self, splitter, start)
            self.calibration_ = calibration_after_refit(self, splitter, self.calibration_)
        if integration is not None:
            self.integration_ = fit_model(self, integration, required=bool(integrate))
