"""Copy the figures to their fixed paths, remove copies of figures of other selections, and write the identity last."""

from capacity.artefacts.publishing import publish

if __name__ == "__main__":
    publish(__doc__, sole=True)
