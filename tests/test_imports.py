"""Who may import what, where import-linter has no words for it: vendors' SDKs in their own files, admin nowhere."""

import ast
from collections.abc import Iterator

import pytest

from config.env import BASE_DIR

pytestmark = pytest.mark.pure

PACKAGES = ("agents", "calls", "config", "streaming", "sandbox")


def imports() -> Iterator[tuple[str, str]]:
    """Pairs of a file's path and a module that it imports, whatever the place in the file."""
    for package in PACKAGES:
        for path in (BASE_DIR / package).rglob("*.py"):
            name = path.relative_to(BASE_DIR).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((name, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield name, node.module
                    yield from ((name, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize(
    ("vendor", "home"),
    [
        ("openai", "agents/providers/openai"),
        ("elevenlabs", "agents/providers/elevenlabs"),
        ("plivo", "calls/telephony/"),
    ],
)
def test_a_vendors_sdk_is_imported_only_where_it_is_adapted(vendor, home):
    users = {name for name, module in imports() if module.split(".")[0] == vendor}
    assert users
    assert all(name.startswith(home) for name in users), users


def test_nobody_imports_an_admin_module_but_the_admin():
    assert [
        (name, module)
        for name, module in imports()
        if module.startswith(("agents.admin", "calls.admin")) and "/admin/" not in name
    ] == []


def test_modules_stay_readable():
    """Split near 400 lines: beyond that a module has two duties."""
    long = {
        path.relative_to(BASE_DIR).as_posix(): count
        for package in (*PACKAGES, "benchmarks")
        for path in (BASE_DIR / package).rglob("*.py")
        if "migrations" not in path.parts and (count := len(path.read_text().splitlines())) > 460
    }
    assert long == {}
