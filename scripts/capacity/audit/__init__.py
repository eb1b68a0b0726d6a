"""Whether a results folder can be trusted: seven levels of findings, from what exists to what it discloses.

Nothing here can change a number. An audit reads the audited folder and writes to its own report alone.
"""
