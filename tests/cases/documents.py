"""Commands and snippets of the documents and help texts, as they are printed."""

import re
import shlex
from pathlib import Path

import click

from gatentk.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent.parent
MARKDOWN = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "csrc/README.md",
]


def blocks(path, language=""):
    """The fenced blocks of a document in a language."""
    # All blocks are matched, so that no end of one is taken for the beginning of another.
    found = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def help_text(*command):
    """What --help prints."""
    context = click.Context(main, info_name="gatentk")
    for name in command:
        found = context.command.get_command(context, name)
        context = click.Context(found, info_name=name, parent=context)
    return context.get_help()


def sources():
    """Every document that shows commands, by name, and its text."""
    texts = {str(path.relative_to(ROOT)): "\n".join(blocks(path)) for path in MARKDOWN}
    helps = {"gatentk --help": help_text()}
    helps |= {f"gatentk {name} --help": help_text(name) for name in COMMANDS}
    return texts | helps


def commands(text):
    """The words of the commands of a text that start with `gatentk`, in their order."""
    # A help text has what a command does behind two spaces, a document behind a number sign.
    lines = re.findall(r"^ *(?:\S+/)?(gatentk (?:[a-z]+|--)\S*.*)$", text, re.MULTILINE)
    parts = [shlex.split(re.split(r"\s{2,}", line.strip())[0], comments=True)[1:] for line in lines]
    return [words for words in parts if words and (words[0] in COMMANDS or words[0].startswith("--"))]


def snippets():
    """Python snippets by their place."""
    return {f"{path.name} {i}": text for path in MARKDOWN for i, text in enumerate(blocks(path, "python"))}


def mentioned():
    """Commands within sentences, in which DIR, NAME and PATH stand for something."""
    text = "\n".join(path.read_text() for path in MARKDOWN)
    return [words.split() for words in sorted(set(re.findall(r"`gatentk ([a-z][^`]*)`", text)))]
