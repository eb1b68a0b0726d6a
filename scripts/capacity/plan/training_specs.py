"""The training of a run: its model, regime and hardware, refused here where they do not go together."""

from capacity.artefacts.sources import model_modules
from capacity.artefacts.spec import Spec, make_spec
from capacity.artefacts.stages import OPTIMIZER_PACKAGES
from capacity.config.experiment import Config
from capacity.errors import UserError
from capacity.models.architectures import parameter_count
from capacity.models.factories import imported_packages, source_digests
from capacity.models.spec import FactoryModel
from capacity.plan.estimates import training_steps, vocabulary
from capacity.plan.study_runs import Run, known
from capacity.plan.variant_specs import scheme_of
from capacity.quantization.spec import RoundToNearest
from capacity.rewriting.spec import DatasetSettings, read_dataset
from capacity.tokenizers.spec import read_tokenizer
from capacity.training.spec import Hardware, QuantizedTraining, TrainingRegime, TrainingSettings

MOST_PARAMETERS = 10**12


def checkpoint_spec(config: Config, run: Run, dataset: Spec, tokenizer: Spec) -> Spec:
    """The checkpoint. Raises UserError for what cannot be trained."""
    _check_packing(run)
    _check_papers_model(config, run)
    world, regime, model = read_dataset(dataset.settings), _regime(config, run), run.model.to_settings()
    V = vocabulary(world, read_tokenizer(tokenizer.settings))
    P = parameter_count(model, V)
    _check_warm_up(run, world, regime)
    if P > MOST_PARAMETERS:
        raise UserError(
            f"models.{run.names['model']}: about {P:.3g} parameters on {run.names['dataset']}; "
            f"use at most {MOST_PARAMETERS:.0e}"
        )
    training = TrainingSettings(
        model=model,
        regime=regime,
        hardware=_hardware(config, run),
        seed=run.seed,
        files=source_digests(run.model.python) if run.model.python else {},
    )
    parents = {"dataset": dataset.name, "tokenizer": tokenizer.name}
    for_model, packages = model_modules(model), training_packages(training)
    return make_spec("checkpoints", run.slug, training, parents, for_model=for_model, packages=packages)


def training_packages(training: TrainingSettings) -> tuple[str, ...]:
    """What a training needs beside its stage's packages: of its optimizer, and what a model of one's own imports."""
    own = imported_packages(training.model.python) if isinstance(training.model, FactoryModel) else ()
    return (*OPTIMIZER_PACKAGES.get(training.regime.optimizer, ()), *own)


def _check_packing(run: Run) -> None:
    """Refuse junk within windows where there are no windows. Raises UserError."""
    junk = getattr(run.dataset, "junk", None)
    if junk and junk.windows == "mixed" and run.regime.packing == "rows":
        raise UserError(
            f"datasets.{run.names['dataset']}.junk.windows: mixed with regimes.{run.names['regime']}.packing: rows; "
            "a row is one biography, use packing: windows"
        )


def _check_warm_up(run: Run, dataset: DatasetSettings, regime: TrainingRegime) -> None:
    """Refuse a warm-up longer than a training whose steps are known before its texts are. Raises UserError."""
    steps = training_steps(dataset, regime)
    if regime.packing == "rows" and not getattr(dataset, "junk", None) and regime.warmup_steps > steps:
        raise UserError(
            f"regimes.{run.names['regime']}.warmup_steps: {regime.warmup_steps}, but trainings on "
            f"{run.names['dataset']} have {steps} steps; lower warmup_steps, make batches smaller or exposures more"
        )


def _check_papers_model(config: Config, run: Run) -> None:
    """Refuse what only models of the paper can do: others make their own mask and logits. Raises UserError."""
    scale = known(config.scales, config.scale, "scale", "scales")
    asked = {
        f"scales.{config.scale}.attention: {scale.attention}": scale.attention in ("fused", "short"),
        f"scales.{config.scale}.loss: chunked": scale.loss == "chunked",
        f"regimes.{run.names['regime']}.document_mask: true": run.regime.document_mask,
    }
    for what, wanted in asked.items():
        if wanted and not run.model.architecture:
            raise UserError(f"{what}, but models.{run.names['model']} is not of the paper; remove it")


def _regime(config: Config, run: Run) -> TrainingRegime:
    """The regime as training reads it, with the scheme that it rounds by in place of the scheme's name."""
    label, start = run.regime.quantizer, run.regime.quantize_from
    settings = run.regime.model_dump(exclude={"quantizer", "quantize_from"})
    if run.regime.optimizer == "schedule-free":
        settings["final_lr_fraction"] = 1.0
    if label is None:
        return TrainingRegime(**settings, quantization=None)
    key = f"regimes.{run.names['regime']}.quantizer"
    scheme = scheme_of(run, label, known(config.quantizers, label, key, "quantizers"))
    if not isinstance(scheme, RoundToNearest) or scheme.rest:
        raise UserError(f"{key}: {label}; training takes a scheme with method: rtn and rest: null")
    return TrainingRegime(**settings, quantization=QuantizedTraining(scheme=scheme, start=start))


def _hardware(config: Config, run: Run) -> Hardware:
    """The scale's hardware. Raises UserError where the run cannot use it."""
    scale = known(config.scales, config.scale, "scale", "scales")
    if run.regime.batch % scale.devices:
        batch = f"regimes.{run.names['regime']}.batch: {run.regime.batch}"
        raise UserError(f"{batch} does not share out over devices: {scale.devices}; use a multiple")
    if scale.devices > 1 and run.model.experts:
        asked = f"scales.{config.scale}.devices: {scale.devices}"
        raise UserError(f"{asked}, but models.{run.names['model']} has experts, whose capacity is a batch's; use 1")
    if scale.compile == "reduce-overhead" and scale.accelerator == "cpu":
        raise UserError(f"scales.{config.scale}.compile: reduce-overhead, but a cpu has no CUDA graphs; use true")
    return Hardware(**scale.model_dump())
