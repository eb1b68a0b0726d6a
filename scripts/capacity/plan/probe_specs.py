"""The scores of a checkpoint's variants."""

import functools

from capacity.artefacts.spec import Spec, make_spec


def probes_spec(variants: Spec, checkpoint: Spec, draws: int) -> tuple[Spec, dict[str, Spec]]:
    """The set of the variants' scores, and each by its variant's name."""
    training = checkpoint.settings
    settings = {"draws": draws, "seed": training["seed"], "accelerator": training["hardware"]["accelerator"]}
    world = {role: checkpoint.parents[role] for role in ("dataset", "tokenizer")}
    spec = functools.partial(make_spec, for_model=checkpoint.for_model)
    probe_of = {
        variant.name: spec("probes", variant.id.rsplit("-", 1)[0], settings, {**world, "variant": variant.name})
        for variant in variants.members
    }
    slug, parents = variants.id.rsplit("-", 1)[0], {**world, "variants": variants.name}
    return spec("probes", slug, settings, parents, list(probe_of.values())), probe_of
