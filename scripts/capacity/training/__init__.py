"""Training: one explicit loop over one vector of parameters, deterministic, resumable at every step."""
