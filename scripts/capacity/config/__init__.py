"""The experiment as the user writes it: read, checked, and resolved into orders. Jobs never import this package."""
