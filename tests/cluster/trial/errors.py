"""What can go wrong with a trial, told to the person who runs it."""


class TrialError(Exception):
    """The trial can't go on; the text says why and what helps, without a traceback."""
