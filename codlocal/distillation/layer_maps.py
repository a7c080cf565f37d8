"""Which layers of the student are compared with which of the teacher."""

from codlocal.models.initialise import kept_layers

_PAIRS_OF_PAPER = {(28, 24): 4}
"""(teacher's layers, student's layers) -> layer pairs, where the paper has fewer than the rule."""


def layer_map(teacher_layers: int, student_layers: int) -> list[tuple[int, int]]:
    """Pairs (teacher layer, student layer), numbered from 1, evenly spaced, the last with the last.

    The rule is one pair for each layer of the shallower model. It gives what arXiv 2510.21631
    uses for DeBERTa-v3 (12 -> 6: 2, 4, .., 12; 12 -> 12: one to one); for Qwen2.5 (28 -> 24)
    the paper takes every 7th and every 6th layer.
    """
    count = _PAIRS_OF_PAPER.get(
        (teacher_layers, student_layers), min(teacher_layers, student_layers)
    )
    return [
        (round(number * teacher_layers / count), round(number * student_layers / count))
        for number in range(1, count + 1)
    ]


def own_layers(family: str, teacher_layers: int, student_layers: int) -> list[tuple[int, int]]:
    """The same for a student made of the teacher's layers: each with what it was made of.

    Of a decoder these are its first ones: told to be the teacher's last one, the student's last
    layer would have to unlearn what it starts with.
    """
    kept = kept_layers(family, teacher_layers, student_layers)
    return [(layer + 1, number) for number, layer in enumerate(kept, start=1)]
