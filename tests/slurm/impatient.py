"""The engine, looking at its SLURM jobs every two seconds instead of ever more rarely; else as it is.

usage: python tests/slurm/impatient.py [what snakemake takes]
"""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

SECONDS = 2

RemoteExecutor.next_seconds_between_status_checks = property(lambda self: SECONDS, lambda self, value: None)
main(sys.argv[1:])
