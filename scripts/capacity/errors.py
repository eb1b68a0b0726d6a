"""The one exception that is meant for the user's eyes."""


class UserError(ValueError):
    """A mistake that the user can mend: one line that names the thing, the value and the remedy."""
