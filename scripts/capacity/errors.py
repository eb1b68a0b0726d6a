"""Exceptions that are meant for the user's eyes."""


class UserError(ValueError):
    """A mistake that the user can mend: one line that names the thing, the value and the remedy."""


class OtherSchema(UserError):
    """Something that another version of this project wrote: to be left alone, not to be taken for damaged."""
