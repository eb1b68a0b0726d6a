"""Figures.

In: the capacity table. Out: the figures, published under fixed paths.
"""


rule plot_capacity:
    """Draw bits stored against parameters and R against R_max, for the paper's figure and for each study."""
    input:
        spec="results/specs/{figures}.json",
        table=lambda wildcards: made(order(wildcards.figures).parents["table"]),
    output:
        manifest="results/figures/{figures}/manifest.json",
    log:
        "results/logs/plot_capacity/{figures}.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "Drawing {wildcards.figures}."
    shell:
        "python scripts/plot_capacity.py --spec {input.spec:q} > {log:q} 2>&1"


rule publish_figures:
    """Copy the figures of the present configuration to their fixed paths."""
    input:
        figures=lambda wildcards: made(PLAN.grid.figures.name),
        stamp="results/specs/capacity_figures.stamp",
    output:
        # A job of a cluster reads this file too, and never publishes.
        figures=[
            f"results/figures/{name}.{kind}"
            for name in (figure_names(PLAN.grid) if workflow.is_main_process else [])
            for kind in ("png", "svg")
        ],
        identity="results/figures/capacity_figures.id",
    log:
        "results/logs/publish_figures.log",
    message:
        "Publishing the figures."
    shell:
        "python scripts/publish_figures.py --artefact {input.figures:q} --identity {output.identity:q}"
        " {output.figures:q} > {log:q} 2>&1"
