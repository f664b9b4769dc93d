"""The laws of the house, read off the source: which room may import which, what is pure, how large a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "proxy"
FILES = sorted(HOUSE.rglob("*.py"))
KNOWN = frozenset(FILES)

FLOORS = [
    {"__main__"},
    {"cli"},
    {"app"},
    {"assembly"},
    {"assembly"},
    {"admin", "forward", "sandbox"},
    {"routes"},
    {"tokens"},
    {"auth"},
    {"http1"},
    {"peer", "problem", "service_manager", "stats"},
    {"background"},
    {"clock", "defects"},
    {"config", "model", "errors", "default_ports", "file_stamp"},
]
FLOOR = {room: height for height, rooms in enumerate(reversed(FLOORS)) for room in rooms}

PURE = (
    "auth/",
    "http1/",
    "config/",
    "model.py",
    "errors.py",
    "problem.py",
    "tokens/policy.py",
    "tokens/lifetime.py",
    "tokens/reply.py",
    "tokens/grants.py",
    "tokens/client_auth.py",
    "forward/directory.py",
    "forward/outbound.py",
    "forward/outgoing_request.py",
    "forward/retry_policy.py",
    "forward/relay.py",
    "forward/renewal_hold.py",
    "forward/request_body.py",
)
LONG = {
    "config/schema.py": (
        900,
        "one struct after another and no code: the reference of the configuration, read as one page",
    ),
    "forward/exchange.py": (450, "the state machine of a request: whatever changes its state is in one file"),
    "tokens/manager.py": (450, "the state machine of one credential"),
}

STOREYS = [
    {"proxy_server"},
    {"downstream"},
    {"exchange"},
    {"app_connection", "relay"},
    {"context", "outgoing_request"},
    {"outbound", "own_answers", "router"},
    {"live_route", "private"},
    {"token_upstream", "upstream_discovery"},
    {"pool"},
    {"dial", "tunnel"},
    {"response_rewriter", "tls_client", "upstream"},
    {"buffers", "directory", "egress", "lingering_close", "retry_policy", "splice", "url_rewriter"},
    {
        "caller_guard", "cors", "descriptors", "directory_errors", "flow_control", "json_scanner", "links",
        "malloc_tuning", "owner", "rate_limiter", "reading", "renewal_hold", "request_body", "resolver",
        "response_handler", "response_tap", "sessions", "socket_file", "socket_probe", "unix_socket", "upgrade",
        "write_batcher",
    },
]  # fmt: skip
"""The floors within `forward`: of the path of a request, the highest first."""
STOREY = {file: height for height, files in enumerate(reversed(STOREYS)) for file in files}


def name_of(file: Path) -> str:
    return file.relative_to(HOUSE).as_posix()


def room_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    """Dotted names of all modules that a file imports, at its top or anywhere within."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides its direction"
            found.add(node.module or "")
            if node.module == "proxy":
                found.update(f"proxy.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_downwards(file):
    name = name_of(file)
    room = room_of(name)
    if room == "__init__":
        assert not {module for module in imports(file) if module.startswith("proxy")}
        return
    assert room in FLOOR, f"{name} has no floor: give it one here and in the map of proxy/__init__.py"
    below = {other for other in FLOOR if FLOOR[other] < FLOOR[room]} | {room, "__version__"}
    if room in FLOORS[-1]:
        below |= FLOORS[-1]
    used = {module.split(".")[1] for module in imports(file) if module.startswith("proxy.")}
    assert used <= below, f"{name} reaches up or sideways to {sorted(used - below)}"


@pytest.mark.parametrize("file", [file for file in FILES if name_of(file).startswith("forward/")], ids=name_of)
def test_imports_point_downwards_within_the_data_path_too(file):
    if file.stem == "__init__":
        return
    assert file.stem in STOREY, f"{file.stem} has no floor: give it one here and a line in proxy/forward/__init__.py"
    used = {Path(name).stem for name in imported_files(file.read_text()) if name.startswith("forward/")} - {"__init__"}
    up = {other for other in used if STOREY[other] >= STOREY[file.stem]}
    assert not up, f"{file.stem} reaches up or sideways to {sorted(up)}"


def imported_files(source: str) -> set[str]:
    """Names of those of our own files that one imports, for its types alone or in earnest."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(file_of(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found.update(file_of(f"{module}.{alias.name}") or file_of(module) for alias in node.names)
    return found - {""}


def file_of(module: str) -> str:
    """The name of the file of a module or package of ours; empty for anything else."""
    path = ROOT / module.replace(".", "/")
    return next((name_of(one) for one in (path.with_suffix(".py"), path / "__init__.py") if one in KNOWN), "")


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node: each node is in reach of all others of its own."""

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        to_see = [start]
        while to_see:
            new = edges.get(to_see.pop(), set()) - found
            found |= new
            to_see += new
        return found

    reached = {node: reach(node) for node in edges}
    within = {tuple(sorted(other for other in reached[node] if node in reached.get(other, ()))) for node in edges}
    return sorted(list(component) for component in within if component)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
        ({"a": {"b", "c"}, "b": {"a"}, "c": {"a"}}, [["a", "b", "c"]]),
    ],
)
def test_a_circle_is_found_where_there_is_one_and_only_there(edges, expected):
    assert circles(edges) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import proxy.clock", {"clock.py"}),
        ("from proxy.clock import Clock", {"clock.py"}),
        ("from proxy.forward import private", {"forward/private.py"}),
        ("from proxy import clock, __version__", {"clock.py", "__init__.py"}),
        ("if TYPE_CHECKING:\n    from proxy.clock import Clock", {"clock.py"}),
        ("def late():\n    from proxy.clock import Clock", {"clock.py"}),
        ("import asyncio\nfrom collections.abc import Callable", set()),
    ],
)
def test_imports_are_seen_wherever_they_stand(source, expected):
    assert imported_files(source) == expected


def test_no_files_import_each_other_in_a_circle():
    """Not for their types either: of two files that cannot be understood one without the other, one is too many."""
    found = circles({name_of(file): imported_files(file.read_text()) for file in FILES})
    assert found == []


@pytest.mark.parametrize("file", [file for file in FILES if name_of(file).startswith(PURE)], ids=name_of)
def test_what_is_pure_knows_no_event_loop(file):
    assert not {"asyncio", "aiohttp", "socket", "threading"} & {module.split(".")[0] for module in imports(file)}


@pytest.mark.parametrize("file", [file for file in FILES if name_of(file).startswith("forward/")], ids=name_of)
def test_the_data_path_is_our_own(file):
    assert "aiohttp" not in {module.split(".")[0] for module in imports(file)}


@pytest.mark.parametrize("file", [file for file in FILES if name_of(file).startswith("forward/")], ids=name_of)
def test_the_data_path_reads_no_clock_but_the_one_it_is_given(file):
    assert "time" not in imports(file)


def writers(attribute: str) -> set[tuple[str, str]]:
    """Where in the data path an attribute of that name is assigned to: file and function."""
    found = set()
    for file in FILES:
        functions = [
            node
            for node in ast.walk(ast.parse(file.read_text()))
            if name_of(file).startswith("forward/") and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for function in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and node.attr == attribute and isinstance(node.ctx, ast.Store):
                    found.add((name_of(file), function.name))
    return found


def test_the_phase_of_an_exchange_is_set_in_one_place_and_so_is_its_deadline():
    assert writers("phase") == {("forward/exchange.py", "_enter")}
    holders = {"forward/downstream.py", "forward/tunnel.py"}
    assert {one for one in writers("deadline") if one[0] not in holders} == {("forward/exchange.py", "_enter")}


def test_requests_are_counted_in_and_out_in_one_place_each():
    made = {("forward/proxy_server.py", "__init__")}
    assert writers("in_flight") - made == {("forward/exchange.py", "__init__"), ("forward/exchange.py", "_end")}


def test_nothing_in_the_data_path_inherits_what_another_class_does():
    """From ours only interfaces and errors are derived; what the standard library wants derived is none of ours."""
    classes = [
        (name_of(file), node)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    implementations = {
        node.name
        for name, node in classes
        if name not in {"errors.py", "forward/directory_errors.py"} and "Protocol" not in bases(node)
    }
    inherited = {
        node.name: base.rpartition(".")[2]
        for name, node in classes
        if name.startswith("forward/")
        for base in bases(node)
        if base.rpartition(".")[2] in implementations
    }
    assert inherited == {}


def bases(node: ast.ClassDef) -> list[str]:
    """What a class is derived from, as it is written, without parameters."""
    return [ast.unparse(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]


def statements(file: Path) -> list[ast.stmt]:
    """What a file says, its docstring, `from __future__` and `__all__` aside."""
    body = ast.parse(file.read_text()).body
    return [
        node
        for node in body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    ]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_but_the_clock_reads_the_machines_clocks(file):
    """A clock of one's own is one that no test can move."""
    read = {ast.unparse(node) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
    clocks = {f"time.{name}" for name in ("time", "monotonic", "perf_counter", "clock_gettime")}
    assert name_of(file) == "clock.py" or not read & (clocks | {"dt.datetime.now", "datetime.now"})


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_only_passes_on_what_others_define(file):
    said = statements(file)
    assert not said or not all(isinstance(node, ast.Import | ast.ImportFrom) for node in said)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_file_opens_with_its_law_or_its_map_and_is_one_room(file):
    source = file.read_text()
    assert ast.get_docstring(ast.parse(source)), "no docstring"
    assert source.count("\n") <= LONG.get(name_of(file), (300, ""))[0], "look for the second room"
    assert file.stem not in {"utils", "helpers", "common", "base"}


@pytest.mark.parametrize("file", [file for file in FILES if statements(file)], ids=name_of)
def test_every_file_has_its_tests(file):
    mirrored = ROOT / "tests" / Path(name_of(file)).parent / f"test_{file.stem.strip('_')}.py"
    assert mirrored.exists() or not does_something(file), f"{mirrored.relative_to(ROOT)} is missing"


def does_something(file: Path) -> bool:
    """Whether there is behaviour to test: interfaces, plain structs and constants have none of their own."""
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return file.stem == "__main__" or any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for function in functions
        for node in function.body
    )


def test_no_directory_reaches_over_the_tests():
    """A test that has lost its source file is a test of something that is gone."""
    rooms = {room.relative_to(HOUSE).as_posix() for room in HOUSE.rglob("*") if room.is_dir()}
    mirrored = {
        folder.parent.relative_to(ROOT / "tests").as_posix()
        for folder in (ROOT / "tests").rglob("test_*.py")
        if folder.parent.name not in {"tests", "whole", "support", "soak", "chaos", "deploy"}
    }
    assert mirrored <= rooms | {"."}


def test_no_two_public_classes_have_one_name():
    """A search for a name leads to one class: whoever reads an error or a type need not ask which is meant."""
    found: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name_of(file))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_no_two_modules_or_packages_have_one_name():
    """A name leads to one file, without the path before it."""
    found: dict[str, list[str]] = {}
    for module in [*HOUSE.rglob("*.py"), *(file.parent for file in HOUSE.rglob("*/__init__.py"))]:
        if module.stem not in {"__init__", "__main__"}:
            found.setdefault(module.stem, []).append(name_of(module))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_what_is_raised_is_called_an_error():
    """One word for one thing: a fault is what the sandbox is told to do."""
    raised = [
        f"{name_of(file)}: {node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        and node.name.endswith("Fault")
        and node.bases
        and not name_of(file).startswith("sandbox/")
    ]
    assert raised == []
