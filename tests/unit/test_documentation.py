"""Command lines, settings, files and links in the pages for people are real ones."""

import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest

from codlocal.cli import cli
from codlocal.cli.options import _SETTINGS
from codlocal.core.config import Config, parse_assignments, profile_names, resolve
from codlocal.core.outputs import OUTPUTS
from codlocal.core.sections import Section
from codlocal.data.registry import REGISTRY
from codlocal.generation import prompts
from codlocal.generation.prompts import Attempt, Demonstration, Flip, PromptInput
from codlocal.pipeline.cells import plan
from codlocal.pipeline.grid import read_grid

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md")
DEFAULTS = {
    f"{section}.{key}": value
    for section, group in Config()
    if isinstance(group, Section)
    for key, value in group
}
NOT_OURS = {"--multi_gpu", "--default-chat-template-kwargs", "--max-logprobs"}
"""Of `accelerate launch` and of vLLM."""

_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page):
    return (ROOT / page).read_text("utf-8")


def part_of(page, heading):
    """The text below a heading, up to the next one."""
    return text_of(page).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def inline(text):
    """The `code` within sentences and tables."""
    return [" ".join(one.split()) for one in re.findall(r"`([^`]+)`", _FENCED.sub("", text))]


def lines(text):
    """The lines of all blocks of code."""
    indented = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return [*indented, *(line for block in _FENCED.findall(text) for line in block.splitlines())]


def all_commands(command=cli):
    if not isinstance(command, click.Group):
        return [command]
    children = (command.get_command(None, name) for name in command.list_commands(None))
    return [one for child in children for one in all_commands(child)]


OPTIONS = {
    word: option
    for command in all_commands()
    for option in command.params
    if isinstance(option, click.Option)
    for word in (*option.opts, *option.secondary_opts)
}


def check_settings(assignments):
    resolve([parse_assignments(assignments)])


def parse(words):
    """Let Click read a command line as far as it would be run."""
    command = cli
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(None, name)
        assert command, f"there is no command {name!r}"
    try:
        context = command.make_context(name, list(words), **cli.context_settings)
    except click.exceptions.Exit:
        return  # it asks for help
    except click.MissingParameter:
        assert not words  # a mere name may lack its arguments
        return
    check_settings(context.params.get("assignments") or ())


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_can_be_parsed(page):
    text = text_of(page)
    found = [
        match[1]
        for snippet in (*inline(text), *lines(text))
        for match in [re.search(r"(?:^|\s)codlocal ([a-z].*)", snippet)]
        if match
    ]
    assert found or page != "README.md"
    for line in found:
        parse(shlex.split(line, comments=True))


@pytest.mark.parametrize("page", PAGES)
def test_options_exist_and_have_the_values_that_are_named(page):
    for snippet in inline(text_of(page)):
        for word, value in re.findall(r"(?<!\S)(--[a-z][\w-]*)(?: (\S+))?", snippet):
            if word in NOT_OURS | {"--help"}:
                continue
            assert word in OPTIONS, snippet
            if isinstance(OPTIONS[word].type, click.Choice) and value.islower():
                assert value in OPTIONS[word].type.choices, snippet
            if word == "--set" and "." in value and value != "section.key=value":
                check_settings([value])


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page):
    sections = "|".join(sorted({name.split(".")[0] for name in DEFAULTS}))
    for snippet in inline(text_of(page)):
        match = re.match(rf"((?:{sections})\.\w+)", snippet)
        if match and not match[1].endswith((".json", ".jsonl")):
            assert match[1] in DEFAULTS


def test_every_setting_is_documented_with_its_default():
    (block,) = _FENCED.findall(part_of("README.md", "Settings"))
    sections = tomllib.loads(block)
    shown = {
        f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()
    }
    assert sorted([*shown, *_SETTINGS.values()]) == sorted(DEFAULTS)
    own = {"dataset": {"path": "mine.csv"}}
    resolved = resolve([own, sections]).model_dump()
    for name, default in DEFAULTS.items():
        section, key = name.split(".")
        assert default is None or resolved[section][key] == default, name


@pytest.mark.parametrize(
    ("option", "names"),
    [("dataset", REGISTRY), ("profile", profile_names()), ("prompt", prompts.names())],
)
def test_an_option_tells_all_that_it_knows(option, names):
    (told,) = (one.help for one in cli.get_command(None, "pipeline").params if one.name == option)
    assert set(names) <= set(re.findall(r"[\w-]+", told))


def test_the_grid_has_cells(tmp_path):
    (block,) = _FENCED.findall(part_of("README.md", "Ablations"))
    path = tmp_path / "grid.toml"
    path.write_text(block)
    assert all(source.cells for source in plan(read_grid(path, {})))


def test_every_file_of_a_run_is_listed():
    listed = {one.rstrip("/") for one in inline(part_of("README.md", "Run folders"))}
    assert {one for files in OUTPUTS.values() for one in files} <= listed


def test_every_variable_of_a_prompt_is_listed():
    listed = set(inline(part_of("README.md", "Prompts")))
    kinds = (PromptInput, Demonstration, Flip, Attempt)
    assert {field.name for kind in kinds for field in fields(kind)} <= listed


@pytest.mark.parametrize("page", PAGES)
def test_links_and_modules_are_there(page):
    text = text_of(page)
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
        assert (ROOT / (target or page)).is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", text_of(target or page), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in headings}
    for module in re.findall(r"`([\w/]+\.py)`", text):
        assert (ROOT / "codlocal" / module).is_file() or (ROOT / module).is_file(), module
