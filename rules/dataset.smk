"""Worlds of facts.

In: a spec (kind, sizes, seed). Out: facts.parquet, one row a person, and grammar.json, which renders them as text.
"""


rule make_dataset:
    """Draw the people and their facts."""
    input:
        flow.inputs,
    output:
        manifest="results/datasets/{dataset}/manifest.json",
    log:
        "results/logs/make_dataset/{dataset}.log",
    priority: flow.first
    threads: 1
    resources:
        mem_mb=flow.memory("datasets"),
        runtime=flow.minutes("datasets"),
    message:
        "Drawing the facts of {wildcards.dataset}."
    shell:
        "python scripts/make_dataset.py --spec results/specs/{wildcards.dataset}.json > {log:q} 2>&1"
