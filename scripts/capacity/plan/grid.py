"""From a checked configuration to orders: every artefact of the selected studies, fully described."""

import functools
import itertools
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import model_modules
from capacity.artefacts.spec import Spec, make_spec
from capacity.artefacts.stages import REWRITER_PACKAGES
from capacity.config.claim import read_claims
from capacity.config.dataset import BioR
from capacity.config.experiment import Config
from capacity.config.load import check
from capacity.config.model import Model
from capacity.config.quantizer import Quantizer
from capacity.config.regime import Regime
from capacity.config.study import CROSSED, Study
from capacity.errors import UserError
from capacity.models.architectures import matrix_roles, mlp_width, parameter_count, sizes
from capacity.models.factories import source_digests
from capacity.models.spec import PaperModel
from capacity.plan.estimates import training_steps, vocabulary
from capacity.plan.extraction_specs import RunToAsk, specs_of
from capacity.plan.table_spec import table_spec
from capacity.plan.world_specs import counted, rewriting_spec, tokenizer_settings, world_spec
from capacity.quantization.spec import (
    Gptq,
    HalfPrecision,
    RoundToNearest,
    Scheme,
    Unquantized,
    VariantSet,
    check_tensors,
    scheme_slug,
)
from capacity.training.spec import Hardware, QuantizedTraining, TrainingRegime, TrainingSettings

MOST_RUNS = 100_000  # of all selected studies
MOST_PARAMETERS = 10**12
COMPILE_PAYS_FROM = 4000  # steps; compiling costs a job about as much as it saves over so many steps


@dataclass
class Grid:
    """All orders of the selected studies by name, in the order of the flow, and the two that are published."""

    specs: dict[str, Spec] = field(default_factory=dict)
    store: str | None = None
    scale: str = ""
    cpu_scales: list[str] = field(default_factory=list)  # names of scales that need no GPU
    studies: dict[str, dict[str, str]] = field(default_factory=dict)  # name -> what people are told of it
    table: Spec = field(init=False)
    figures: Spec = field(init=False)
    claims: Spec | None = None

    def add(self, spec: Spec) -> Spec:
        """Keep an order, or return the equal one that another study asked for."""
        return self.specs.setdefault(spec.name, spec)


@dataclass(frozen=True)
class Run:
    """One point of a study's grid: config names for the table, checked sections for the specs."""

    study: str
    names: dict[str, str]  # section -> config name
    dataset: Any
    tokenizer: Any
    model: Model
    regime: Regime
    seed: int
    setting: str  # what the study sweeps, for example "dataset.N=400"


def resolve(config: Config) -> Grid:
    """Every artefact that the selected studies need. Raises UserError for a name that is not there."""
    _check_number(config)
    on_cpu = [name for name, scale in config.scales.items() if scale.accelerator == "cpu"]
    grid = Grid(store=config.store, scale=config.scale, cpu_scales=on_cpu)
    rows = []
    for name in config.study:
        study = _known(config.studies, name, "study", "studies")
        schemes = {
            q: _known(config.quantizers, q, f"studies.{name}.quantizers", "quantizers") for q in study.quantizers
        }
        for run in itertools.chain.from_iterable(_runs(config, name, part) for part in study.parts()):
            rows += _add_run(grid, config, run, {q: _scheme(run, q, scheme) for q, scheme in schemes.items()})
    answers = {row.pop("answer_set") for row in rows if "answer_set" in row}
    grid.table = grid.add(table_spec(rows, config.table.resamples, answers, grid.specs))
    grid.studies = {name: config.studies[name].model_dump(include={"question", "paper"}) for name in config.study}
    settings: dict[str, Any] = {"display": config.display.model_dump(), "studies": config.study}
    grid.figures = grid.add(make_spec("figures", "capacity", settings, {"table": grid.table.name}))
    if config.claims:
        settings = {"claims": read_claims(Path(config.claims)), "scale": config.scale}
        grid.claims = grid.add(make_spec("claims", "capacity", settings, {"table": grid.table.name}))
    return grid


def _check_number(config: Config) -> None:
    """Refuse more runs than a plan can hold, before any of them is written out. Raises UserError."""
    runs = dict.fromkeys(config.study, 0)
    for name in config.study:
        for part in _known(config.studies, name, "study", "studies").parts():
            crossed = [*(getattr(part, key) for key in CROSSED), *part.vary.values()]
            rates = [config.regimes[label].lr for label in part.regimes or [] if label in config.regimes]
            tries = max((len(rate) for rate in rates if isinstance(rate, list)), default=1)
            runs[name] += tries * math.prod(map(len, crossed))
    total, largest = sum(runs.values()), max(runs, key=lambda name: runs[name])
    if total > MOST_RUNS:
        raise UserError(
            f"study: up to {total:,} runs, {runs[largest]:,} of them of {largest}; a plan has at most {MOST_RUNS:,}, "
            "shorten a list or a `vary`"
        )


def _known(section: dict[str, Any], name: str, asked_by: str, section_name: str) -> Any:
    if name not in section:
        raise UserError(f"{asked_by}: {name!r} is not in {section_name}; there are: {', '.join(section) or 'none'}")
    return section[name]


def _runs(config: Config, name: str, study: Study) -> list[Run]:
    """The crossed grid of one study, seeds innermost."""
    sections = {"dataset": "datasets", "tokenizer": "tokenizers", "model": "models", "regime": "regimes"}
    names = [
        [(n, _known(getattr(config, plural), n, f"studies.{name}.{plural}", plural)) for n in getattr(study, plural)]
        for plural in sections.values()
    ]
    for key, values in study.vary.items():
        if not values:
            raise UserError(f"studies.{name}.vary.{key}: an empty list; give at least one value")
    settings = list(itertools.product(*study.vary.values()))
    runs = []
    for point in itertools.product(*names):
        for setting in settings:
            changes = dict(zip(study.vary, setting, strict=True))
            parts = {
                section: _varied(part, section, changes, f"studies.{name}.vary")
                for section, (_, part) in zip(sections, point, strict=True)
            }
            parts["dataset"] = counted(parts["dataset"])
            labels = {section: label for section, (label, _) in zip(sections, point, strict=True)}
            text = " ".join(f"{key}={value}" for key, value in changes.items())
            for regime in _tries(parts.pop("regime")):
                runs += [
                    Run(name, labels, **parts, regime=regime, seed=seed, setting=text) for seed in study.seeds or []
                ]
    return runs


def _tries(regime: Regime) -> list[Regime]:
    """The regime at each of its learning rates."""
    rates = regime.lr if isinstance(regime.lr, list) else [regime.lr]
    return [regime.model_copy(update={"lr": rate}) for rate in rates]


def _varied(part: Any, section: str, changes: dict[str, Any], source: str) -> Any:
    """A section with the study's sweep values laid over it, checked again."""
    mine = [(key.split(".")[1:], value) for key, value in changes.items() if key.startswith(f"{section}.")]
    if not mine:
        return part
    raw = part.model_dump(exclude_unset=True)
    for path, value in mine:
        raw = _laid(raw, path, value)
    return check(type(part), raw, source)


def _laid(section: Any, path: list[str], value: Any) -> Any:
    """A section with one value, at a path of keys, replaced; what is no mapping on the way becomes one."""
    if not path:
        return value
    section = section if isinstance(section, dict) else {}
    return {**section, path[0]: _laid(section.get(path[0]), path[1:], value)}


def _add_run(grid: Grid, config: Config, run: Run, schemes: dict[str, Scheme]) -> list[dict[str, Any]]:
    """Add one run's artefacts; returns its table rows."""
    _check_packing(run)
    people, dataset = _add_dataset(grid, config, run)
    tokenizer = grid.add(
        make_spec(
            "tokenizers",
            f"{run.tokenizer.kind}-{_dataset_slug(run)}",
            tokenizer_settings(run.tokenizer),
            {"dataset": dataset.name},
        )
    )
    world = {"dataset": dataset.name, "tokenizer": tokenizer.name}
    training = TrainingSettings(
        model=run.model.to_settings(),
        regime=_regime(config, run),
        hardware=_hardware(config, run),
        seed=run.seed,
        files=source_digests(run.model.python) if run.model.python else {},
    )
    _check_size(run, dataset.settings, tokenizer.settings)
    slug = _run_slug(run)
    spec = functools.partial(make_spec, for_model=model_modules(training.model))
    checkpoint = grid.add(spec("checkpoints", slug, training, world))
    variant_of = {
        label: spec("variants", f"{slug}-{scheme_slug(scheme)}", scheme, _parents_of(scheme, checkpoint))
        for label, scheme in schemes.items()
    }
    # The set of the checkpoint's variants; each member is an artefact of its own, so that schemes are reused.
    parents = {role: name for variant in variant_of.values() for role, name in variant.parents.items()}
    variants = grid.add(spec("variants", slug, VariantSet(), parents, list(variant_of.values())))
    probes = grid.add(_probes(slug, config, run, variants, world, training.hardware.accelerator))
    ids = {"dataset_id": people.id, "tokenizer_id": tokenizer.id, "checkpoint_id": checkpoint.id}
    score_of = {str(score.parents["variant"]): score for score in probes.members}
    rows = []
    for label, variant in variant_of.items():
        member = {"variant_id": variant.id, "probe_id": score_of[variant.name].id, "probe_set": probes.name}
        law = {"zipf": run.regime.zipf} if run.regime.zipf else {}
        rows.append({**_row(run, label), **ids, **member, **law})
    _ask(grid, config, run, dataset, checkpoint, schemes, rows)
    return rows


def _check_size(run: Run, dataset: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    """Refuse a model that no machine holds. Raises UserError."""
    P = parameter_count(run.model.to_settings(), vocabulary(dataset, tokenizer))
    if P > MOST_PARAMETERS:
        raise UserError(
            f"models.{run.names['model']}: about {P:.3g} parameters on {run.names['dataset']}; "
            f"use at most {MOST_PARAMETERS:.0e}"
        )


def _check_packing(run: Run) -> None:
    """Refuse junk within windows where there are no windows. Raises UserError."""
    junk = getattr(run.dataset, "junk", None)
    if junk and junk.windows == "mixed" and run.regime.packing == "rows":
        raise UserError(
            f"datasets.{run.names['dataset']}.junk.windows: mixed with regimes.{run.names['regime']}.packing: rows; "
            "a row is one biography, use packing: windows"
        )


def _ask(
    grid: Grid, config: Config, run: Run, dataset: Spec, checkpoint: Spec, schemes: dict[str, Scheme], rows: list[dict]
) -> None:
    """Add the artefacts of the study's extraction, if it has one, and name them in the row of the checkpoint itself."""
    label = config.studies[run.study].extraction
    if label is None:
        return
    extraction = _known(config.extractions, label, f"studies.{run.study}.extraction", "extractions")
    plain = next((name for name, scheme in schemes.items() if isinstance(scheme, Unquantized)), None)
    if plain is None:
        named = ", ".join(schemes)
        raise UserError(
            f"studies.{run.study}.extraction: {label} with quantizers: {named}; it asks the checkpoint itself, "
            "add a quantizer with method: none"
        )
    asked = RunToAsk(
        run.study,
        label,
        extraction,
        run.names,
        dataset.settings,
        run.model.to_settings(),
        checkpoint,
        config.probe.draws,
    )
    specs, columns = specs_of(asked)
    for spec in specs:
        grid.add(spec)
    row = next(row for row in rows if row["scheme"] == plain)
    row |= {"answers": columns, "answer_set": specs[-1].name}


def _add_dataset(grid: Grid, config: Config, run: Run) -> tuple[Spec, Spec]:
    """A run's people, and what training reads: the same, or the texts that a rewriter told them in."""
    dataset, settings = run.dataset, world_spec(run.dataset, run.seed)
    if not isinstance(dataset, BioR):
        people = grid.add(make_spec("datasets", _dataset_slug(run), settings, {}))
        return people, people
    people = grid.add(make_spec("datasets", f"bioS-N{dataset.N}-s{run.seed}", settings, {}))
    scale = _known(config.scales, config.scale, "scale", "scales")
    settings = rewriting_spec(dataset, run.seed, scale)
    packages = REWRITER_PACKAGES.get(dataset.rewriter.kind, ())
    texts = make_spec("rewritings", _dataset_slug(run), settings, {"dataset": people.name}, packages=packages)
    return people, grid.add(texts)


def _regime(config: Config, run: Run) -> TrainingRegime:
    """The regime as training reads it, with the scheme that it rounds by in place of the scheme's name."""
    label, start = run.regime.quantizer, run.regime.quantize_from
    settings = run.regime.model_dump(exclude={"quantizer", "quantize_from"})
    if label is None:
        return TrainingRegime(**settings, quantization=None)
    key = f"regimes.{run.names['regime']}.quantizer"
    scheme = _scheme(run, label, _known(config.quantizers, label, key, "quantizers"))
    if not isinstance(scheme, RoundToNearest) or scheme.rest:
        raise UserError(f"{key}: {label}; training takes a scheme with method: rtn and rest: null")
    return TrainingRegime(**settings, quantization=QuantizedTraining(scheme=scheme, start=start))


def _scheme(run: Run, label: str, quantizer: Quantizer) -> Scheme:
    """A scheme as the quantiser reads it. Raises UserError where it fits no such model or dataset."""
    scheme = quantizer.to_settings(run.dataset.N, run.seed)
    if isinstance(scheme, Unquantized):
        return scheme
    if isinstance(scheme, Gptq) and scheme.calibration > run.dataset.N:
        raise UserError(
            f"quantizers.{label}.calibration: {scheme.calibration} biographies, but {run.names['dataset']} has "
            f"N: {run.dataset.N} people; use at most so many"
        )
    group = None if isinstance(scheme.numbers, HalfPrecision) else scheme.numbers.group
    model = run.model.to_settings()
    d = sizes(model)["d"]
    widths = {d} if d else set()  # of an external model the quantiser itself checks every layer
    if isinstance(model, PaperModel) and {"linear", "experts"} & set(scheme.tensors):
        widths |= {mlp_width(model)} - {0}
    if isinstance(group, int) and any(each % group for each in widths):
        raise UserError(
            f"quantizers.{label}.group: {group} does not divide the widths of {run.names['model']}, "
            f"{', '.join(map(str, sorted(widths)))}; use a divisor, row or tensor"
        )
    if isinstance(model, PaperModel):
        try:
            check_tensors(scheme, matrix_roles(model))
        except UserError as error:
            raise UserError(f"quantizers.{label} with models.{run.names['model']}: {error}") from None
    return scheme


def _parents_of(scheme: Scheme, checkpoint: Spec) -> dict[str, str | list[str]]:
    """What a variant is made from: the checkpoint, and the dataset where the scheme is calibrated on text."""
    parents: dict[str, str | list[str]] = {"checkpoint": checkpoint.name}
    return {**parents, "dataset": checkpoint.parents["dataset"]} if isinstance(scheme, Gptq) else parents


def _probes(slug: str, config: Config, run: Run, variants: Spec, world: dict[str, str], accelerator: str) -> Spec:
    """The set of scores of a checkpoint's variants, one member a variant."""
    settings = {"draws": config.probe.draws, "seed": run.seed, "accelerator": accelerator}
    spec = functools.partial(make_spec, for_model=variants.for_model)
    members = [
        spec("probes", variant.id.rsplit("-", 1)[0], settings, {**world, "variant": variant.name})
        for variant in variants.members
    ]
    return spec("probes", slug, settings, {**world, "variants": variants.name}, members)


def _run_slug(run: Run) -> str:
    return f"{run.model.label()}-{_dataset_slug(run, seed=False)}-e{run.regime.exposures}-s{run.seed}"


def _dataset_slug(run: Run, seed: bool = True) -> str:
    """Readable; the digest behind it tells datasets apart."""
    dataset = run.dataset
    options = {"simple": "paragraphs", "junk": "junk", "tag": "tag"}
    kind = "-".join([dataset.kind, *(name for name, key in options.items() if getattr(dataset, key, None))])
    return f"{kind}-N{dataset.N}" + (f"-s{run.seed}" if seed else "")


def _hardware(config: Config, run: Run) -> Hardware:
    """The scale's hardware with `compile: auto` decided, once, here."""
    scale = _known(config.scales, config.scale, "scale", "scales")
    if run.regime.batch % scale.devices:
        regime = f"regimes.{run.names['regime']}.batch: {run.regime.batch}"
        raise UserError(f"{regime} does not share out over devices: {scale.devices}; use a multiple")
    if scale.devices > 1 and run.model.experts:
        asked = f"scales.{config.scale}.devices: {scale.devices}"
        raise UserError(f"{asked}, but models.{run.names['model']} has experts, whose capacity is a batch's; use 1")
    compiled = _pays(run) and has_compiler() if scale.compile == "auto" else scale.compile
    return Hardware(**scale.model_dump(exclude={"compile"}), compile=compiled)


def _pays(run: Run) -> bool:
    if not run.model.architecture:
        return False  # not every external model is one graph
    return training_steps(run.dataset.model_dump(), run.regime.model_dump()) >= COMPILE_PAYS_FROM


@functools.cache
def has_compiler() -> bool:
    """Whether a C++ compiler that torch.compile can use on a CPU is on PATH."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def _row(run: Run, label: str) -> dict[str, Any]:
    """What the capacity table says of one variant before anything is measured."""
    model = run.model.to_settings()
    return {
        "study": run.study,
        "run": _run_slug(run),
        "setting": run.setting,
        **run.names,
        "kind": run.dataset.kind,
        "N": run.dataset.N,
        "exposures": run.regime.exposures,
        **sizes(model),
        "lr": run.regime.lr,
        "batch": run.regime.batch,
        "seed": run.seed,
        "scheme": label,
    }
