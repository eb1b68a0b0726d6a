"""Quantised variants.

In: a checkpoint, and its dataset where a scheme is calibrated on text. Out: a set of variants, each a checkpoint of its
own in results/variants/, reused by its identity.
"""


def variants_mb(variants):
    quantized = parent(variants, "checkpoint")
    return requests.scoring_mb(*world(quantized), quantized.settings)


rule quantize_checkpoint:
    """Make every variant of one checkpoint that does not exist yet."""
    input:
        inputs_of("variants"),
    output:
        manifest="results/variants/{variants}/manifest.json",
    log:
        "results/logs/quantize_checkpoint/{variants}.log",
    threads: 1
    resources:
        mem_mb=growing("variants", variants_mb),
        runtime=growing("variants", lambda variants: 60),
    message:
        "Quantising {wildcards.variants}."
    shell:
        "python scripts/quantize_checkpoint.py --spec results/specs/{wildcards.variants}.json > {log:q} 2>&1"
