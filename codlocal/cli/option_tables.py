"""The Click options of each group of commands, in the order in which `--help` lists them."""

from functools import partial
from typing import get_args

import click

from codlocal.cli.headings import Option, Place
from codlocal.core.config import STAGES, Config

_of_run = partial(click.option, cls=Option, heading="Run")
_of_output = partial(click.option, cls=Option, heading="Output")
_of_texts = partial(click.option, cls=Option, heading="Texts")
_of_teacher = partial(click.option, cls=Option, heading="Teacher")
_of_generator = partial(click.option, cls=Option, heading="Counterfactuals")
_of_student = partial(click.option, cls=Option, heading="Student")


def _values_of(setting: str) -> click.Choice[str]:
    """The values that a setting may have, but for None."""
    section, name = setting.split(".")
    kind = type(getattr(Config(), section)).model_fields[name].annotation
    found = (value for one in (kind, *get_args(kind)) for value in get_args(one))
    return click.Choice([value for value in found if isinstance(value, str)])


_output = (
    _of_output("--offline/--online", default=None,
               help="Forbid every outgoing connection: no hub, no package registry."),
    _of_output("--json", "as_json", is_flag=True,
               help="Print the result as JSON on standard output, and all else on standard error."),
    _of_output("-q", "--quiet", is_flag=True, help="Print errors and warnings only."),
    _of_output("-v", "--verbose", count=True, help="Print more."),
)  # fmt: skip

_run = _of_run("--run", "run", type=Place(), metavar="DIR",
               help="Run folder. [default: runs/DATASET-PROFILE, of --data "
               "runs/FILENAME-PROFILE]")  # fmt: skip

_finished = _of_run("--run", "run", type=Place(), metavar="DIR", required=True,
                    help="Run folder.")  # fmt: skip

_device = _of_run("--device", type=_values_of("runtime.device"),
                  help="Where models run. [default: the profile's]")  # fmt: skip

_settings = (
    _of_run("--profile", metavar="NAME",
            help="embedded (no GPU, no hub), default (one GPU) or paper-qwen. "
            "[default: default]"),
    _of_run("--config", "config_file", type=Place(), metavar="FILE.toml",
            help="Settings that override the profile's; of a run's run.toml all but those of its "
                 "engine, server, replay and tracker."),
    _of_run("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE",
            help="Override one setting of run.toml, such as distillation.batch_size=16, or "
                 "unset it (teacher.max_rows=); may be repeated."),
)  # fmt: skip

_common = (
    _run,
    *_settings,
    _of_run("--redo", type=click.Choice(STAGES),
            help="Set this stage's results and all later ones aside (RUN/archive), "
            "and redo them."),
    _device,
    *_output,
)  # fmt: skip

_dataset = (
    _of_texts("--dataset", metavar="NAME",
              help="sst2, sentiment140, imdb, cola, amazon, yelp, ag_news or banking77; "
              "with --data just the name that the run gets. [default: yelp]"),
    _of_texts("--data", type=Place(str), metavar="FILE|DIR",
              help="Your own data: CSV, TSV, JSON, JSONL or Parquet, a folder with train and test "
              "files, or a saved Hugging Face dataset."),
    _of_texts("--text-column", metavar="NAME", help="Column of the texts. [default: text]"),
    _of_texts("--label-column", metavar="NAME", help="Column of the labels. [default: label]"),
    _of_texts("--source", type=_values_of("dataset.source"),
              help="Where a named dataset comes from. auto: the local cache, else the hub; "
              "bundled: a small free stand-in. [default: the profile's]"),
    _of_texts("-k", "--k", type=int, metavar="N",
              help="Labelled texts per student; even. [default: the profile's]"),
    _of_texts("--seed", type=int, metavar="N", help="First seed. [default: 0]"),
    _of_texts("--seeds", type=int, metavar="N",
              help="How many seeds, each with its own draw of k texts: results are means over "
              "them, with intervals. [default: the profile's]"),
    _of_generator("--budget", type=_values_of("generator.budget"),
                  help="paper: k/2 originals and k/2 counterfactuals; max: all k originals and "
                  "every counterfactual of them. [default: paper]"),
    _of_generator("--select-originals", type=_values_of("generator.select_originals"),
                  help="Which k/2 texts are flipped: the first drawn, or the teacher's closest "
                  "calls. [default: first]"),
)  # fmt: skip

_teacher = (
    _of_teacher("--teacher", metavar="MODEL",
                help="The classifier to copy, or an encoder to be fine-tuned into one: a folder, a "
                "packaged name or a hub id. [default: the profile's]"),
    _of_teacher("--teacher-quantization", type=_values_of("teacher.quantization"),
                help="nf4: load the teacher's body in 4 bits. [default: none]"),
)  # fmt: skip

_model = (
    _of_generator("--generator", metavar="MODEL",
                  help="The language model that writes counterfactuals: a folder, a packaged name "
                  "or a hub id. [default: the profile's]"),
)  # fmt: skip

_asking = (
    _of_generator("--engine", type=_values_of("generator.engine"),
                  help="vllm: a server of its own; transformers: in this process, slower. "
                  "[default: vllm]"),
    _of_generator("--prompt", metavar="FILE|TASK",
                  help="Jinja2 prompt instead of the task's own: a file of yours, or the packaged "
                  "one for acceptability, generic, intent, sentiment or topic."),
    _of_generator("--candidates", type=int, metavar="N",
                  help="Replies per original and round. [default: 8]"),
    _of_generator("--max-candidates", type=int, metavar="N",
                  help="At most so many replies per original and target, over all rounds. "
                  "[default: no bound]"),
    _of_generator("--max-tokens", type=int, metavar="N",
                  help="Ask for no more than about so many generated tokens in the whole run. "
                  "[default: no bound]"),
    _of_generator("--max-rounds", type=int, metavar="N",
                  help="At most so many rounds of asking; only originals without a good flip "
                  "reach the next one. [default: all of generator.rounds]"),
    _of_generator("--temperature", type=float, metavar="T",
                  help="Sampling temperature. [default: 0.7]"),
    _of_generator("--attribution", type=_values_of("generator.attribution"),
                  help="How the words that matter are found. occlusion asks the teacher about "
                  "every word, and suits any teacher; gradient takes one backward pass a text, for "
                  "long texts and big local teachers. [default: occlusion]"),
    _of_generator("--targets", type=_values_of("generator.targets"),
                  help="Labels to flip into: the teacher's second choice, every other label (how "
                  "many flips are kept is verification.per_example), or the one that is confused "
                  "most with the original's. [default: runner-up]"),
    _of_generator("--confused-student", metavar="DIR",
                  help="Student whose confusions --targets confusion goes by. "
                  "[default: the teacher's own doubts]"),
    _of_generator("--concurrency", type=int, metavar="N",
                  help="Requests in flight at once. [default: the profile's]"),
)  # fmt: skip

_engine_python = _of_generator("--engine-python", metavar="PATH",
                               help="Interpreter of an environment that has vLLM. "
                               "[default: the one of `codlocal engine install`]")  # fmt: skip

_server = (
    _engine_python,
    _of_generator("--port", type=int, metavar="N",
                  help="Port of our server. [default: a free one]"),
)  # fmt: skip

_served = _of_run("--run", "run", type=Place(), metavar="DIR",
                  help="Serve the generator of this run, and keep the server's log in its "
                  "folder.")  # fmt: skip

_choice = (
    _of_generator("--select", type=_values_of("verification.select"),
                  help="Which verified flips are taken: the least edit, the teacher's closest "
                  "call, the most fluent, or the least like the others. [default: minimal]"),
    _of_generator("--cfe-per-example", type=int, metavar="N",
                  help="At most so many counterfactuals per original. [default: 1]"),
)  # fmt: skip

_server_url = _of_generator("--server-url", metavar="URL",
                            help="Use a running vLLM server; its key is read from "
                            "CODLOCAL_SERVER_KEY.")  # fmt: skip

_attached = (
    _server_url,
    _of_generator("--replay", metavar="DIR",
                  help="Take the generator's replies from another run's folder: no model needed."),
)  # fmt: skip

_student = (
    _of_student("--student", metavar="MODEL",
                help="Model that the student starts from: a folder, a packaged name or a hub id. "
                "[default: the profile's]"),
    _of_student("--student-init", type=_values_of("distillation.student_init"),
                help="teacher: made of the teacher's own layers and head; auto: so where the "
                "student would have N layers of the teacher's own model, and neither a warm start "
                "nor a pooling is asked for. [default: auto]"),
    _of_student("--student-layers", type=int, metavar="N",
                help="Layers of the student: evenly spaced ones, or a decoder's first. "
                "[default: all, of a teacher half; embedded: 3]"),
    _of_student("--warm-start", type=_values_of("distillation.warm_start"),
                help="head: fit the head on frozen features first; contrastive: pull features "
                "of a label together before that; auto: head for decoders. "
                "[default: auto; paper-qwen: none]"),
    _of_student("--pooling", type=_values_of("distillation.pooling"),
                help="What the student's head reads: the first token or the mean of all; only "
                "for ModernBERT and EuroBERT. [default: as its configuration says]"),
    _of_student("--method", type=_values_of("distillation.method"),
                help="Objective: soft labels (kd), hidden states too (lwd), or what the task "
                "needs of them (ted). [default: kd; embedded: lwd]"),
    _of_student("--quantization", type=_values_of("distillation.quantization"),
                help="nf4: train and save students in 4 bits (QLoRA). [default: none]"),
    _of_student("--steps", type=int, metavar="N",
                help="Training steps of a student. [default: 600; embedded: 360, or "
                "120 from the teacher's layers]"),
    _of_student("--tracker", type=_values_of("runtime.tracker"),
                help="Show the students' losses there, too. [default: none]"),
    _of_student("--baseline/--no-baseline", default=None,
                help="Also distil a student on k originals, for comparison. [default: yes]"),
)  # fmt: skip

_rounds = click.option(
    "--rounds", type=click.IntRange(1), default=1, show_default=True, metavar="N",
    cls=Option, heading="Run",
    help="Rounds of the whole. After the first, write counterfactuals where the student still "
    "parts with the teacher, and distil anew (RUN/rounds); needs --budget max.",
)  # fmt: skip

_dry_run = click.option(
    "--dry-run", is_flag=True, cls=Option, heading="Run",
    help="Say what would be done and whether all that it needs is there; write and fetch nothing.",
)  # fmt: skip

_generator = (*_model, *_asking, *_server)
_all = (*_dataset, *_teacher, *_generator, *_attached, *_choice, *_student, *_common)

GROUPS = {
    "output": _output,
    "doctor": (_engine_python, *_output),
    "serve": (*_model, *_server, _served, *_settings, _device, *_output),
    "data": (*_dataset, *_common),
    "teacher": (*_dataset, *_teacher, *_common),
    "generate": (*_dataset, *_teacher, *_generator, *_attached, *_common),
    "verify": (*_dataset, *_teacher, *_generator, *_attached, *_choice, *_common),
    "measures": (_finished, _device, *_server, _server_url, *_output),
    "compare": (*_dataset, *_teacher, *_asking, *_server, *_choice, *_student, *_common),
    "pipeline": (*_all, _rounds, _dry_run),
    "all": _all,
}
