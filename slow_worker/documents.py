"""A job's documents: told to the model before everything else of a conversation, in every call. They are not part of the checkpointed workspace.

Sizes are estimates from above (``budget.prompt_tokens``), so only texts that cannot possibly fit are refused beforehand; the others are the model
server's to judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slow_worker.budget import prompt_tokens
from tandem.errors import ModelContextExceeded
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import Document

_SLACK: Final = 2.0
"""How many times too high an estimate may be."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Texts, and how a message presents one of them."""

    documents: Sequence[Document] = ()
    form: str = "{name}\n{text}"

    def before(self, messages: list[ChatMessage]) -> list[ChatMessage]:
        """The conversation with the documents after its system message."""
        head = [message for message in messages[:1] if message.role == "system"]
        return [*head, *self._messages(), *messages[len(head) :]]

    @property
    def tokens(self) -> int:
        """What the texts take of a prompt, from above."""
        return prompt_tokens(self._messages()) if self.documents else 0

    def check_fit(self, context_tokens: int) -> None:
        """Raises ``ModelContextExceeded`` when the texts are too long for a model with this context, however it counts."""
        if self.documents and prompt_tokens(self._messages()) > _SLACK * context_tokens:
            raise self.explain(ModelContextExceeded(f"the documents do not fit the model's context of {context_tokens} tokens"))

    def explain(self, error: ModelContextExceeded) -> ModelContextExceeded:
        """The refusal of a prompt, with the documents' share in it."""
        if not self.documents:
            return error
        sizes = ", ".join(f"{document.name!r} {len(document.text)} characters" for document in self.documents)
        tokens = prompt_tokens(self._messages())
        return ModelContextExceeded(
            f"{error.message}; documents: {sizes}, at most {tokens} tokens in all; shorten them or send fewer", param="documents"
        )

    def _messages(self) -> list[ChatMessage]:
        return [ChatMessage(role="user", content=self.form.format(name=document.name, text=document.text)) for document in self.documents]


NO_DOCUMENTS: Final = Documents()
