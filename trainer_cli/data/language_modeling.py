"""Text cut into blocks of tokens, for a model that predicts the next one."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated

import torch

from trainer_cli.config.errors import UserError
from trainer_cli.config.types import Ge, Lt
from trainer_cli.counts import share_of
from trainer_cli.data.collate import PadCollator
from trainer_cli.data.embedded import plays
from trainer_cli.data.files import ENDINGS, Table, ending_of, local_path, named_files, read_table, read_text
from trainer_cli.data.fingerprint import fingerprint
from trainer_cli.data.source import Collate, Labels, Splits
from trainer_cli.data.texts import Column, make_tokenizer, read_examples, together
from trainer_cli.data.tokenized import CHUNK, TokenizedTexts

log = logging.getLogger(__name__)

IGNORED = -100


@dataclass(frozen=True)
class Corpus:
    """The documents of one file: a table's rows, or the whole of any other file."""

    file: str
    documents: list[str]


Corpora = Sequence[Corpus]


class LanguageModeling:
    """Documents, one after the other with an end-of-text token after each, in blocks of `max_length` tokens.

    A row of a CSV, TSV, JSONL or Parquet file is a document; any other file is one as a whole, in UTF-8. The
    last block is what is left; in a batch it is padded on the right, and its padding is no label. Labels are
    the tokens themselves: the model, or the loss, shifts them by one.

    Args:
        train_file: File, pattern (texts/*.txt) or list of them, each read as often as it is named and .gz
            unpacked; embedded: three of Shakespeare's plays.
        eval_file: File or files to evaluate on; null: the end of the training text is held out.
        text_column: Column of the text, in files that have columns.
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
        text_column: str,
        eval_share: Annotated[float, Ge(0), Lt(1)],
        max_length: Annotated[int, Ge(2)],
        tokenizer: str | None,
        trust_remote_code: bool,
        collate_fn: Collate | None,
    ) -> None:
        self._train, self._eval = together(
            partial(_read, train_file, "data.train_file", text_column),
            partial(_read, eval_file, "data.eval_file", text_column),
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
            fingerprint=fingerprint(_documents(corpora) for corpora in (self._train, self._eval)),
            train_fingerprint=fingerprint((_documents(self._train), (self._eval_share, self._max_length))),
            eval_fingerprint=fingerprint(
                (_documents(self._eval or self._train), (self._eval_share, self._max_length))
            ),
        )

    def _blocks(self, corpora: Corpora, key: str) -> TokenizedTexts | None:
        if not corpora:
            return None
        documents = _documents(corpora)
        tokens = array("i")
        for start in range(0, len(documents), CHUNK):
            encoded = self.tokenizer(
                documents[start : start + CHUNK],
                add_special_tokens=False,
                return_attention_mask=False,
                verbose=False,
            )
            for ids in encoded["input_ids"]:
                tokens.extend(ids)
                tokens.append(self.tokenizer.eos_token_id)
        offsets = array("q", range(0, len(tokens), self._max_length))
        # One token alone has none before it, and would be a block with nothing to predict.
        if len(tokens) - offsets[-1] > 1:
            offsets.append(len(tokens))
        if len(offsets) < 2:
            raise UserError(f"{key}: {', '.join(corpus.file for corpus in corpora)} holds no text")
        flat = torch.frombuffer(tokens, dtype=torch.int32)
        return TokenizedTexts({"input_ids": flat, "labels": flat}, offsets)


def _split(blocks: TokenizedTexts, share: float) -> tuple[TokenizedTexts, TokenizedTexts]:
    """The first blocks, and the share of them at the end."""
    held_out = share_of(share, len(blocks))
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


def _documents(corpora: Corpora) -> list[str]:
    return list(chain.from_iterable(corpus.documents for corpus in corpora))


def _read(files: str | list[str] | None, key: str, column: str) -> Corpora:
    if files == "embedded":
        return [Corpus(name, [text]) for name, text in plays().items()]
    return together(*(partial(_read_file, name, key, column) for name in named_files(files, key)))


def _read_file(file: str, key: str, column: str) -> Corpus:
    if ending_of(file) in ENDINGS:
        return _read_rows(read_table(file, key), column)
    text = read_text(local_path(file, key), file)
    if not text.strip():
        raise UserError(f"{key}: {file} is empty")
    return Corpus(file, [text])


def _read_rows(table: Table, column: str) -> Corpus:
    rows = read_examples([table], Column(column, "data.text_column"), None, None).texts
    texts = [text for text in rows if text.strip()]
    if len(texts) < len(rows):
        log.info("%s: %d rows without text are left out", table.file, len(rows) - len(texts))
    return Corpus(table.file, texts)


def _describe(train: Corpora, evaluation: Corpora, share: float) -> str:
    def listed(corpora: Corpora) -> str:
        names = ", ".join(corpus.file for corpus in corpora[:3]) + (", …" if len(corpora) > 3 else "")
        texts = _documents(corpora)
        count = f"{len(texts):,} documents, " if len(texts) > len(corpora) else ""
        return f"{names} ({count}{sum(map(len, texts)):,} characters)"

    parts = [f"train {listed(train)}"] if train else []
    if evaluation:
        parts.append(f"eval {listed(evaluation)}")
    elif share > 0:
        parts.append(f"eval the last {share:.0%} of it")
    return ", ".join(parts)
