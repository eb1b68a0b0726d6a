"""Claims.

In: the capacity table, and the published claims of the configuration. Out: a verdict on each, published under fixed
paths.
"""


rule judge_claims:
    """Hold the table against what the paper says."""
    input:
        flow.inputs,
    output:
        csv="results/claims/{claims}/claims.csv",
        markdown="results/claims/{claims}/claims.md",
        manifest="results/claims/{claims}/manifest.json",
    log:
        "results/logs/judge_claims/{claims}.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "Judging {wildcards.claims}."
    shell:
        "python scripts/judge_claims.py --spec results/specs/{wildcards.claims}.json > {log:q} 2>&1"


rule publish_claims:
    """Copy the verdicts of the present configuration to their fixed paths."""
    input:
        claims=flow.published("claims"),
        stamp="results/specs/claims.stamp",
    output:
        csv="results/claims.csv",
        markdown="results/claims.md",
        identity="results/claims.id",
    log:
        "results/logs/publish_claims.log",
    message:
        "Publishing {output.csv}."
    shell:
        "python scripts/publish_claims.py --artefact {input.claims:q} --identity {output.identity:q}"
        " {output.csv:q} {output.markdown:q} > {log:q} 2>&1"
