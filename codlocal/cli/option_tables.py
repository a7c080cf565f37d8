"""The Click options of each group of commands, in the order in which `--help` lists them."""

from pathlib import Path

import click

from codlocal.core.config import STAGES

_output = (
    click.option("--offline/--online", default=None,
                 help="Forbid every outgoing connection: no hub, no package registry."),
    click.option("--json", "as_json", is_flag=True,
                 help="Print the result as JSON on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only."),
    click.option("-v", "--verbose", count=True, help="Print more."),
)  # fmt: skip

_run = click.option("--run", "run", type=click.Path(path_type=Path), metavar="DIR",
                    help="Run folder. [default: runs/DATASET-PROFILE]")  # fmt: skip

_device = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]),
                       help="Where models run.")  # fmt: skip

_common = (
    _run,
    click.option("--profile", metavar="NAME",
                 help="embedded (no GPU, no hub), default (one GPU) or paper-qwen. "
                 "[default: default]"),
    click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE.toml",
                 help="Settings that override the profile's."),
    click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE",
                 help="Override one setting; may be repeated."),
    click.option("--redo", type=click.Choice(STAGES),
                 help="Set this stage's results and all later ones aside (RUN/archive), "
                 "and redo them."),
    _device,
    *_output,
)  # fmt: skip

_dataset = (
    click.option("--dataset", metavar="NAME",
                 help="sst2, sentiment140, imdb, cola, amazon or yelp. [default: yelp]"),
    click.option("--data", metavar="FILE|DIR",
                 help="Your own data: CSV, TSV, JSONL, Parquet, or a saved Hugging Face dataset."),
    click.option("--text-column", metavar="NAME", help="Column of the texts. [default: text]"),
    click.option("--label-column", metavar="NAME", help="Column of the labels. [default: label]"),
    click.option("--source", type=click.Choice(["auto", "bundled", "cache", "hub"]),
                 help="Where a named dataset comes from."),
    click.option("-k", "--k", type=int, help="Labelled texts per student; even."),
    click.option("--budget", type=click.Choice(["paper", "max"]),
                 help="paper: k/2 originals and k/2 counterfactuals; max: all k originals and "
                 "every counterfactual of them. [default: paper]"),
    click.option("--select-originals", type=click.Choice(["first", "active"]),
                 help="Which k/2 texts are flipped: the first drawn, or the teacher's closest "
                 "calls. [default: first]"),
    click.option("--seed", type=int, help="First seed. [default: 0]"),
    click.option("--seeds", type=int, help="How many seeds: mean and interval over them."),
)  # fmt: skip

_teacher = (
    click.option("--teacher", metavar="MODEL",
                 help="Fine-tuned classifier or encoder; folder, packaged name or hub id."),
    click.option("--teacher-quantization", type=click.Choice(["none", "nf4"]),
                 help="nf4: load the teacher's body in 4 bits. [default: none]"),
)  # fmt: skip

_model = (
    click.option("--generator", metavar="MODEL",
                 help="Language model that writes counterfactuals."),
)  # fmt: skip

_asking = (
    click.option("--engine", type=click.Choice(["vllm", "transformers"]),
                 help="vllm: a server of its own; transformers: in this process, slower."),
    click.option("--prompt", metavar="FILE",
                 help="Your own Jinja2 prompt instead of prompts/TASK.jinja."),
    click.option("--candidates", type=int, help="Replies per original and round."),
    click.option("--max-candidates", type=int, metavar="N",
                 help="Replies per original and target over all rounds. [default: no bound]"),
    click.option("--max-tokens", type=int, metavar="N",
                 help="Expected generated tokens of the whole run. [default: no bound]"),
    click.option("--max-rounds", type=int, metavar="N",
                 help="Rounds; only originals without a verified flip reach the next one."),
    click.option("--temperature", type=float, help="Sampling temperature."),
    click.option("--attribution", type=click.Choice(["occlusion", "gradient"]),
                 help="How the words that matter are found. occlusion asks the teacher about every "
                 "word, and suits any teacher; gradient takes one backward pass a text, for long "
                 "texts and big local teachers. [default: occlusion]"),
    click.option("--targets", type=click.Choice(["runner-up", "all", "confusion"]),
                 help="Labels to flip into: the teacher's second choice, every other label (of the "
                 "flips --cfe-per-example are kept), or the one that is confused most with the "
                 "original's. [default: runner-up]"),
    click.option("--confused-student", metavar="DIR",
                 help="Student whose confusions --targets confusion goes by. "
                 "[default: the teacher's own doubts]"),
    click.option("--concurrency", type=int, help="Requests in flight at once."),
    click.option("--engine-python", metavar="PATH",
                 help="Interpreter of an environment that has vLLM."),
    click.option("--port", type=int, help="Port of our server. [default: a free one]"),
)  # fmt: skip

_choice = (
    click.option("--select", type=click.Choice(["minimal", "boundary", "fluent", "diverse"]),
                 help="Which verified flips are taken: the least edit, the teacher's closest "
                 "call, the most fluent, or the least like the others. [default: minimal]"),
    click.option("--cfe-per-example", type=int, metavar="N",
                 help="Counterfactuals per original. [default: 1]"),
)  # fmt: skip

_attached = (
    click.option("--server-url", metavar="URL",
                 help="Use a running vLLM server; its key is read from CODLOCAL_SERVER_KEY."),
    click.option("--replay", metavar="DIR",
                 help="Take the generator's replies from another run's folder: no model needed."),
)  # fmt: skip

_student = (
    click.option("--student", metavar="MODEL", help="Model that the student starts from."),
    click.option("--student-init", type=click.Choice(["pretrained", "teacher"]),
                 help="teacher: made of the teacher's own layers and head. [default: pretrained]"),
    click.option("--student-layers", type=int, metavar="N",
                 help="Layers of the student, evenly spaced. [default: all, of a teacher half]"),
    click.option("--warm-start", type=click.Choice(["none", "head", "contrastive"]),
                 help="head: fit the head on frozen features first; contrastive: pull features "
                 "of a label together before that. [default: none]"),
    click.option("--pooling", type=click.Choice(["first", "mean"]),
                 help="What the student's head reads: the first token or the mean of all; only "
                 "for ModernBERT and EuroBERT. [default: as its configuration says]"),
    click.option("--method", type=click.Choice(["kd", "lwd", "ted"]),
                 help="Objective: soft labels (kd), hidden states too (lwd), or what the task "
                 "needs of them (ted). [default: kd]"),
    click.option("--quantization", type=click.Choice(["none", "nf4"]),
                 help="nf4: train and save students in 4 bits (QLoRA). [default: none]"),
    click.option("--steps", type=int, help="Training steps of a student."),
    click.option("--tracker", type=click.Choice(["none", "tensorboard", "wandb", "mlflow"]),
                 help="Show the students' losses there, too. [default: none]"),
    click.option("--baseline/--no-baseline", default=None,
                 help="Also distil a student on k originals, for comparison. [default: yes]"),
)  # fmt: skip


_generator = (*_model, *_asking)

GROUPS = {
    "engine": _output,
    "doctor": (_generator[-2], *_output),
    "serve": (*_generator, *_common),
    "data": (*_dataset, *_common),
    "teacher": (*_dataset, *_teacher, *_common),
    "generate": (*_dataset, *_teacher, *_generator, *_attached, *_common),
    "verify": (*_dataset, *_teacher, *_generator, *_attached, *_choice, *_common),
    "measures": (_run, _device, *_output),
    "compare": (*_dataset, *_teacher, *_asking, *_choice, *_student, *_common),
    "all": (*_dataset, *_teacher, *_generator, *_attached, *_choice, *_student, *_common),
}
