"""Trained models.

In: a dataset and a tokenizer. Out: a checkpoint that transformers loads, with metrics.csv and a model card. A training
that was interrupted leaves its state in results/resume/<checkpoint>/ and goes on from there.
"""

@for_each_job
def work(wildcards):
    """Tokens to train on: the longest trainings start first."""
    training = spec(wildcards.checkpoint)
    return estimate.training_tokens(world(training)[0], training.settings["regime"])


@for_each_job
def training_mb(wildcards, attempt):
    training = spec(wildcards.checkpoint)
    return requests.growing(
        requests.training_mb(*world(training), training.settings), attempt
    )


@for_each_job
def training_minutes(wildcards):
    """The same in every attempt: the next one goes on where this one stopped."""
    training = spec(wildcards.checkpoint)
    return requests.training_minutes(*world(training), training.settings)


def devices(training):
    return training.settings["hardware"]["devices"]


rule train_checkpoint:
    """Train one model on one dataset."""
    input:
        inputs_of("checkpoint"),
    output:
        # Not deleted when a job starts: a training that outlived its engine may have made it meanwhile.
        manifest=update("results/checkpoints/{checkpoint}/manifest.json"),
    log:
        "results/logs/train_checkpoint/{checkpoint}.log",
    priority: work
    threads: alike("checkpoints", devices)
    resources:
        gpu=alike("checkpoints", gpus),
        nodes=1,  # all its GPUs on one; SLURM would spread them
        mem_mb=training_mb,
        runtime=training_minutes,
    message:
        "Training {wildcards.checkpoint}; its progress is in {log}."
    shell:
        "python scripts/train_checkpoint.py --spec results/specs/{wildcards.checkpoint}.json > {log:q} 2>&1"
