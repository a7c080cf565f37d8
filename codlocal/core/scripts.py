"""Scripts that are written without spaces between words.

Where words begin there is a question of meaning, which needs a dictionary; one character, with its
marks, counts as a word.
"""

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Their characters, for a set of the regex module."""
CHARACTER = rf"[{UNSPACED}]\p{{M}}*"
"""One of them, as a pattern."""
