"""Copy the capacity table to its fixed paths, write runs.csv from the manifests, and the table's identity last."""

from capacity.artefacts.publishing import publish
from capacity.tables.run_costs import RUNS, runs_text

if __name__ == "__main__":
    publish(__doc__, told={RUNS: lambda manifest, results: runs_text(manifest["settings"]["rows"], results)})
