"""Trained models.

In: a dataset and a tokenizer. Out: model.safetensors and config.json, which transformers loads, with metrics.csv and a model card. A training
that was interrupted leaves its state in results/resume/<checkpoint>/ and goes on from there.
"""


rule train_checkpoint:
    """Train one model on one dataset."""
    input:
        flow.inputs,
    output:
        # Not deleted when a job starts: a training whose engine has ended may have made it meanwhile. model.safetensors
        # and metrics.csv lie beside it and are not named: the engine copies what it updates before every rerun.
        manifest=update("results/checkpoints/{checkpoint}/manifest.json"),
    log:
        "results/logs/train_checkpoint/{checkpoint}.log",
    priority: flow.training_tokens
    threads: flow.processes("checkpoints")
    resources:
        gpu=flow.gpus("checkpoints"),
        nodes=1,  # all its GPUs on one; SLURM would spread them
        mem_mb=flow.own_memory,
        runtime=flow.own_minutes,
    message:
        "Training {wildcards.checkpoint}; its progress is in {log}."
    shell:
        "python scripts/train_checkpoint.py --spec results/specs/{wildcards.checkpoint}.json > {log:q} 2>&1"
