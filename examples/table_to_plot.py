"""R against R_max, a colour a scheme, from results/capacity_table.csv into results/R.png."""

import matplotlib.pyplot as plt

from capacity import api

for scheme, rows in api.read_table().groupby("scheme", sort=False):
    below, above = rows["R"] - rows["R_low"], rows["R_high"] - rows["R"]
    plt.errorbar(rows["R_max"], rows["R"], [below, above], fmt="o", label=scheme)
plt.xlabel("R_max: bits offered a parameter")
plt.ylabel("R: bits stored a parameter, 95 % over people")
plt.legend()
plt.savefig("results/R.png")
