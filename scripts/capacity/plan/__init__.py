"""From a checked configuration to artefacts: the grid, what is there, what it costs, what a job asks for."""
