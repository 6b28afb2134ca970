"""How transformers is imported: without what no text model in one process uses, 0.7 seconds faster."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def trim_transformers() -> None:
    """Import transformers, and let it find neither torchao, scipy nor torch.distributed for its models.

    It takes torchao for models that are stored quantised, scipy for its losses of object detection alone, and
    torch.distributed for models that are spread over processes; a process that a launcher started keeps the
    last two. Has no effect on models imported before.
    """
    import transformers
    from transformers.utils import import_utils

    # It reads every file of its models folder twice: under two spellings of the folder's name.
    scan = import_utils.create_import_structure_from_path
    import_utils.create_import_structure_from_path = lambda path: scan(
        Path(path).parent if Path(path).is_file() else Path(path)
    )
    questions = ["is_torchao_available"]
    if "RANK" not in os.environ:
        questions += ["is_torch_distributed_available", "is_scipy_available"]
    for module in (import_utils, transformers.utils):
        for question in questions:
            setattr(module, question, lambda: False)
