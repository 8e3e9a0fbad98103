# SPDX-License-Identifier: Apache-2.0
"""The guard of the single pipeline: who may write telemetry, use the writer, set ``intent.*``, read the environment.

It reads syntax trees and SQL texts, so that it holds for every commit, whatever a test happens to run.
"""

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from contract.source_tree import HOLE, Module, SourceTree

ROWS: Final = ("intent_events", "chat_events", "intent_outcomes", "dead_letters")
"""Tables of records."""

WRITERS: Final = {"intent_events.store.write": ROWS, "intent_events.store.heartbeats": ("emitters",)}
"""The only modules that write telemetry, and the tables that each may write."""

DOORS: Final = ("intent_events_exporter", "intent_events.sink")
"""Packages that may use the writers."""

RECORDING: Final = "intent_events.instrument"
"""The only package that sets ``intent.*`` attributes."""

SETTINGS: Final = "intent_events.settings"
"""The only module that reads the environment."""

REMOVING: Final = "intent_events.store.removal"
"""The only module that asks the database to remove rows, by calling the functions of the schema that may."""

MOVING: Final = (
    "execute format( 'with moved as (delete from agent.%i where ts >= $1 and ts < $2 returning *) "
    "insert into agent.%i select * from moved', parent || '_default', partition_name)"
)
"""A row is moved from the default partition to the one that is being made for its month, in one statement: the tables
hold the same rows before and after. tests/contract/test_single_writer.py proves it on a database."""

ALLOWING: Final = tuple(f"perform set_config('intent_events.removal', '{state}', true);" for state in ("on", ""))
"""Around it, since the tables are append-only."""

REMOVALS: Final = Path("migrations/sql/0002_roles_and_removal.sql")
"""Where the functions stand that remove rows by age and by subject."""

EXCEPTIONS: Final = {
    Path("migrations/sql/0001_intent_events.sql"): (MOVING,),
    REMOVALS: (
        MOVING,
        "execute format( 'delete from agent.%i where %i < $1', part, case when part = relation",
        "delete from agent.intent_events as e where e.actor_id = any (actors) or e.session_id = any (sessions)",
        "delete from agent.chat_events as c where c.intent_event_id = any (gone_events) or c.session_id = any (own",
        "delete from agent.intent_outcomes as o where o.intent_event_id = any (gone_events) returning",
        "delete from agent.dead_letters as d where d.trace_id = any (gone_traces) and not exists (",
        "insert into agent.dead_letters (dead_letter_id, ts, door, reason, emitter_id, emitter_seq)",
    ),
    Path("migrations/sql/0004_bloom_filters.sql"): (MOVING, *ALLOWING),
}
"""The documented exceptions: their files, and their texts in the form in which texts are compared."""


class Rule(StrEnum):
    """What must not be done."""

    WRITES_TABLES = "writes a telemetry table"
    USES_WRITER = "uses the writer"
    SETS_INTENT = "sets intent.* attributes"
    READS_ENVIRONMENT = "reads the environment"
    REMOVES_ROWS = "removes rows"


class Violation(NamedTuple):
    """One place where a rule is broken.

    Attributes:
        path: file within the project.
        line: line of it; of a SQL file, of the statement.
        rule: what it does.
        what: by which words.
    """

    path: str
    line: int
    rule: Rule
    what: str


_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_BREAK: Final = re.compile(r"'[ \t]*\n\s*'")
_NAMES: Final = "|".join(table for tables in WRITERS.values() for table in tables)
_TABLE: Final = rf"(?:only )?(?:agent ?\. ?)?(?:{_NAMES})(?:_default|_\d{{4}}_\d{{2}})?\b"
# A table that is named at run time could be any.
_UNKNOWN: Final = rf"(?:only )?(?:agent ?\. ?)?(?:{HOLE}|%\d*\$?[is]\b|\{{)"
_TARGET: Final = rf"(?:{_TABLE}|{_UNKNOWN})"
_WRITES: Final = re.compile(
    rf"insert into {_TARGET}|delete from {_TARGET}|merge into {_TARGET}"
    rf"|update {_TABLE}|update {_UNKNOWN}\S* set "
    rf"|(?:truncate|drop table)\b[^;]*?{_TABLE}|truncate (?:table )?{_UNKNOWN}"
    rf"|copy {_TABLE}(?: ?\([^)]*\))? from|copy {_UNKNOWN}[^;]* from stdin"
    r"|(?:insert into|delete from|merge into|truncate table)(?: only)?(?: agent ?\.)? ?$"
)
_REMOVES: Final = re.compile(r"\bagent ?\. ?(?:retain|erase_subject|unprotect) ?\(|intent_events\.removal")
_STORE: Final = "intent_events.store"
_WRITING: Final = (".Writer", ".write_heartbeat")
_BULK: Final = frozenset({"copy_records_to_table", "copy_to_table", "bulk_insert", "to_sql"})
_SETTERS: Final = frozenset(
    {"set_attribute", "set_attributes", "start_span", "start_as_current_span", "add_event", "add_link"}
)
_ENVIRONMENT: Final = frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"})
_IMPORTERS: Final = frozenset({"importlib.import_module", "__import__", "builtins.__import__"})


def violations(root: Path) -> list[Violation]:
    """Every place of a project folder where a rule is broken; an empty list is what the project wants."""
    tree = SourceTree(root)
    found = [Violation(str(path), *rest) for path, text in tree.scripts.items() for rest in _in_script(path, text)]
    for module in tree.modules.values():
        found += [Violation(str(module.path), *rest) for rest in _in_module(tree, module)]
    return sorted(set(found))


_Found = tuple[int, Rule, str]


def _in_script(path: Path, text: str) -> Iterator[_Found]:
    plain = _plain(text)
    for exception in EXCEPTIONS.get(path, ()):
        plain = plain.replace(exception, "", 1)
    yield from ((1, Rule.WRITES_TABLES, match[0]) for match in _WRITES.finditer(plain))
    if path != REMOVALS:
        yield from ((1, Rule.REMOVES_ROWS, match[0]) for match in _REMOVES.finditer(plain))


def _plain(text: str) -> str:
    """A SQL text without comments, quotes of names, breaks within literals and differences of case and white space."""
    joined = _BREAK.sub("", _COMMENT.sub(" ", text).replace('"', ""))
    return " ".join(joined.lower().split())


def _in_module(tree: SourceTree, module: Module) -> Iterator[_Found]:
    yield from _table_writes(tree, module)
    if module.name not in WRITERS and not _within(module.name, *DOORS):
        yield from _uses_of_writer(tree, module)
    if not _within(module.name, RECORDING):
        yield from _intent_attributes(tree, module)
    if module.name != SETTINGS:
        yield from _environment(tree, module)


def _table_writes(tree: SourceTree, module: Module) -> Iterator[_Found]:
    own = WRITERS.get(module.name, ())
    for line, text in tree.texts(module):
        if module.name != REMOVING:
            yield from ((line, Rule.REMOVES_ROWS, match[0]) for match in _REMOVES.finditer(_plain(text)))
        found = (match[0] for match in _WRITES.finditer(_plain(text)))
        yield from ((line, Rule.WRITES_TABLES, write) for write in found if not _may_write(own, write))
        if text in _BULK and own != ROWS:
            yield line, Rule.WRITES_TABLES, text
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in _BULK and own != ROWS:
            yield node.lineno, Rule.WRITES_TABLES, node.attr


def _may_write(own: tuple[str, ...], write: str) -> bool:
    """Whether all tables that a write names are the module's own; one that is named at run time is a table of rows."""
    named = re.findall(_NAMES, write)
    return set(named) <= set(own) if named else own == ROWS


def _uses_of_writer(tree: SourceTree, module: Module) -> Iterator[_Found]:
    for line, imported in module.imported:
        ours = _within(imported, "intent_events", "intent_events_exporter")
        if _within(imported, *WRITERS) or imported == f"{_STORE}.*" or (ours and imported.endswith(_WRITING)):
            yield line, Rule.USES_WRITER, imported
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and _within(name := tree.dotted(module, node) or "", *WRITERS):
            yield node.lineno, Rule.USES_WRITER, name
        if isinstance(node, ast.Call) and _called(tree, module, node) in _IMPORTERS:
            given = [tree.text(module, argument) for argument in node.args]
            known, hole, _ = ((given[0] if given else None) or HOLE).partition(HOLE)
            if hole and any(writer.startswith(known) for writer in WRITERS):
                yield node.lineno, Rule.USES_WRITER, "imports what is named at run time"
            elif given[1:] == [_STORE] and f"{_STORE}{known}" in WRITERS:
                yield node.lineno, Rule.USES_WRITER, f"{_STORE}{known}"
    for line, text in tree.texts(module):
        if any(writer in text or writer.replace(".", "/") in text for writer in WRITERS):
            yield line, Rule.USES_WRITER, text


def _called(tree: SourceTree, module: Module, call: ast.Call) -> str | None:
    name = tree.dotted(module, call.func)
    return call.func.id if name is None and isinstance(call.func, ast.Name) else name


def _intent_attributes(tree: SourceTree, module: Module) -> Iterator[_Found]:
    """A module that sets attributes of spans at all, and knows a key of ours."""
    names = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    names |= {text for _, text in tree.texts(module)}
    if not names & _SETTERS:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.expr) and (text := tree.text(module, node)) and text.startswith("intent."):
            yield node.lineno, Rule.SETS_INTENT, text


def _environment(tree: SourceTree, module: Module) -> Iterator[_Found]:
    for line, imported in module.imported:
        if imported in _ENVIRONMENT or imported == "os.*":
            yield line, Rule.READS_ENVIRONMENT, imported
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and (name := tree.dotted(module, node)) in _ENVIRONMENT:
            yield node.lineno, Rule.READS_ENVIRONMENT, name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            owner, text = (*(tree.text(module, one) or tree.dotted(module, one) for one in node.args), None, None)[:2]
            if f"{owner}.{text}" in _ENVIRONMENT:
                yield node.lineno, Rule.READS_ENVIRONMENT, f"{owner}.{text}"


def _within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
