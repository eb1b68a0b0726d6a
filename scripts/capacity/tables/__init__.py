"""From losses to bits, rows, summaries, claims and laws."""
