"""Plain text cut into blocks of tokens, for a model that predicts the next one."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping
from functools import partial
from typing import Annotated

import torch

from trainer_cli.config.errors import UserError
from trainer_cli.config.types import Ge, Lt
from trainer_cli.data.collate import PadCollator
from trainer_cli.data.embedded import plays
from trainer_cli.data.files import local_path, read_text
from trainer_cli.data.fingerprint import fingerprint
from trainer_cli.data.source import Collate, Labels, Splits
from trainer_cli.data.texts import make_tokenizer, together
from trainer_cli.data.tokenized import TokenizedTexts

IGNORED = -100


class LanguageModeling:
    """Text files, one after the other with an end-of-text token after each, in blocks of `max_length` tokens.

    The last block is what is left; in a batch it is padded on the right, and its padding is no label. Labels
    are the tokens themselves: the model, or the loss, shifts them by one.

    Args:
        train_file: Text file or list of files (UTF-8); embedded: three of Shakespeare's plays.
        eval_file: Text file or files to evaluate on; null: the end of the training text is held out.
        eval_share: Share of the training blocks that is held out where eval_file is null; 0: none.
        max_length: Tokens of a block.
        tokenizer: The pretrained model whose tokenizer is used; null: a token for each byte.
        trust_remote_code: Whether code that comes with the tokenizer may run.
        collate_fn: Makes a batch of a list of rows; null: stacks the blocks.
    """

    labels: Labels | None = None

    def __init__(
        self,
        train_file: str | list[str] | None,
        eval_file: str | list[str] | None,
        eval_share: Annotated[float, Ge(0), Lt(1)],
        max_length: Annotated[int, Ge(2)],
        tokenizer: str | None,
        trust_remote_code: bool,
        collate_fn: Collate | None,
    ) -> None:
        self._train, self._eval = together(
            partial(_read, train_file, "data.train_file"), partial(_read, eval_file, "data.eval_file")
        )
        self._eval_share = 0.0 if self._eval else eval_share
        self._max_length = max_length
        self._collate_fn = collate_fn
        self.tokenizer = make_tokenizer(tokenizer, trust_remote_code)
        if self.tokenizer.eos_token_id is None:
            raise UserError(
                f"the tokenizer of {tokenizer} has no end-of-text token, as a model that writes text has",
                right="data.tokenizer=NAME of a causal model, or null for bytes",
            )
        described = _describe(self._train, self._eval, self._eval_share)
        self.description = f"text in blocks of {max_length} tokens: {described}"

    def load(self, splits: Collection[str]) -> Splits:
        """Tokenise and cut what is asked for; the training blocks are the same, evaluated or not."""
        if "predict" in splits:
            raise UserError("data=language_modeling has nothing to predict", right="args.stages=[train,eval]")
        if "train" in splits and not self._train:
            raise UserError(
                "data.train_file is null: there is nothing to train on", right="data.train_file=FILE"
            )
        train, held_out = self._blocks(self._train, "data.train_file"), None
        if train is not None and self._eval_share > 0:
            train, held_out = _split(train, self._eval_share)
        if "eval" in splits:
            held_out = self._blocks(self._eval, "data.eval_file") or held_out
            if held_out is None:
                raise UserError(
                    "there is nothing to evaluate on", right="data.eval_file=FILE, or data.eval_share above 0"
                )
        pad = {"input_ids": self.tokenizer.pad_token_id, "labels": IGNORED}
        return Splits(
            train=train if "train" in splits else None,
            eval={"": held_out} if "eval" in splits and held_out is not None else {},
            predict=None,
            # Padding at the end is out of a causal model's sight, so there is no need of a mask.
            collate_fn=self._collate_fn or PadCollator(pad, "right", mask=False),
            metrics=("perplexity",),
            fingerprint=fingerprint(texts.values() for texts in (self._train, self._eval)),
            train_fingerprint=fingerprint((self._train.values(), (self._eval_share, self._max_length))),
        )

    def _blocks(self, texts: Mapping[str, str], key: str) -> TokenizedTexts | None:
        if not texts:
            return None
        tokens = array("i")
        for text in texts.values():
            tokens.extend(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            tokens.append(self.tokenizer.eos_token_id)
        offsets = array("q", range(0, len(tokens), self._max_length))
        # One token alone has none before it, and would be a block with nothing to predict.
        if len(tokens) - offsets[-1] > 1:
            offsets.append(len(tokens))
        if len(offsets) < 2:
            raise UserError(f"{key}: {', '.join(texts)} holds no text")
        flat = torch.frombuffer(tokens, dtype=torch.int32)
        return TokenizedTexts({"input_ids": flat, "labels": flat}, offsets)


def _split(blocks: TokenizedTexts, share: float) -> tuple[TokenizedTexts, TokenizedTexts]:
    """The first blocks, and the share of them at the end."""
    held_out = math.ceil(share * len(blocks))
    begin = len(blocks) - held_out
    if begin < 1:
        raise UserError(
            f"data.train_file makes {len(blocks)} block(s) of data.max_length tokens,"
            f" and data.eval_share={share:g} leaves none to train on",
            right="more text, shorter blocks, or data.eval_file=FILE",
        )
    return (
        TokenizedTexts(blocks.columns, blocks.offsets[: begin + 1]),
        TokenizedTexts(blocks.columns, blocks.offsets[begin:]),
    )


def _read(files: str | list[str] | None, key: str) -> dict[str, str]:
    if files == "embedded":
        return plays()
    names = [files] if isinstance(files, str) else files or []
    return dict(zip(names, together(*(partial(_read_file, name, key) for name in names))))


def _read_file(file: str, key: str) -> str:
    text = read_text(local_path(file, key), file)
    if not text.strip():
        raise UserError(f"{key}: {file} is empty")
    return text


def _describe(train: Mapping[str, str], evaluation: Mapping[str, str], share: float) -> str:
    def listed(texts: Mapping[str, str]) -> str:
        names = ", ".join(list(texts)[:3]) + (", …" if len(texts) > 3 else "")
        return f"{names} ({sum(map(len, texts.values())):,} characters)"

    parts = [f"train {listed(train)}"] if train else []
    if evaluation:
        parts.append(f"eval {listed(evaluation)}")
    elif share > 0:
        parts.append(f"eval the last {share:.0%} of it")
    return ", ".join(parts)
