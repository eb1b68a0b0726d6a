"""Probe scores.

In: a dataset, a tokenizer and a set of variants. Out: a set of scores, one artefact a variant in results/probes/, reused by its
identity: scores.parquet, nats of each item of each person, temperatures.parquet, nats of each half of the people at other
temperatures, and junk.parquet, nats of junk people where there is junk. A set itself holds nothing but its manifest.
"""


rule probe_checkpoint:
    """Score every variant of one checkpoint on the facts it was trained on."""
    input:
        flow.inputs,
    output:
        manifest="results/probes/{probes}/manifest.json",
    log:
        "results/logs/probe_checkpoint/{probes}.log",
    threads: 1
    resources:
        gpu=flow.gpus("probes"),
        mem_mb=flow.memory("probes"),
        runtime=flow.minutes("probes"),
    message:
        "Scoring {wildcards.probes}."
    shell:
        "python scripts/probe_checkpoint.py --spec results/specs/{wildcards.probes}.json > {log:q} 2>&1"
