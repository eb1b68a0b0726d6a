"""A causal language model as the rewriter: transformers weights from a folder or by name, sampled in batches."""

from typing import Any

from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.rewriting.prompts import prompt
from capacity.rewriting.spec import ModelRewriter
from capacity.world import streams
from capacity.world.facts import World


class LanguageModel:
    """Writes texts by sampling; equal seeds, texts and batches on one machine give equal texts."""

    def __init__(self, settings: ModelRewriter, world: World, seed: int):
        import torch  # late: the other rewriters need none of this
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        self.torch = torch
        self.settings, self.world, self.seed = settings, world, seed
        name, revision = settings.model, settings.revision
        source = str(REPOSITORY / name) if revision is None else name
        dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[settings.precision]
        logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=dtype)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"rewriter.model: {name}: {reason}; give a folder, or download it once by HF_HUB_OFFLINE=0"
            ) from None
        device = "cuda" if settings.accelerator == "gpu" else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("rewriter: the scale says accelerator: gpu, but this machine shows none")
        self.model: Any = model.to(device).eval()  # type: ignore[arg-type]
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)

    def write(self, asks: list[tuple[int, int]], attempt: int) -> list[str]:
        """A text for each (person, number of the text); another one at every attempt."""
        prompts = [self._framed(prompt(self.world, *ask, self.settings.words)) for ask in asks]
        framed = bool(self.tokenizer.chat_template)  # a template has the special tokens already
        given = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=not framed)
        given = given.to(self.model.device)
        given.pop("token_type_ids", None)
        key = streams.key(self.seed, streams.REWRITING, *asks[0], attempt)
        self.torch.manual_seed(int(key.generate_state(1, "uint64")[0] >> 1))
        with self.torch.inference_mode():
            written = self.model.generate(
                **given,
                do_sample=True,
                temperature=self.settings.temperature,
                top_k=0,
                top_p=self.settings.top_p,
                max_new_tokens=self.settings.max_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        answers = written[:, given["input_ids"].shape[1] :]
        return [first_paragraph(text) for text in self.tokenizer.batch_decode(answers, skip_special_tokens=True)]

    def _framed(self, text: str) -> str:
        """The prompt as the model's chat template has it, or with the beginning of an answer."""
        if self.tokenizer.chat_template:
            message = [{"role": "user", "content": text}]
            return str(self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
        return f"{text}\nBiography:"


def first_paragraph(text: str) -> str:
    """An answer up to its first empty line."""
    return text.strip().split("\n\n")[0]
