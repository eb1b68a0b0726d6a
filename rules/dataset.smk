"""Worlds of facts.

In: an order (kind, sizes, seed). Out: facts.parquet, one row a person, and grammar.json, which renders them as text.
"""


def dataset_mb(dataset):
    return requests.world_mb(dataset.settings)


def dataset_minutes(dataset):
    return requests.world_minutes(dataset.settings)


rule make_dataset:
    """Draw the people and their facts."""
    input:
        inputs_of("dataset"),
    output:
        manifest="results/datasets/{dataset}/manifest.json",
    log:
        "results/logs/make_dataset/{dataset}.log",
    priority: FIRST
    threads: 1
    resources:
        mem_mb=growing("datasets", dataset_mb),
        runtime=growing("datasets", dataset_minutes),
    message:
        "Drawing the facts of {wildcards.dataset}."
    shell:
        "python scripts/make_dataset.py --spec results/specs/{wildcards.dataset}.json > {log:q} 2>&1"
