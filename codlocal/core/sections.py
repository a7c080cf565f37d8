"""The sections of a configuration: what each part of a run can be told, and its defaults.

`runtime` holds how a run is executed, which is not meant to change what it computes: a `dtype`
changes last digits, `max_model_len` which texts are too long for the generator, and `request_seeds`
whether a server's replies can be had again.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_BELOW = 2**31
"""What no count may reach: beyond, torch and the servers overflow."""
Positive = Annotated[int, Field(ge=1, lt=_BELOW)]
Count = Annotated[int, Field(ge=0, lt=_BELOW)]
Rate = Annotated[float, Field(gt=0)]
Strategy = Literal["infill", "lexical", "guided", "wide", "free"]
EngineName = Literal["vllm", "transformers"]
Prompting = Literal["chat", "completion"]
Attribution = Literal["occlusion", "gradient"]
Targets = Literal["runner-up", "all", "confusion"]
Quantization = Literal["none", "nf4"]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_saved(cls, value: object) -> object:
        told = value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        if told != value:
            raise ValueError(f"{told} is not UTF-8; rename it")
        return value


OF_FILES = ("text_column", "label_column", "label_names")
"""Settings of `dataset` that only a file of one's own can have; a named dataset brings them."""


class DatasetConfig(Section):
    """Which texts, how many of them, and for which seeds."""

    name: str = "yelp"
    path: str | None = None
    source: Literal["auto", "bundled", "cache", "hub"] = "auto"
    text_column: str = "text"
    label_column: str = "label"
    label_names: tuple[str, ...] | None = None
    k: Annotated[int, Field(ge=2, lt=_BELOW, description="labelled texts per student")] = 32
    seed: Count = 0
    seeds: Annotated[int, Field(ge=1, le=10_000)] = 1

    @model_validator(mode="after")
    def _k_is_even(self) -> "DatasetConfig":
        if self.k % 2:
            raise ValueError(f"k must be even (half originals, half counterfactuals), not {self.k}")
        return self

    @model_validator(mode="after")
    def _named_ones_bring_their_own(self) -> "DatasetConfig":
        fields = type(self).model_fields
        lost = [name for name in OF_FILES if getattr(self, name) != fields[name].default]
        if lost and self.path is None:
            raise ValueError(
                f"{' and '.join(lost)} can be chosen for a file of your own (--data) only; "
                f"{self.name} brings its own"
            )
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of the run, in order."""
        return tuple(range(self.seed, self.seed + self.seeds))


class TeacherConfig(Section):
    """The classifier to copy, and how to fine-tune it where it has no head yet.

    `max_rows` bounds the training texts, drawn at random; None takes them all.
    """

    model: str = "microsoft/deberta-v3-base"
    max_rows: Positive | None = None
    epochs: Positive = 3
    batch_size: Positive = 32
    learning_rate: Rate = 2e-5
    max_length: Positive = 256
    quantization: Quantization = "none"
    seed: Count = 0


class GeneratorConfig(Section):
    """The model that writes counterfactuals, and how it is asked.

    `max_candidates` bounds the replies for one original and target, `max_tokens` the expected
    generated tokens of the whole run, `max_rounds` the rounds; None leaves each unbounded. Where
    the originals are more than one shard, each shard has its share of the tokens.
    `rounds` loosen the constraint: "infill" takes the model's likeliest words for the places that
    matter, as far as they flip the teacher, "lexical" lets the model choose among words with which
    the teacher is known to flip, "guided" lets it write words of its own in those places, "wide"
    more of them, "free" the whole text.
    `span_words` is how many words a run of changed words may become where the model writes words of
    its own, at least as many as it has; None is up to two more than that, depending on the round.
    `targets` chooses the labels to flip into. "confusion" is the label with which the original's
    is confused most, by the mean probabilities of `confused_student`, or of the teacher itself; a
    flip into a third label is taken only where there is none into that one.
    `budget` says which originals get counterfactuals and what a student sees: "paper" k/2 originals
    and k/2 counterfactuals, "max" all k originals and every verified counterfactual of them.
    `select_originals` "active" flips those of the k texts on which the teacher is least sure,
    rather than the first ones of the draw; sets for several k are then no longer nested.
    """

    engine: EngineName = "vllm"
    model: str = "Qwen/Qwen2.5-7B-Instruct"
    prompting: Prompting = "chat"
    prompt: str | None = None
    candidates: Positive = 8
    rounds: Annotated[tuple[Strategy, ...], Field(min_length=1)] = ("infill", "guided", "free")
    span_words: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    reply_tokens: Annotated[int, Field(ge=16, lt=_BELOW, description="tokens of one reply")] = 256
    attribution: Attribution = "occlusion"
    budget: Literal["paper", "max"] = "paper"
    select_originals: Literal["first", "active"] = "first"
    targets: Targets = "runner-up"
    confused_student: str | None = None
    max_candidates: Positive | None = None
    max_tokens: Positive | None = None
    max_rounds: Positive | None = None
    seed: Count = 0


class VerificationConfig(Section):
    """Which verified flips are good enough, and which of them are taken.

    `select` is the rule of choice: the least edit and drop in fluency, the teacher's closest call,
    the likeliest text, or the one least like those chosen before. `per_example` is how many
    counterfactuals an original gets at most, the preferred one first, and one of every label before
    a second of any: with targets "all" it takes as many as there are other labels to keep a flip
    into each. `min_pairs` counts them all. `max_edit_distance` is the most words and marks that may
    be edited, as a share of the original's; one may always be.
    """

    select: Literal["minimal", "boundary", "fluent", "diverse"] = "minimal"
    per_example: Positive = 1

    max_edit_distance: Annotated[float, Field(gt=0)] = 0.6
    fluency_quantile: Annotated[float, Field(ge=0, lt=1)] = 0.05
    fluency_slack: Annotated[float, Field(ge=0)] = 1.5
    fluency_weight: Annotated[float, Field(ge=0)] = 0.02
    min_pairs: Count = 1


START_STEPS = {"pretrained": 360, "teacher": 120}
"""Training steps by how a student starts; made of the teacher's layers it knows much already."""


class DistillationConfig(Section):
    """How the student starts and is trained: CE on the teacher's label plus KL at a temperature.

    `method` "lwd" adds the hidden states, and "ted" what task-aware filters keep of them; for the
    filters a student is first tuned on its texts, for as many steps again. `warm_start` "head" fits
    the head on frozen features first; "contrastive" trains the features before, for half as many
    steps; "auto" fits the head of a decoder, unless it is the whole teacher's. `pair_weight` weighs
    the step of the logits from an original to its counterfactual, `interpolation_weight` the soft
    outputs at inputs between the two. So many `recombined` texts in each step are cut and joined
    from the student's own: on these the student learns what the teacher says, with the weights of
    `method`, and no hard label.

    `student_init` "teacher" makes the student of the teacher's own layers, "pretrained" of its own
    model's; "auto" of the teacher's where the student, too, would be so many layers of that very
    model, unless a warm start or a pooling is asked for, which are for a new head. `steps` are by
    default what the start wants: `START_STEPS`.
    `teacher_share` brings a trained student that was made of the teacher's layers back toward
    them, with the head that they were given: at 0.5 half way (not in 4 bits). By default that is so
    where a head was fitted on them first, or with more than two classes, and 0 else.
    `student_layers` defaults to all layers of a pretrained student, and to half of the teacher's
    where the student is made of them. `pooling` says whether the head reads a text's first token
    or the mean of its tokens, by default whatever the model's configuration says; few families
    have the choice. In 4 bits `learning_rate` is that of full training all the same: adapters
    train with a fixed multiple of it.
    """

    method: Literal["kd", "lwd", "ted"] = "kd"
    student: str = "microsoft/deberta-v3-small"
    student_init: Literal["auto", "pretrained", "teacher"] = "auto"
    student_layers: Positive | None = None
    teacher_share: Annotated[float, Field(ge=0, lt=1)] | None = None
    warm_start: Literal["auto", "none", "head", "contrastive"] = "auto"
    pooling: Literal["first", "mean"] | None = None
    quantization: Quantization = "none"
    steps: Positive | None = None
    batch_size: Annotated[int, Field(ge=2, lt=_BELOW)] = 8
    learning_rate: Rate = 6e-5
    temperature: Rate = 2.0
    kl_weight: Annotated[float, Field(ge=0)] = 20.0
    layer_weight: Annotated[float, Field(ge=0)] = 20.0
    pair_weight: Annotated[float, Field(ge=0)] = 0.0
    interpolation_weight: Annotated[float, Field(ge=0)] = 0.0
    recombined: Count = 0
    max_length: Positive = 256
    hard_labels: Literal["teacher", "gold"] = "teacher"
    class_prior: Literal["originals", "texts"] = "originals"
    baseline: bool = True

    @model_validator(mode="after")
    def _pooling_is_the_students_own(self) -> "DistillationConfig":
        if self.pooling and self.student_init == "teacher":
            raise ValueError("a student made of the teacher's layers has the teacher's pooling")
        return self

    @property
    def total_steps(self) -> int:
        """The training steps: those that are asked for, or what the start, not "auto", wants."""
        return self.steps or START_STEPS[self.student_init]


class RuntimeConfig(Section):
    """How the run is executed here; not meant to change what it computes (see above).

    `replay` is a folder with another run's replies.jsonl, or that file: it answers in the
    generator's place. Without `request_seeds` a server draws other replies each time.
    `server_arguments` are more arguments of the vLLM server that we start: later ones win.
    """

    offline: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: Annotated[Count, Field(description="CPU threads; 0: half of the cores")] = 0
    max_model_len: Positive = 2048
    concurrency: Positive = 32
    server_url: str | None = None
    engine_python: str | None = None
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    server_timeout: Rate = 900.0
    server_arguments: tuple[str, ...] | None = None
    request_seeds: bool = True
    checkpoint_steps: Positive = 200
    replay: str | None = None
    tracker: Literal["none", "tensorboard", "wandb", "mlflow"] = "none"
