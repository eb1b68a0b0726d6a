"""From a checked configuration to specs: every artefact of the selected studies, fully described."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from capacity.artefacts.spec import Spec, make_spec
from capacity.config.claim import read_claims
from capacity.config.experiment import Config
from capacity.errors import UserError
from capacity.plan.extraction_specs import run_to_ask, specs_of
from capacity.plan.probe_specs import probes_spec
from capacity.plan.study_runs import Run, check_number, known, runs_of
from capacity.plan.table_spec import row_of, table_spec
from capacity.plan.training_specs import checkpoint_spec
from capacity.plan.variant_specs import scheme_of, variants_spec
from capacity.plan.world_specs import dataset_specs, tokenizer_spec
from capacity.quantization.spec import Scheme


@dataclass
class Grid:
    """All specs of the selected studies by name, in the order of the flow, and those that are published."""

    specs: dict[str, Spec] = field(default_factory=dict)
    store: str | None = None
    gpu_share: int | Literal["auto"] = 1  # trainings on one GPU
    loggers: list[str] = field(default_factory=list)  # of Lightning, that trainings use
    scale: str = ""
    cpu_scales: list[str] = field(default_factory=list)  # names of scales that need no GPU
    studies: dict[str, dict[str, str]] = field(default_factory=dict)  # name -> its question, and what the paper says
    table: Spec = field(init=False)
    figures: Spec = field(init=False)
    claims: Spec | None = None

    def add(self, spec: Spec) -> Spec:
        """Keep a spec, or return the equal one that another study asked for."""
        return self.specs.setdefault(spec.name, spec)


def resolve(config: Config) -> Grid:
    """Every artefact that the selected studies need. Raises UserError for a name that is not there."""
    check_number(config)
    _check_share(config)
    on_cpu = [name for name, scale in config.scales.items() if scale.accelerator == "cpu"]
    grid = Grid(
        store=config.store,
        gpu_share=config.gpu_share,
        loggers=list(config.loggers),
        scale=config.scale,
        cpu_scales=on_cpu,
    )
    rows = []
    for name in config.study:
        names = config.studies[name].quantizers
        quantizers = {q: known(config.quantizers, q, f"studies.{name}.quantizers", "quantizers") for q in names}
        for run in runs_of(config, name):
            schemes = {q: scheme_of(run, q, quantizer) for q, quantizer in quantizers.items()}
            rows += _add_run(grid, config, run, schemes)
    answers = {row.pop("answer_set") for row in rows if "answer_set" in row}
    grid.table = grid.add(table_spec(rows, config.table.resamples, answers, grid.specs))
    grid.studies = {name: config.studies[name].model_dump(include={"question", "paper"}) for name in config.study}
    drawn = [{"name": name, **config.studies[name].model_dump(include={"question", "figure"})} for name in config.study]
    settings: dict[str, Any] = {"display": config.display.model_dump(), "studies": drawn}
    grid.figures = grid.add(make_spec("figures", "capacity", settings, {"table": grid.table.name}))
    if config.claims:
        settings = {"claims": read_claims(Path(config.claims)), "scale": config.scale}
        grid.claims = grid.add(make_spec("claims", "capacity", settings, {"table": grid.table.name}))
    return grid


def _check_share(config: Config) -> None:
    """Refuse trainings that take several GPUs and share them. Raises UserError."""
    devices = known(config.scales, config.scale, "scale", "scales").devices
    if devices > 1 and config.gpu_share != 1:
        raise UserError(
            f"gpu_share: {config.gpu_share} with scales.{config.scale}.devices: {devices}; a training on several GPUs "
            "has them alone, remove gpu_share"
        )


def _add_run(grid: Grid, config: Config, run: Run, schemes: dict[str, Scheme]) -> list[dict[str, Any]]:
    """Add one run's artefacts, stage by stage; returns its table rows."""
    scale = known(config.scales, config.scale, "scale", "scales")
    people, dataset = map(grid.add, dataset_specs(run.dataset, run.seed, scale))
    tokenizer = grid.add(tokenizer_spec(run.tokenizer, dataset))
    checkpoint = grid.add(checkpoint_spec(config, run, dataset, tokenizer))
    variants, variant_of = variants_spec(run, checkpoint, schemes)
    probes, probe_of = probes_spec(grid.add(variants), checkpoint, config.probe.draws)
    grid.add(probes)
    ids = {"dataset_id": people.id, "tokenizer_id": tokenizer.id, "checkpoint_id": checkpoint.id}
    rows = []
    for scheme, variant in variant_of.items():
        scored = {"variant_id": variant.id, "probe_id": probe_of[variant.name].id, "probe_set": probes.name}
        rows.append({**row_of(run, scheme), **ids, **scored})
    if asked := run_to_ask(config, run, people, checkpoint, schemes):
        to_ask, own_scheme = asked
        specs, columns = specs_of(to_ask)
        for spec in specs:
            grid.add(spec)
        row = next(row for row in rows if row["scheme"] == own_scheme)
        row |= {"answers": columns, "answer_set": specs[-1].name}
    return rows
