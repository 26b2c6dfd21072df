"""The tokenizer of an engine's model, with the names of transformers."""
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from .client import Client

Message = Mapping[str, Any]


class Tokenizer:
    """Asks the engine, so that ids are the very ones that it computes with. Threads: any."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def encode(self, text: str, add_special_tokens: bool = True) -> List[int]:
        """Returns the text's ids; control tokens spelled in it are read as such."""
        answer = self._client.post("/tokenize", {"prompt": text, "add_special_tokens": add_special_tokens}, again=True)
        return list(answer["tokens"])

    def decode(self, token_ids: Union[int, Sequence[int]]) -> str:
        """Returns the text of ids, control tokens as they are spelled."""
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        if not ids:
            return ""
        return str(self._client.post("/detokenize", {"tokens": ids}, again=True)["prompt"])

    def apply_chat_template(self, conversation: Sequence[Message], tokenize: bool = True, add_generation_prompt: bool = False,
                            continue_final_message: bool = False, tools: Optional[Sequence[Mapping[str, Any]]] = None,
                            **variables: Any) -> Union[str, List[int]]:
        """Returns the conversation through the model's chat template: ids, or with tokenize=False the text."""
        ids = self.chat_ids(conversation, add_generation_prompt, continue_final_message, tools, variables)
        return ids if tokenize else self.decode(ids)

    def chat_ids(self, conversation: Sequence[Message], add_generation_prompt: bool, continue_final_message: bool,
                 tools: Optional[Sequence[Mapping[str, Any]]], variables: Mapping[str, Any]) -> List[int]:
        """As apply_chat_template() with tokenize."""
        body: Dict[str, Any] = {"messages": list(conversation), "add_generation_prompt": add_generation_prompt,
                                "continue_final_message": continue_final_message}
        if tools:
            body["tools"] = list(tools)
        if variables:
            body["chat_template_kwargs"] = dict(variables)
        return list(self._client.post("/tokenize", body, again=True)["tokens"])
