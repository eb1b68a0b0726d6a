"""Trained models.

In: a dataset and a tokenizer. Out: a checkpoint that transformers loads, with metrics.csv and a model card. A training
that was interrupted leaves its state in results/resume/<checkpoint>/ and goes on from there.
"""


def work(wildcards):
    """Biographies to train on: the longest trainings start first."""
    training = order(wildcards.checkpoint)
    people = order(training.parents["dataset"].split("/")[1]).spec["N"]
    return training.spec["regime"]["exposures"] * people


rule train_checkpoint:
    """Train one model on one dataset."""
    input:
        spec="results/specs/{checkpoint}.json",
        dataset=lambda wildcards: made(order(wildcards.checkpoint).parents["dataset"]),
        tokenizer=lambda wildcards: made(order(wildcards.checkpoint).parents["tokenizer"]),
    output:
        manifest="results/checkpoints/{checkpoint}/manifest.json",
    log:
        "results/logs/train_checkpoint/{checkpoint}.log",
    threads: 1
    priority: work
    resources:
        mem_mb=4000,
        runtime=240,
    message:
        "Training {wildcards.checkpoint}; its progress is in {log}."
    shell:
        "python scripts/train_checkpoint.py --spec {input.spec:q} > {log:q} 2>&1"
