"""Where a job's authority begins: its caller's words are trusted, what came with them is not. Pure."""

from slow_worker.workspace import Task
from tandem.schemas.jobs import JobRequest
from tools.authority import Authority, tainted, trusting

DOCUMENTS = "the documents of the request"


def first_authority(task: Task, request: JobRequest, inherited: Authority | None) -> Authority:
    """What a job begins with.

    The addresses in the caller's own messages are known. The text of a sub-task was written by a model: it names addresses only as long as the parent
    had read no words of strangers. Documents may be anybody's.
    """
    authority = inherited or Authority()
    if not authority.is_tainted:
        said = [message.content for message in task.context if message.role == "user"]
        authority = trusting(authority, [*said, task.text])
    return tainted(authority, DOCUMENTS) if request.documents else authority
