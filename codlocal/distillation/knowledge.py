"""What the teacher tells its students: made once, and shared by all students of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from codlocal.core.artifacts import read_examples
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.run import RunFolder
from codlocal.distillation.filters import TeacherFilters, teacher_filters
from codlocal.distillation.hidden_states import compared_states, mean_over_tokens
from codlocal.distillation.layer_maps import layer_map, own_layers
from codlocal.distillation.starting import start_student
from codlocal.distillation.teacher_outputs import TeacherOutputs, teacher_outputs
from codlocal.distillation.teacher_states import TeacherStates, teacher_states
from codlocal.models.classifier import Classifier
from codlocal.models.teacher import read_teacher


@dataclass(frozen=True)
class Knowledge:
    """The teacher's side of a distillation.

    Attributes:
        outputs: its logits for every text.
        teacher: the teacher itself, asked while a student trains where inputs are mixed.
        states: its hidden states, for methods that compare them; filtered for "ted".
        layers: pairs (teacher layer, student layer) that are compared, numbered from 1.
        same_tokens: whether its tokens are the students' too; if not, means over each text's
            tokens are compared.
        filters: what `states` went through, for "ted".

    """

    outputs: TeacherOutputs
    teacher: Classifier
    states: TeacherStates | None = None
    layers: tuple[tuple[int, int], ...] = ()
    same_tokens: bool = True
    filters: TeacherFilters | None = None

    def layer_targets(
        self, ids: Sequence[str], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The hidden states to be matched for n texts of at most t tokens.

        Returns:
            States, float [layers, n, t, width], and the mask of their tokens, [n, t]; with other
            tokens than the student's, t is 1 and the states are means over each text's tokens.

        Raises:
            ValueError: the states were not computed.

        """
        if self.states is None:
            raise ValueError("the teacher's hidden states were not computed")
        found = self.states.of(ids)
        if not self.same_tokens:
            means = torch.stack([one.float().mean(dim=1, keepdim=True) for one in found], dim=1)
            return means.to(device), torch.ones(len(found), 1, device=device)
        # pad_sequence pads the first axis: tokens go there and come back.
        padded = torch.nn.utils.rnn.pad_sequence([one.transpose(0, 1) for one in found])
        mask = [[1] * one.shape[1] + [0] * (len(padded) - one.shape[1]) for one in found]
        return padded.permute(2, 1, 0, 3).to(device), torch.tensor(mask, device=device)

    def ask(
        self, rows: list[list[int]], device: torch.device
    ) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        """What the teacher says of n texts that it has not been asked before.

        Args:
            rows: the texts' token ids for the teacher.
            device: where it is wanted.

        Returns:
            Logits, float [n, classes], and states and mask as `layer_targets` has them, a tensor
            for each layer.

        """
        teacher = self.teacher
        teacher.model.train(mode=False)
        inputs = teacher.encoder.collate(rows, teacher.device)
        mask = inputs["attention_mask"]
        with torch.no_grad():
            output = teacher.model(**inputs, output_hidden_states=bool(self.layers))
        chosen = [layer for layer, _ in self.layers]
        states = compared_states(
            teacher.model, getattr(output, "hidden_states", None) or (), chosen
        )
        if self.filters is not None:
            states = list(self.filters.apply(torch.stack(states)))
        if not self.same_tokens:
            states = [mean_over_tokens(one.float(), mask) for one in states]
            mask = torch.ones(len(rows), 1)
        logits = output.logits[:, teacher.order]
        return logits.to(device), [one.to(device) for one in states], mask.to(device)


def gather(
    run: RunFolder,
    config: Config,
    teacher: Classifier,
    base: Path,
    texts: Mapping[str, str],
    console: Console,
) -> Knowledge:
    """Collect what the students of a run need to know of `texts` (id -> text).

    Args:
        run: its `teacher_outputs/` keeps it.
        config: settings with their start decided; they say what is needed.
        teacher: the run's teacher.
        base: the folder that students are made of.
        texts: all training texts of all students.
        console: where progress is shown.

    Raises:
        ModelError: the student can't be made, or the teacher does not give its hidden states.

    """
    sha256 = read_teacher(run).identity
    outputs = teacher_outputs(run.file("teacher_outputs"), teacher, sha256, texts, console)
    if config.distillation.method == "kd":
        return Knowledge(outputs, teacher)
    student = start_student(config, base, teacher.label_names, seed=0)
    layers = _compared_layers(config, teacher, student)
    wanted = [layer for layer, _ in layers]
    filters = None
    if config.distillation.method == "ted":
        known = {one.id: one.text for one in read_examples(run, "train").values()}
        folder = run.file("teacher_outputs", "filters")
        filters = teacher_filters(folder, teacher, sha256, known, wanted, console)
    folder = run.file("teacher_outputs", "states")
    states = teacher_states(folder, teacher, sha256, texts, wanted, console, filters)
    same = same_tokens(teacher, student, texts)
    return Knowledge(outputs, teacher, states, tuple(layers), same, filters)


def _compared_layers(
    config: Config, teacher: Classifier, student: Classifier
) -> list[tuple[int, int]]:
    depths = [one.model.config.num_hidden_layers for one in (teacher, student)]
    if config.distillation.student_init == "teacher":
        return own_layers(teacher.model.config.model_type, *depths)
    return layer_map(*depths)


def same_tokens(teacher: Classifier, student: Classifier, texts: Mapping[str, str]) -> bool:
    """Whether both models see the same token ids in every text, by one vocabulary."""
    vocabularies = [one.encoder.tokenizer.get_vocab() for one in (teacher, student)]
    if vocabularies[0] != vocabularies[1]:
        return False
    rows = [one.encoder.encode(list(texts.values())) for one in (teacher, student)]
    return rows[0] == rows[1]
