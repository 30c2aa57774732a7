"""The plug-in's tests. Those of this folder need no vLLM and run with the project's own; those of `engine/` run by
`make test-vllm`, in an environment that has vLLM, and are left out elsewhere."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("vllm") else ["engine"]
