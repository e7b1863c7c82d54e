"""The commands that the documentation shows, found in its fenced blocks."""

import dataclasses
import pathlib
import re
import shlex

SHELL = ("bash", "sh")
LANGUAGES = (*SHELL, "python", "text", "{toctree}")
_FENCE = re.compile(r"^ *```(?P<language>[^\n`]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_SEPARATORS = {"&&", "||", ";", "|"}


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language and its lines."""

    file: str
    line: int
    language: str
    body: str


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of a block, as the shell would split it."""

    file: str
    line: int
    words: tuple[str, ...]

    def __str__(self):
        return f"{self.file}:{self.line}: {shlex.join(self.words)}"


def blocks(path: pathlib.Path, root: pathlib.Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(root).as_posix()
    return [
        Block(
            name,
            text.count("\n", 0, found.start()) + 2,
            found["language"].strip(),
            found["body"],
        )
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    found, pending, start = [], "", block.line
    for offset, line in enumerate(block.body.splitlines()):
        start = start if pending else block.line + offset
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        try:
            words = split(pending + line)
        except ValueError:  # a quotation goes on in the next line
            pending += line + "\n"
            continue
        pending = ""
        found += [Command(block.file, start, tuple(part)) for part in words]
    assert not pending, f"{block.file}:{start}: the command does not end"
    return found


def inline_commands(path: pathlib.Path, root: pathlib.Path) -> list[Command]:
    """Returns the commands with options that the text itself shows in backticks."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(root).as_posix()
    prose = _FENCE.sub(lambda found: re.sub(r"[^\n]", "", found[0]), text)
    return [
        Command(name, prose.count("\n", 0, found.start()) + 1, tuple(part))
        for found in _SPAN.finditer(prose)
        if re.match(r"(rrsis-|tfds |pip |python3? )", found[1]) and " -" in found[1]
        for part in split(found[1])
    ]


def split(line: str) -> list[list[str]]:
    """Splits a line into commands, and these into words; environment settings are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    parts = [[]]
    for word in lexer:
        if word in _SEPARATORS:
            parts.append([])
        elif parts[-1] or not re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", word, re.DOTALL):
            parts[-1].append(word)
    return [part for part in parts if part]
