"""What makes two texts the same one."""


def normalised(text: str) -> str:
    """A text without case and superfluous space: the form in which texts are compared."""
    return " ".join(text.casefold().split())
