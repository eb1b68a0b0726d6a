"""How a process runs: start-up, forks, leases, stopping, resuming, progress, SLURM."""
