"""The errors a user may meet: one line each, what was found, what was expected, what to do."""


class BeholderError(Exception):
    """The call was wrong: exit 2. Every package raises this root or a child of it; the door prints it as one
    line."""

    exit_code = 2

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        parts = [found, f"expected {expected}" if expected else "", remedy]
        super().__init__("; ".join(" ".join(part.split()) for part in parts if part))


class FormatError(BeholderError):
    """A folder or file of ours that is missing, damaged, of another kind or newer than this program."""


class ConditionFailed(BeholderError):
    """The call was right, a stated condition was not met (too many bad pictures, a missed target): exit 1."""

    exit_code = 1
