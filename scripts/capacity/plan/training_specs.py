"""The training of a run: its model, regime and hardware, refused here where they do not go together."""

import functools
import shutil

from capacity.artefacts.sources import model_modules
from capacity.artefacts.spec import Spec, make_spec
from capacity.artefacts.stages import OPTIMIZER_PACKAGES
from capacity.config.experiment import Config
from capacity.errors import UserError
from capacity.kernels.attention import MAX_CHANNELS, MAX_TOKENS
from capacity.models.architectures import parameter_count
from capacity.models.factories import imported_packages, source_digests
from capacity.models.spec import FactoryModel, ModelSettings, PaperModel
from capacity.plan.estimates import biography_tokens, training_steps, vocabulary
from capacity.plan.study_runs import Run, known
from capacity.plan.variant_specs import scheme_of
from capacity.quantization.spec import RoundToNearest
from capacity.rewriting.spec import DatasetSettings, read_dataset
from capacity.tokenizers.spec import read_tokenizer
from capacity.training.spec import Compile, Hardware, QuantizedTraining, TrainingRegime, TrainingSettings

MOST_PARAMETERS = 10**12
FUSED_FROM = 64  # tokens; on shorter rows the fused kernel is slower
CHUNKED_FROM = 2**26  # logits of a step on one device; with softmax and gradient they take a GB
COMPILE_PAYS_FROM = 2000  # steps; compiling costs a job about as much as it saves over so many steps


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
        hardware=_hardware(config, run, model, world, regime, V),
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


def _hardware(
    config: Config, run: Run, model: ModelSettings, dataset: DatasetSettings, regime: TrainingRegime, V: int
) -> Hardware:
    """The scale's hardware with every `auto` decided, once, here."""
    scale = known(config.scales, config.scale, "scale", "scales")
    if run.regime.batch % scale.devices:
        batch = f"regimes.{run.names['regime']}.batch: {run.regime.batch}"
        raise UserError(f"{batch} does not share out over devices: {scale.devices}; use a multiple")
    if scale.devices > 1 and run.model.experts:
        asked = f"scales.{config.scale}.devices: {scale.devices}"
        raise UserError(f"{asked}, but models.{run.names['model']} has experts, whose capacity is a batch's; use 1")
    if scale.compile == "reduce-overhead" and scale.accelerator == "cpu":
        raise UserError(f"scales.{config.scale}.compile: reduce-overhead, but a cpu has no CUDA graphs; use true")
    if scale.attention == "short" and not has_compiler():
        raise UserError(
            f"scales.{config.scale}.attention: short, but there is no C++ compiler; install g++ or use eager"
        )
    context = regime.context or biography_tokens(dataset)
    on_gpu = scale.accelerator == "gpu" and bool(run.model.architecture)
    loss, compiled = scale.loss, scale.compile
    if loss == "auto":
        large = run.regime.batch // scale.devices * context * V >= CHUNKED_FROM
        loss = "chunked" if on_gpu and large else "whole"
    if compiled == "auto":  # not every external model is one graph
        pays = bool(run.model.architecture) and training_steps(dataset, regime) >= COMPILE_PAYS_FROM
        compiled = pays and has_compiler()
    decided = {"loss": loss, "compile": compiled}
    if scale.attention == "auto":
        decided["attention"] = fastest_attention(model, scale.accelerator, context, compiled, regime.document_mask)
    return Hardware(**scale.model_dump() | decided)


def fastest_attention(
    model: ModelSettings, accelerator: str, context: int, compiled: Compile, document_mask: bool
) -> str:
    """The attention that `auto` stands for. context: T in tokens, where texts decide it an estimate."""
    if not isinstance(model, PaperModel):
        return "eager"
    if accelerator == "gpu":
        return "fused" if context >= FUSED_FROM else "eager"
    fits = context <= MAX_TOKENS and model.head_dim <= MAX_CHANNELS and not document_mask
    return "short" if compiled and fits else "eager"


@functools.cache
def has_compiler() -> bool:
    """Whether a C++ compiler that torch.compile can use on a CPU is on PATH."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
