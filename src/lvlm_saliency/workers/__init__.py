"""Workers on one machine or many: jobs go out to processes that hold a model each, results come back to one writer.

Built on Ray (extra `ray`). A `Pool` knows nothing of models: it is told how a worker makes what it holds, and runs any
function over that. Whoever uses it keeps each result as it comes, so a worker, a machine or this process can be killed
at any moment and nothing that was done is lost.
"""

from .pool import Job, Pool, WorkerError, Workers

__all__ = ["Job", "Pool", "WorkerError", "Workers"]
