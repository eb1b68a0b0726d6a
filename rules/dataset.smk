"""Worlds of facts.

In: an order (kind, sizes, seed). Out: facts.parquet, one row a person, and grammar.json, which renders them as text.
"""


rule make_dataset:
    """Draw the people and their facts."""
    input:
        spec="results/specs/{dataset}.json",
    output:
        manifest="results/datasets/{dataset}/manifest.json",
    log:
        "results/logs/make_dataset/{dataset}.log",
    threads: 1
    priority: FIRST
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "Drawing the facts of {wildcards.dataset}."
    shell:
        "python scripts/make_dataset.py --spec {input.spec:q} > {log:q} 2>&1"
