"""Prompt templates: one Jinja2 file a task, found in a wheel and in an editable install.

The texts of the data are only ever inserted as JSON strings, so a text can't end its own quotes
and speak as an instruction; nor can it end its turn, as what a tokenizer could read as a control
token (`<|im_end|>`, `<end_of_turn>`, `[/INST]`) is escaped. Labels come escaped in the same way.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import jinja2
from jinja2.sandbox import SandboxedEnvironment

import codlocal
from codlocal.core import hashing, paths
from codlocal.core.errors import ConfigError
from codlocal.core.records import DatasetSpec
from codlocal.core.run import RunFolder
from codlocal.core.sections import GeneratorConfig
from codlocal.generation.quoting import quoted

COPY = "prompt.jinja"
"""What a run folder calls the prompt that it began with."""
_CORRECT = "Correct the file; those in prompts/ are examples."

STYLES = ("fill", "mark", "free")
_MADE_UP = "zyxqw"
"""A text that no template has of its own."""
_SLOT = re.compile(r"\[[^\[\]]*\]")
_RENDERING_ERRORS = (
    jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError,
    RecursionError, MemoryError,
)  # fmt: skip
"""What a user's own expressions can raise, such as `{{ label_names[7] }}` or `{{ 1 + text }}`."""


def folder() -> Path:
    """The folder of the templates that come with codlocal.

    Raises:
        ConfigError: the installation lacks it.

    """
    package = Path(codlocal.__file__).parent
    for candidate in (package / "prompts", package.parent / "prompts"):
        if candidate.is_dir():
            return candidate
    raise ConfigError("This installation lacks its prompts/ folder.", "Install codlocal again.")


@dataclass(frozen=True)
class Demonstration:
    """A labelled text as a solved task: its window with a blank, and the window as it is."""

    label: str
    blanked: str
    text: str


@dataclass(frozen=True)
class Flip:
    """A verified flip of the run: a text of one label edited into another."""

    before: str
    after: str
    marked: str
    """The text with the changed words in [brackets]."""
    blanked: str
    """The text with ___ in their place."""
    text: str
    edited: str


@dataclass(frozen=True)
class Attempt:
    """An edit that was tried and not taken, with the teacher's probability of the target label."""

    text: str
    probability: float


@dataclass(frozen=True)
class PromptInput:
    """What a template is given; its variables have these names.

    Attributes:
        text: the text, or the part of it that may change, with the words that may change as
            blanks (style "fill"), in [brackets] ("mark"), or as they are ("free").
        style: how the text is shown; base models are better at filling in than at editing.
        source_label: the label that the text has, in plain words.
        target_label: the label that it should get.
        label_names: all labels of the task.
        demonstrations: other labelled texts of the run, of both labels.
        flips: verified flips of earlier rounds, of both directions, the most similar last.
        tried: what earlier rounds tried with this text, the nearest to the target first. Packaged
            "fill" prompts leave it out: with it 85 of 152 replies of Gemma 3 270M repeated an
            attempt, without it 56, and 2 rather than 3 of 19 texts got a good flip.

    """

    text: str
    style: str
    source_label: str
    target_label: str
    label_names: Sequence[str]
    demonstrations: Sequence[Demonstration] = ()
    flips: Sequence[Flip] = ()
    tried: Sequence[Attempt] = ()


@dataclass(frozen=True)
class PromptTemplate:
    """One task's template and where it came from."""

    path: Path

    @cached_property
    def sha256(self) -> str:
        """The hash of the template's text, kept with every run."""
        return hashing.of_file(self.path)

    @property
    def text(self) -> str:
        """The template itself, without the mark that some editors put before it."""
        return self.path.read_text("utf-8-sig")

    @cached_property
    def _template(self) -> jinja2.Template:
        environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined)
        environment.filters["json"] = quoted
        environment.filters["blanks"] = lambda text: _SLOT.sub("___", text)
        environment.filters["plain"] = lambda text: text.replace("[", "").replace("]", "")
        try:
            return environment.from_string(self.text)
        except (jinja2.TemplateError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The prompt {self.path} is not a Jinja2 template: {error}.", _CORRECT
            ) from error

    def render(self, given: PromptInput) -> str:
        """Word one request.

        Raises:
            ConfigError: the template asks for what does not exist, or is none.

        """
        try:
            return self._template.render(vars(given)).strip()
        except _RENDERING_ERRORS as error:
            raise ConfigError(
                f"The prompt {self.path} can't be rendered: {error}.", _CORRECT
            ) from error

    def check(self, label_names: Sequence[str], styles: Sequence[str] = STYLES) -> None:
        """Word made-up requests of every style, of a first round and of a later one.

        Raises:
            ConfigError: the template can't word one of them, or does not show the text in one of
                those `styles` that the run asks in.

        """
        first, second = label_names[:2]
        turns = ((first, second), (second, first))
        for style in STYLES:
            bare = PromptInput(_MADE_UP, style, first, second, label_names)
            full = replace(
                bare,
                demonstrations=[Demonstration(first, "so ___", "so good")],
                flips=[Flip(*turn, "so [good]", "so ___", "so good", "so bad") for turn in turns],
                tried=[Attempt("so fine", 0.5)],
            )
            worded = [self.render(given).casefold() for given in (bare, full)]
            if style in styles and not all(_MADE_UP in one for one in worded):
                raise ConfigError(
                    f"The prompt {self.path} never shows the text in the style {style!r}, in which "
                    "it is asked for.",
                    "Put {{ text | json }} where the text to be edited belongs.",
                )


def styles_of(config: GeneratorConfig) -> tuple[str, ...]:
    """The styles in which the rounds of a run ask."""
    rounds = set(config.rounds[: config.max_rounds])
    guided = "fill" if config.prompting == "completion" else "mark"
    return (*([guided] if rounds - {"free"} else ()), *(["free"] if "free" in rounds else ()))


def names() -> list[str]:
    """The tasks that have a packaged template.

    Raises:
        ConfigError: the installation lacks them.

    """
    return sorted(entry.stem for entry in folder().glob("*.jinja"))


def anchored(chosen: str) -> str:
    """A chosen prompt as it is found from every folder: a file's absolute path, or a task's name.

    Raises:
        ConfigError: it begins with the home folder of a user who has none.

    """
    path = paths.absolute(chosen)
    return chosen if chosen in names() and not Path(path).is_file() else path


def of_run(run: RunFolder, spec: DatasetSpec, *, begun: bool = True) -> PromptTemplate:
    """The template of a run, which has worded made-up requests for the labels of its texts.

    One that has `begun` goes on with its copy.

    Raises:
        ConfigError: there is no such file or task, or it can't be used.

    """
    template = load(spec.task, run.config.generator.prompt, run.file(COPY) if begun else None)
    template.check(spec.label_names, styles_of(run.config.generator))
    return template


def load(task: str, chosen: str | None = None, copy: Path | None = None) -> PromptTemplate:
    """The template of a task, or the one that the user chose.

    Args:
        task: the name of a packaged template.
        chosen: the user's own file, or the name of another task, used in its place.
        copy: where a run that has begun keeps its prompt.

    Raises:
        ConfigError: there is no such file or task.

    """
    name = anchored(chosen) if chosen else task
    path = folder() / f"{name}.jinja" if name in {task, *names()} else Path(name)
    if not path.is_file():
        hint = f"Tasks with a prompt: {', '.join(names())}."
        if copy is not None and copy.is_file():
            hint = f"To go on with this run, put its copy there: {copy}"
        raise ConfigError(f"There is no prompt {path}.", hint)
    return PromptTemplate(path)
