"""The engine's own HTML report.

In: what is published. Out: the pages and captions that `snakemake --report` puts into one file; `make report` writes them
anew each time, since they show executions.
"""


rule write_report_pages:
    """Write the claims, the capacity table with its manifests, and the findings as pages."""
    input:
        table="results/capacity_table.csv",
        figures="results/figures/capacity_figures.id",
        claims="results/claims.csv" if flow.claims else [],
    output:
        claims=report(
            "results/report/claims.html",
            category="1. Claims",
            labels={"page": "what the paper says, and what was measured"},
        ),
        table=report(
            "results/report/capacity_table.html",
            category="3. Capacity table",
            labels={"page": "every variant, down to its manifests"},
        ),
    log:
        "results/logs/write_report_pages.log",
    message:
        "Writing the report's pages."
    shell:
        # Questions come by a file: the engine writes parameters into its report as they are, markup included.
        "python scripts/write_report_pages.py --studies results/report/studies.json --claims {input.claims}"
        " > {log:q} 2>&1"


rule report_pages:
    """All that stands in the report."""
    input:
        rules.all.input,
        rules.write_report_pages.output,
