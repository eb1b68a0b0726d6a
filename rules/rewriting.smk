"""Texts of bioR.

In: a dataset. Out: the same people told in texts by a rewriter, each text checked. A job that was interrupted leaves
what it wrote in results/resume/<rewriting>/ and goes on from there.
"""


rule rewrite_dataset:
    """Have a rewriter tell every person, and check what it says."""
    input:
        inputs_of("rewriting"),
    output:
        manifest="results/rewritings/{rewriting}/manifest.json",
    log:
        "results/logs/rewrite_dataset/{rewriting}.log",
    priority: FIRST
    threads: 1
    resources:
        gpu=for_each_job(lambda wildcards: gpus(spec(wildcards.rewriting))),
        mem_mb=lambda wildcards, attempt: requests.growing(
            requests.rewriting_mb(spec(wildcards.rewriting).settings), attempt
        ),
        runtime=lambda wildcards: requests.rewriting_minutes(
            spec(wildcards.rewriting).settings
        ),
    message:
        "Rewriting {wildcards.rewriting}; its progress is in {log}."
    shell:
        "python scripts/rewrite_dataset.py --spec results/specs/{wildcards.rewriting}.json > {log:q} 2>&1"
