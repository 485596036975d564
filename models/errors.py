"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Input that cannot be used. The message says what is wrong, what was found and what would be right.

    Everything else that is raised is a bug and keeps its traceback.
    """
