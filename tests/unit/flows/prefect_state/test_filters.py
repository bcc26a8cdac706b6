"""No filter of a query to Prefect has a list that may grow, but those of `flows.prefect_state.queries`."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]
PACKAGES = ("api", "deployments", "flows", "musetalk_core", "tasks")
LISTS = {"any_", "not_any_", "all_"}
"""Arguments of filters of the client."""
EVENT_LISTS = {"name", "prefix", "exclude_name", "exclude_prefix", "id", "id_"}
FIXED = {
    # (file, expression): why the list cannot grow
    ("api/orchestrator/mapping.py", "types"): "types of states: nine",
    ("api/orchestrator/mapping.py", "list({*types, StateType.PENDING})"): "types of states: nine",
    ("api/orchestrator/job_reader.py", "types"): "types of states: nine",
    ("api/orchestrator/job_reader.py", "sorted(JOB_TYPES)"): "the table of job types",
    (
        "api/orchestrator/job_list.py",
        "sorted(job_filter.types or JOB_TYPES)",
    ): "a set of names of that table",
    ("deployments/provisioning/former_deployments.py", "unfinished"): "types of states: nine",
    ("api/orchestrator/job_list.py", "all_tags"): "ListQuery.tag has at most 50, plus two internal tags",
    (
        "api/orchestrator/queue_estimates.py",
        "[StateType(kind) for kind in state_names]",
    ): "types of states: nine",
    ("flows/orchestration/child_jobs.py", "parent_tags"): "a run and at most twenty that it retries",
    ("flows/orchestration/child_events.py", "parent_tags"): "a run and at most twenty that it retries",
    ("flows/webhooks/deliveries.py", "chunk"): "cut by flows.prefect_state.queries.chunks_of",
    ("deployments/stack/interrupted_runs.py", "unfinished_types"): "three types of states",
    ("flows/maintenance/finished_runs.py", "list(flows)"): "names of flows, from the table of flows",
    (
        "deployments/warm_worker/queue/run_queue.py",
        "list(tags)",
    ): "tags of webhook runs, of a receiver or of a tenant",
    ("flows/prefect_state/artifacts.py", "keys"): "keys of artifacts of a run: at most three",
}


def is_constant_list(node):
    """A list of single values, or of such and of constants of a module."""
    if isinstance(node, ast.List):
        return all(is_constant(one.value) if isinstance(one, ast.Starred) else True for one in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "list":
        return len(node.args) == 1 and is_constant(node.args[0])
    return is_constant(node)


def is_constant(node):
    return isinstance(node, ast.Name) and node.id.lstrip("_").isupper()


class Filters(ast.NodeVisitor):
    """Collects the lists of filters that may grow."""

    def __init__(self):
        self.found, self.chunks = [], []

    def visit_FunctionDef(self, node):
        self.chunks.append({one.arg for one in node.args.args})
        self.generic_visit(node)
        self.chunks.pop()

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def visit_Call(self, node):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        of_events = name.startswith("Event") and name.endswith("Filter")
        for keyword in node.keywords:
            if keyword.arg in LISTS or (of_events and keyword.arg in EVENT_LISTS):
                self.check(keyword.value)
        self.generic_visit(node)

    def visit_Dict(self, node):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in LISTS:
                self.check(value)
        self.generic_visit(node)

    def check(self, value):
        is_chunk = (
            isinstance(value, ast.Name)
            and value.id == "chunk"
            and bool(self.chunks)
            and "chunk" in self.chunks[-1]
        )
        if not is_chunk and not is_constant_list(value):
            self.found.append((value.lineno, ast.unparse(value)))


def growing(text):
    filters = Filters()
    filters.visit(ast.parse(text))
    return filters.found


def test_no_filter_lists_values_that_may_grow_outside_the_helper():
    found, used = [], set()
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            for line, expression in growing(path.read_text()):
                used.add((name, expression))
                if (name, expression) not in FIXED:
                    found.append(f"{name}:{line}: {expression}")
    assert not found, "cut these with flows.prefect_state.queries, or say in FIXED why they cannot grow"
    assert used >= FIXED.keys(), "these are gone: take them out of FIXED"


@pytest.mark.parametrize(
    "text",
    [
        "FlowRunFilterTags(any_=tags)",
        "FlowRunFilterId(any_=list(ids[start : start + 200]))",
        "FlowRunFilterId(not_any_=[*seen])",
        "FlowRunFilterTags(all_=[one for one in tags])",
        "{'id': {'any_': ids}}",
        "EventResourceFilter(id=[f'run.{one}' for one in runs])",
        "def read(ids): return FlowRunFilterId(any_=ids)",
        "chunk = ids\nFlowRunFilterId(any_=chunk)",
    ],
)
def test_a_list_that_may_grow_is_seen(text):
    assert growing(text)


@pytest.mark.parametrize(
    "text",
    [
        "FlowRunFilterId(any_=[run.id])",
        "ArtifactFilterKey(any_=[*NOTES, PROGRESS])",
        "FlowRunFilterStateType(any_=list(TERMINAL_STATES))",
        "def read(chunk, limit, offset): return FlowRunFilterId(any_=chunk)",
        "EventNameFilter(name=[_HEARTBEAT])",
    ],
)
def test_a_list_of_fixed_length_is_not(text):
    assert not growing(text)
