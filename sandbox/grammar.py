"""The scenarios' grammars: which sentences the sandbox's recogniser can hear, and the decoder for them.

Used by recogniser.py, and by brain.py and provider_wire.py for the scenario files themselves.
"""

from __future__ import annotations

import atexit
import os
import re
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pocketsphinx
import yaml

SCENARIOS = Path(__file__).parent / "scenarios"
RATE = 16000
_MODEL = Path(pocketsphinx.__file__).parent / "model" / "en-us"


class UnknownScenarioError(LookupError):
    """No scenario of that name, or it has no grammar."""


@cache
def _dictionary() -> dict[str, tuple[str, ...]]:
    entries: dict[str, list[str]] = defaultdict(list)
    for line in (_MODEL / "cmudict-en-us.dict").read_text("utf-8").splitlines():
        head, phones = line.split(" ", 1)
        entries[head.split("(")[0]].append(phones.strip())
    return {word: tuple(phones) for word, phones in entries.items()}


@cache
def _dictionary_file(words: frozenset[str], extra: frozenset[tuple[str, str]]) -> str:
    """A pronouncing dictionary of just these words: a decoder with it starts in 25 ms and stays small."""
    lines = []
    for word in sorted(words):
        variants = [phones for name, phones in sorted(extra) if name == word] or list(_dictionary().get(word, ()))
        if not variants:
            message = f"no pronunciation of {word!r}: add it under `pronunciations` of the scenario's grammar"
            raise ValueError(message)
        lines += [f"{word}{f'({n})' if n > 1 else ''} {phones}\n" for n, phones in enumerate(variants, 1)]
    handle, name = tempfile.mkstemp(suffix=".dict")
    with os.fdopen(handle, "w") as file:
        file.writelines(lines)
    atexit.register(Path(name).unlink, missing_ok=True)
    return name


@cache
def scenario(name: str) -> dict[str, Any]:
    """One scenario's file. Raises UnknownScenarioError."""
    path = SCENARIOS / f"{name}.yaml"
    if not re.fullmatch(r"[a-z0-9_]{1,60}", name) or not path.is_file():
        message = f"no scenario {name!r}"
        raise UnknownScenarioError(message)
    content: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return content


def has_grammar(name: str) -> bool:
    """Whether a key ``demo-<name>`` is one that this sandbox knows."""
    try:
        return "grammar" in scenario(name)
    except UnknownScenarioError:
        return False


def _words_of(jsgf: str) -> frozenset[str]:
    body = re.sub(r"<[^>]*>|//[^\n]*", " ", jsgf.split(";", 1)[1])
    body = re.sub(r"\b(grammar\s+\S+|public)", " ", body)
    return frozenset(re.findall(r"[a-z][a-z'.]*", body))


@cache
def _acceptor(name: str) -> re.Pattern[str]:
    """The scenario's grammar as a regular expression over words that each end in a blank.

    At the end of an utterance pocketsphinx may give a path that is not a whole sentence, and does not say so.
    """
    rules = dict(re.findall(r"(<[^>]+>)\s*=\s*([^;]+);", scenario(name)["grammar"]["rules"]))
    first = re.search(r"public\s+(<[^>]+>)", scenario(name)["grammar"]["rules"])

    def expression(body: str) -> str:
        spelt = {"(": "(?:", ")": ")", "[": "(?:", "]": ")?", "|": "|"}
        tokens = re.findall(r"<[^>]+>|[()\[\]|]|[a-z][a-z'.]*", body)
        return "".join(
            spelt.get(token) or (f"(?:{expression(rules[token])})" if token[0] == "<" else re.escape(token) + " ")
            for token in tokens
        )

    return re.compile(expression(rules[first.group(1)]) if first else "")


def in_grammar(name: str, text: str) -> bool:
    """Whether `text` is a sentence of the scenario's grammar."""
    return _acceptor(name).fullmatch(f"{text} ") is not None


def make_decoder(name: str) -> pocketsphinx.Decoder:
    grammar = scenario(name).get("grammar")
    if not grammar:
        message = f"scenario {name!r} has no grammar"
        raise UnknownScenarioError(message)
    extra = frozenset((word, phones) for word, phones in grammar.get("pronunciations", {}).items())
    jsgf = f"#JSGF V1.0;\ngrammar {name};\n{grammar['rules']}"
    decoder = pocketsphinx.Decoder(
        hmm=str(_MODEL / "en-us"),
        dict=_dictionary_file(_words_of(jsgf), extra),
        lm=None,
        samprate=RATE,
        loglevel="FATAL",
    )
    decoder.add_jsgf_string(name, jsgf)
    decoder.activate_search(name)
    return decoder
