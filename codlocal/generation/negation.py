"""English negation: the one-word edits that turn a statement around without a word of opinion."""

_AUXILIARIES = {
    "am", "is", "are", "was", "were", "be", "been", "do", "does", "did", "have", "has", "had",
    "can", "could", "will", "would", "should", "may", "might", "must",
}  # fmt: skip
_AFFIRMED = {
    "won't": "will", "can't": "can", "cannot": "can", "shan't": "shall", "not": "",
    "never": "always", "no": "a", "nothing": "everything", "nobody": "everybody", "none": "all",
    "ain't": "is",
    "nor": "and", "without": "with", "hardly": "really", "barely": "really", "neither": "both",
}  # fmt: skip


def is_auxiliary(word: str) -> bool:
    """Whether a word can carry a contracted "not"."""
    return word.lower() in _AUXILIARIES


def negated(word: str) -> list[str]:
    """What may stand in the place of a word to deny it: the word, and one more."""
    if is_auxiliary(word):
        return [f"{word} not", f"{word} never"]
    return [f"not {word}", f"never {word}", f"no {word}"]


def affirmed(word: str) -> list[str]:
    """What may stand in the place of a negation to take it back; "" leaves it out."""
    plain = word.lower().replace("’", "'").replace(" n't", "n't")
    if plain in _AFFIRMED:
        return [_AFFIRMED[plain]]
    return [plain.removesuffix("n't")] if plain.endswith("n't") else []


def contraction(word: str, *, apart: bool) -> str:
    """A contracted "not" in full, if a word is its beginning, as of "didn't"; else the word.

    `apart`: it is written as in tokenised texts, "did n't".
    """
    if not (word.endswith("n") and is_auxiliary(word[:-1])):
        return word
    return f"{word[:-1]} n't" if apart else f"{word}'t"
