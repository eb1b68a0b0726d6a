"""The scores of a checkpoint's variants."""

import functools
from typing import Any

from capacity.artefacts.spec import Spec, make_spec
from capacity.probe.spec import ProbeSettings


def probe_settings(checkpoint: Spec, draws: int) -> dict[str, Any]:
    """How a checkpoint, or what is made from it, is scored."""
    training = checkpoint.settings
    accelerator = training["hardware"]["accelerator"]
    return ProbeSettings(draws=draws, seed=training["seed"], accelerator=accelerator).plain()


def probes_spec(variants: Spec, checkpoint: Spec, draws: int) -> tuple[Spec, dict[str, Spec]]:
    """The set of the variants' scores, and each by its variant's name."""
    settings = probe_settings(checkpoint, draws)
    world = {role: checkpoint.parents[role] for role in ("dataset", "tokenizer")}
    spec = functools.partial(make_spec, for_model=checkpoint.for_model)
    probe_of = {
        variant.name: spec("probes", variant.slug, settings, {**world, "variant": variant.name})
        for variant in variants.members
    }
    slug, parents = variants.slug, {**world, "variants": variants.name}
    return spec("probes", slug, settings, parents, list(probe_of.values())), probe_of
