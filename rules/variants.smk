"""Quantised variants.

In: a checkpoint. Out: a set of variants, each a checkpoint of its own in results/variants/, reused by its identity.
"""


rule quantize_checkpoint:
    """Make every variant of one checkpoint that does not exist yet."""
    input:
        spec="results/specs/{variants}.json",
        checkpoint=lambda wildcards: made(order(wildcards.variants).parents["checkpoint"]),
    output:
        manifest="results/variants/{variants}/manifest.json",
    log:
        "results/logs/quantize_checkpoint/{variants}.log",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "Quantising {wildcards.variants}."
    shell:
        "python scripts/quantize_checkpoint.py --spec {input.spec:q} > {log:q} 2>&1"
