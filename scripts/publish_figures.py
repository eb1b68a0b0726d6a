"""Copy the figures to their fixed paths, and their identity last."""

from capacity.artefacts.publishing import publish

if __name__ == "__main__":
    publish(__doc__)
