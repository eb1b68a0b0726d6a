"""Texts of bioR.

In: a dataset. Out: texts of the same people by a rewriter, each text checked. A job that was interrupted leaves
what it wrote in results/resume/<rewriting>/ and goes on from there.
"""


rule rewrite_dataset:
    """Have a rewriter write texts of every person, and check them."""
    input:
        flow.inputs,
    output:
        manifest=update("results/rewritings/{rewriting}/manifest.json"),
    log:
        "results/logs/rewrite_dataset/{rewriting}.log",
    priority: flow.first
    threads: 1
    resources:
        gpu=flow.own_gpus,
        mem_mb=flow.own_memory,
        runtime=flow.own_minutes,
    message:
        "Rewriting {wildcards.rewriting}; its progress is in {log}."
    shell:
        "python scripts/rewrite_dataset.py --spec results/specs/{wildcards.rewriting}.json > {log:q} 2>&1"
