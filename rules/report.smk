"""The report: one page with the results of what is published.

Out: results/report.html. `make report` writes it anew each time, since it shows executions. The engine's own report
(`snakemake --report`), which shows rules and run times, holds the page too.
"""


rule write_report:
    """Write claims, figures, loss curves and the capacity table with its manifests as one page."""
    input:
        table="results/capacity_table.csv",
        figures="results/figures/capacity_figures.id",
        claims="results/claims.csv" if flow.claims else [],
    output:
        report(
            "results/report.html",
            category="Results",
            labels={"page": "claims, figures and the capacity table"},
        ),
    log:
        "results/logs/write_report.log",
    message:
        "Writing the report."
    shell:
        # Questions come by a file: the engine writes parameters into its report as they are, markup included.
        "python scripts/write_report.py --studies results/report/studies.json --claims {input.claims}"
        " --output {output:q} > {log:q} 2>&1"
