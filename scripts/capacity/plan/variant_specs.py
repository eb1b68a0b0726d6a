"""The variants of a run's checkpoint: each scheme refused here where it fits no such model or dataset."""

import functools

from capacity.artefacts.spec import Spec, make_spec
from capacity.config.quantizer import Quantizer
from capacity.errors import UserError
from capacity.models.architectures import matrix_roles, mlp_width, sizes
from capacity.models.spec import PaperModel
from capacity.plan.study_runs import Run
from capacity.quantization.spec import (
    Gptq,
    HalfPrecision,
    Scheme,
    Unquantized,
    VariantSet,
    check_tensors,
    scheme_slug,
)


def variants_spec(run: Run, checkpoint: Spec, schemes: dict[str, Scheme]) -> tuple[Spec, dict[str, Spec]]:
    """The set of the checkpoint's variants, and each by its scheme's name.

    Each is an artefact of its own, so that schemes are reused.
    """
    spec = functools.partial(make_spec, for_model=checkpoint.for_model)
    variant_of = {
        label: spec("variants", f"{run.slug}-{scheme_slug(scheme)}", scheme, _parents_of(scheme, checkpoint))
        for label, scheme in schemes.items()
    }
    parents = {role: name for variant in variant_of.values() for role, name in variant.parents.items()}
    return spec("variants", run.slug, VariantSet(), parents, list(variant_of.values())), variant_of


def scheme_of(run: Run, label: str, quantizer: Quantizer) -> Scheme:
    """A scheme as the quantizer reads it. Raises UserError where it fits no such model or dataset."""
    scheme = quantizer.to_settings(run.N, run.seed)
    if isinstance(scheme, Unquantized):
        return scheme
    if isinstance(scheme, Gptq) and scheme.calibration > run.N:
        raise UserError(
            f"quantizers.{label}.calibration: {scheme.calibration} biographies, but {run.names['dataset']} has "
            f"N: {run.N} people; use at most so many"
        )
    group = None if isinstance(scheme.numbers, HalfPrecision) else scheme.numbers.group
    model = run.model.to_settings()
    d = sizes(model)["d"]
    widths = {d} if d else set()  # of an external model the quantizer itself checks every layer
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
