"""Quantised variants.

In: a checkpoint, and its dataset where a scheme is calibrated on text. Out: a set of variants, each a checkpoint of its
own in results/variants/, reused by its identity.
"""


rule quantize_checkpoint:
    """Make every variant of one checkpoint that does not exist yet."""
    input:
        flow.inputs,
    output:
        manifest="results/variants/{variants}/manifest.json",
    log:
        "results/logs/quantize_checkpoint/{variants}.log",
    threads: 1
    resources:
        mem_mb=flow.memory("variants"),
        runtime=flow.minutes("variants"),
    message:
        "Quantising {wildcards.variants}."
    shell:
        "python scripts/quantize_checkpoint.py --spec results/specs/{wildcards.variants}.json > {log:q} 2>&1"
