"""The experiment as the user writes it: read, checked, and resolved into specs. Jobs never import this package."""
