"""Probe scores.

In: a dataset, a tokenizer and a set of variants. Out: nats of each item of each person, for each variant.
"""


def probed(probes):
    """The checkpoint whose variants are scored."""
    return parent(parent(probes, "variants"), "checkpoint")


def probe_mb(probes):
    return requests.scoring_mb(*world(probes), probed(probes).settings)


def probe_minutes(probes):
    texts = len(probes.members) * probes.settings["draws"]
    return requests.scoring_minutes(*world(probes), probed(probes).settings, texts)


rule probe_checkpoint:
    """Score every variant of one checkpoint on the facts it was trained on."""
    input:
        inputs_of("probes"),
    output:
        manifest="results/probes/{probes}/manifest.json",
    log:
        "results/logs/probe_checkpoint/{probes}.log",
    threads: 1
    resources:
        gpu=alike("probes", gpus),
        mem_mb=growing("probes", probe_mb),
        runtime=growing("probes", probe_minutes),
    message:
        "Scoring {wildcards.probes}."
    shell:
        "python scripts/probe_checkpoint.py --spec results/specs/{wildcards.probes}.json > {log:q} 2>&1"
