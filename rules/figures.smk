"""Figures.

In: the capacity table. Out: the figures, published under fixed paths.
"""


rule plot_capacity:
    """Draw bits stored against parameters and R against R_max, for the paper's figure and for each study."""
    input:
        flow.inputs,
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
        "python scripts/plot_capacity.py --spec results/specs/{wildcards.figures}.json > {log:q} 2>&1"


rule publish_figures:
    """Copy the figures of the present configuration to their fixed paths."""
    input:
        figures=flow.published("figures"),
        stamp="results/specs/capacity_figures.stamp",
    output:
        # A job of a cluster reads this file too, and never publishes.
        pngs=[f"results/figures/{name}.png" for name in flow.figures],
        svgs=[f"results/figures/{name}.svg" for name in flow.figures],
        csvs=[f"results/figures/{name}.csv" for name in flow.figures],
        identity="results/figures/capacity_figures.id",
    log:
        "results/logs/publish_figures.log",
    message:
        "Publishing the figures."
    shell:
        "python scripts/publish_figures.py --artefact {input.figures:q} --identity {output.identity:q}"
        " {output.pngs:q} {output.svgs:q} {output.csvs:q} > {log:q} 2>&1"
