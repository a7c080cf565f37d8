"""One student: its texts, its training, and the folder it is published as."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from codlocal.core import hashing, jsonl
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.records import LossTerms
from codlocal.core.sections import DistillationConfig
from codlocal.distillation.checkpoints import remove_checkpoints
from codlocal.distillation.class_prior import prior_shift
from codlocal.distillation.composition import TrainingSet
from codlocal.distillation.contrastive import contrastive_step
from codlocal.distillation.evidence import trust_in_evidence
from codlocal.distillation.filters import keep_filters, own_filters
from codlocal.distillation.fitting import fit
from codlocal.distillation.knowledge import Knowledge
from codlocal.distillation.loop import TRAIN_LOG, LoopSettings, StepLoss
from codlocal.distillation.peers import FrozenEncoder
from codlocal.distillation.projections import ProjectedStudent, new_projections
from codlocal.distillation.recombination import recombine
from codlocal.distillation.starting import go_back_toward_start, kept_start, start_student
from codlocal.distillation.steps import DistillationStep, Targets
from codlocal.distillation.student_record import (
    RECORD_FILE,
    StudentRecord,
    is_finished,
    read_student,
)
from codlocal.distillation.warm_start import warm_start_head
from codlocal.models.adapters import ADAPTER_RATE, QuantizationLoss, save_in_4_bits, train_in_4_bits
from codlocal.models.classifier import Classifier
from codlocal.models.devices import training_dtype
from codlocal.models.folders import build_folder, model_hash
from codlocal.models.seen_tokens import only_seen_tokens

_FIRST_PHASE, _LAST_PHASE = "Contrasting", "Training"
_CONTRASTIVE_PART = 0.5
"""Steps of a contrastive start, as a part of those of the distillation."""
_PLAIN = {"method": "kd", "pair_weight": 0.0, "interpolation_weight": 0.0, "recombined": 0}
"""How a student is tuned on its task before filters of its states are trained."""
_RECOMBINED = 1000
"""Recombined texts that the steps draw from."""


@dataclass(frozen=True)
class StudentJob:
    """One student to be trained: the arm, the seed and the texts, and the base to start from.

    On `unseen` texts a student in 4 bits is compared with itself before it was saved.
    """

    config: Config
    base: Path
    labels: tuple[str, ...]
    arm: str
    seed: int
    training_set: TrainingSet
    teacher_hash: str
    unseen: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the student's folder."""
        return f"{self.arm}-seed{self.seed}"


def train_student(
    job: StudentJob, knowledge: Knowledge, folder: Path, console: Console
) -> StudentRecord:
    """Train the student of a job into `folder`, unless it is there already; return its record.

    Raises:
        ModelError: the student's model can't be loaded, or training broke down.
        RunError: the record of a student that is there is damaged.

    """
    if is_finished(folder):
        return read_student(folder)

    def build(partial: Path) -> None:
        student = start_student(job.config, job.base, job.labels, job.seed)
        _warn_of_unread(student, job, console)
        terms = distil(student, job, knowledge, partial, console)
        lost = _save(student, job, partial, console)
        remove_checkpoints(partial)
        _collect_logs(partial)
        record = _record(job, student, terms, lost)
        jsonl.write_json(partial / RECORD_FILE, record.model_dump(mode="json"))

    build_folder(folder, build, resumable=True)
    return read_student(folder)


def _warn_of_unread(student: Classifier, job: StudentJob, console: Console) -> None:
    """Tell of counterfactuals that a student can't tell from their originals."""
    texts, encoder = job.training_set.texts, student.encoder
    rows = encoder.encode([text.text for text in texts])
    count = sum(
        texts[other].gold is None and rows[other] == rows[original]
        for original, *others in job.training_set.families
        for other in others
    )
    if count:
        console.warn(
            f"{job.name} can't tell {count} of its counterfactuals from their originals: in the "
            f"{encoder.max_length} tokens that it reads at most they are the same. Raise "
            "distillation.max_length, or use another student."
        )


def distil(
    student: Classifier, job: StudentJob, knowledge: Knowledge, folder: Path, console: Console
) -> LossTerms:
    """Train a student in place on what the teacher knows; return the loss of the last step.

    Whatever phase it goes through sees the student's own texts alone, or what is recombined of
    them, and of its embeddings trains those of their tokens. `folder` gets the training log and the
    checkpoints, and a folder with those of each phase before the last. Beside it lie the trained
    filters of "ted": they are no part of the model.

    Raises:
        ModelError: the loss is not finite.

    """
    texts, config = job.training_set.texts, job.config.distillation
    words = [text.text for text in texts]
    teacher_logits = torch.from_numpy(knowledge.outputs.of([text.id for text in texts]))
    labels = hard_labels(job, teacher_logits)
    shift = torch.zeros(teacher_logits.shape[1])
    if config.class_prior == "originals":
        features = torch.from_numpy(FrozenEncoder(student).features(words))
        trust = trust_in_evidence(features, teacher_logits, job.training_set.families)
        shift = prior_shift(job.training_set, teacher_logits, trust)
    targets = Targets(*(one.to(student.device) for one in (teacher_logits, labels, shift)))
    made = recombine(words, _RECOMBINED if config.recombined else 0, job.seed)

    def run(title: str, model: torch.nn.Module, step: StepLoss, part: float = 1.0) -> LossTerms:
        settings = _loop_settings(job, targets, title, math.ceil(part * config.total_steps))
        progress = console.progress(f"{title} {job.name}", settings.steps)
        with only_seen_tokens(student, words + made), progress as task:
            return fit(model, step, job.training_set, settings, job.config.runtime, folder, task)

    def step_of(settings: DistillationConfig) -> StepLoss:
        return DistillationStep(student, job.training_set, knowledge, targets, settings, made)

    if config.warm_start == "contrastive":
        step = contrastive_step(student, job.training_set, targets.labels)
        run(_FIRST_PHASE, student.model, step, _CONTRASTIVE_PART)
    if config.warm_start != "none":
        warm_start_head(student, words, teacher_logits - shift)
    start = kept_start(student, config)
    if config.quantization == "nf4":
        dtype = training_dtype(job.config.runtime.dtype, student.device)
        train_in_4_bits(student, folder, dtype, job.seed)
    if config.method == "ted":
        run("Tuning", student.model, step_of(config.model_copy(update=_PLAIN)))
    trainee = _trainee(student, job, knowledge, targets.labels)
    terms = run(_LAST_PHASE, trainee, step_of(config))
    go_back_toward_start(student, start, config)
    if config.method == "ted" and isinstance(trainee, ProjectedStudent):
        kept = folder.with_name(f"filters-{job.name}.safetensors")
        keep_filters(kept, trainee.projections, trainee.layers)
    return terms


def _trainee(
    student: Classifier, job: StudentJob, knowledge: Knowledge, labels: torch.Tensor
) -> torch.nn.Module:
    """The module to train: the student, with projections where its hidden states are compared."""
    method = job.config.distillation.method
    if method == "kd":
        return student.model
    layers = [layer for _, layer in knowledge.layers]
    width = int(knowledge.teacher.model.config.hidden_size)
    if method == "ted":
        texts = [text.text for text in job.training_set.texts]
        projections = own_filters(student, texts, labels, layers, width, job.seed)
    else:
        own_width = int(student.model.config.hidden_size)
        projections = new_projections(len(layers), own_width, width, job.seed)
    return ProjectedStudent(student.model, layers, projections)


def _save(
    student: Classifier, job: StudentJob, folder: Path, console: Console
) -> QuantizationLoss | None:
    if job.config.distillation.quantization == "none":
        student.save(folder)
        return None
    texts = job.unseen or [text.text for text in job.training_set.texts]
    lost = save_in_4_bits(student, folder, texts)
    console.info(
        f"{job.name} in 4 bits: {lost.bytes / 1e6:.1f} MB. Merged and reloaded, it gives "
        f"{lost.agreement:.1%} of {lost.texts} texts the label it gave before; "
        f"logits differ by at most {lost.max_difference:.3f}."
    )
    return lost


def _collect_logs(folder: Path) -> None:
    """Put the logs of the phases beside that of the last one: a model folder holds no folders."""
    for log in list(folder.glob(f"*/{TRAIN_LOG}")):
        log.replace(folder / f"{log.parent.name}_log.jsonl")
        log.parent.rmdir()


def hard_labels(job: StudentJob, teacher_logits: torch.Tensor) -> torch.Tensor:
    """The hard label of every text of a job: the teacher's, or gold where the settings say so.

    Args:
        job: the job with n texts.
        teacher_logits: float [n, classes].

    Returns:
        int64 [n].

    """
    labels = teacher_logits.argmax(dim=-1)
    if job.config.distillation.hard_labels == "gold":
        for index, text in enumerate(job.training_set.texts):
            # A counterfactual has no gold label: its flip is the teacher's verdict.
            known = text.assumed if text.gold is None else text.gold
            if known is not None:
                labels[index] = known
    return labels


def _loop_settings(job: StudentJob, targets: Targets, title: str, steps: int) -> LoopSettings:
    settings = job.config.distillation
    adapted = settings.quantization == "nf4" and title != _FIRST_PHASE
    key = hashing.of_value(
        [
            title,
            settings.model_dump(mode="json"),
            model_hash(job.base),
            [[text.id, text.text] for text in job.training_set.texts],
            [list(group) for group in job.training_set.groups],
            targets.logits.tolist(),
            targets.labels.tolist(),
            targets.shift.tolist(),
            job.seed,
            job.teacher_hash,
        ]
    )
    return LoopSettings(
        steps=steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate * (ADAPTER_RATE if adapted else 1),
        seed=job.seed,
        key=key,
        phase="" if title == _LAST_PHASE else title.lower(),
    )


def _record(
    job: StudentJob, student: Classifier, terms: LossTerms, lost: QuantizationLoss | None
) -> StudentRecord:
    settings, training_set = job.config.distillation, job.training_set
    return StudentRecord(
        arm=job.arm,
        seed=job.seed,
        texts=len(training_set.texts),
        pairs=training_set.pairs,
        singles=training_set.singles,
        fill=training_set.fill,
        base=settings.student
        if settings.student_init == "pretrained"
        else job.config.teacher.model,
        teacher_sha256=job.teacher_hash,
        init=settings.student_init,
        layers=student.model.config.num_hidden_layers,
        warm_start=settings.warm_start,
        teacher_share=settings.teacher_share or 0.0,
        method=settings.method,
        steps=settings.total_steps,
        max_length=settings.max_length,
        final_loss=terms,
        quantization=lost,
    )
