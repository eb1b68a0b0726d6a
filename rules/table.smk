"""The capacity table.

In: the scores of all runs, and what their trainings and variants say of themselves. Out: one row a variant, with R, R_max and intervals; published under a fixed path.
"""


rule tabulate_capacity:
    """Turn the scores into bits and bits per parameter."""
    input:
        flow.inputs,
    output:
        table="results/tables/{table}/capacity_table.csv",
        summary="results/tables/{table}/capacity_summary.csv",
        manifest="results/tables/{table}/manifest.json",
    log:
        "results/logs/tabulate_capacity/{table}.log",
    threads: 1
    resources:
        mem_mb=flow.memory("tables"),
        runtime=flow.minutes("tables"),
    message:
        "Tabulating {wildcards.table}."
    shell:
        "python scripts/tabulate_capacity.py --spec results/specs/{wildcards.table}.json > {log:q} 2>&1"


rule publish_table:
    """Copy the table of the present configuration to its fixed path, with its identity beside it."""
    input:
        table=flow.published("table"),
        stamp="results/specs/capacity_table.stamp",
    output:
        table="results/capacity_table.csv",
        summary="results/capacity_summary.csv",
        runs="results/runs.csv",
        identity="results/capacity_table.id",
    log:
        "results/logs/publish_table.log",
    message:
        "Publishing {output.table}."
    shell:
        "python scripts/publish_table.py --artefact {input.table:q} --identity {output.identity:q}"
        " {output.table:q} {output.summary:q} {output.runs:q} > {log:q} 2>&1"
