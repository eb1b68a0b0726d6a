"""Probe scores.

In: a dataset, a tokenizer and a set of variants. Out: nats of each item of each person, for each variant.
"""


rule probe_checkpoint:
    """Score every variant of one checkpoint on the facts it was trained on."""
    input:
        spec="results/specs/{probes}.json",
        dataset=lambda wildcards: made(order(wildcards.probes).parents["dataset"]),
        tokenizer=lambda wildcards: made(order(wildcards.probes).parents["tokenizer"]),
        variants=lambda wildcards: made(order(wildcards.probes).parents["variants"]),
    output:
        manifest="results/probes/{probes}/manifest.json",
    log:
        "results/logs/probe_checkpoint/{probes}.log",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "Scoring {wildcards.probes}."
    shell:
        "python scripts/probe_checkpoint.py --spec {input.spec:q} > {log:q} 2>&1"
