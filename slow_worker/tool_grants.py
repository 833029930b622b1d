"""Which of this worker's tools a job may use: what was granted when it was submitted, and nothing that has been configured since."""

from collections.abc import Mapping

from tandem.errors import ToolNotOffered
from tandem.ports import Claim, Tool
from tools.registry import Toolbox


def granted_tools(toolbox: Toolbox, claim: Claim) -> Mapping[str, Tool]:
    """The job's tools by name. One that the worker has not is left out, unless the request asked for it by name.

    Raises:
        ToolNotOffered: The request names a tool that this worker has not.
        UnknownTool: The same, of a job that is older than grants.
    """
    if claim.tools is None:
        return toolbox.select(claim.request.tools)
    missing = [name for name in claim.tools if name not in toolbox]
    if missing and claim.request.tools is not None:
        raise ToolNotOffered(
            f"the tool {missing[0]!r}, which this job asks for, is not offered by the worker that took it; "
            "submit the job without it, or ask the operator ('tandem tools doctor' says what is missing)",
            param="tools",
        )
    return {name: toolbox[name] for name in claim.tools if name in toolbox}
