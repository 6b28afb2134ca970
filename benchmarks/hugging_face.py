"""The glue recipe's fine-tuning as a user of transformers.Trainer writes it; run as a script.

python hugging_face.py MODEL DATA_DIR OUTPUT_DIR SEED EPOCHS [FILE]: prints samples a second and accuracy as
JSON; with FILE, writes there the moment at which the first update was done, and ends.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

model_path, data, output, seed, epochs, *moment = sys.argv[1:]


class FirstStep(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        Path(moment[0]).write_text(str(time.time()))
        os._exit(0)


dataset = load_dataset(
    "json",
    data_files={name: f"{data}/{name}.jsonl" for name in ("train", "eval")},
    cache_dir=f"{output}/cache",
)
tokenizer = AutoTokenizer.from_pretrained(model_path)
dataset = dataset.map(lambda rows: tokenizer(rows["sentence"], truncation=True), batched=True)
trainer = Trainer(
    model=AutoModelForSequenceClassification.from_pretrained(model_path, num_labels=2),
    args=TrainingArguments(
        output,
        num_train_epochs=float(epochs),
        per_device_train_batch_size=16,
        learning_rate=1e-4,
        seed=int(seed),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    ),
    train_dataset=dataset["train"],
    eval_dataset=dataset["eval"],
    data_collator=DataCollatorWithPadding(tokenizer),
    compute_metrics=lambda scored: {
        "accuracy": float((np.argmax(scored.predictions, axis=-1) == scored.label_ids).mean())
    },
    callbacks=[FirstStep()] if moment else [],
)
start = time.perf_counter()
trainer.train()
seconds = time.perf_counter() - start
scores = trainer.evaluate()
samples = len(dataset["train"]) * float(epochs)
print(json.dumps({"samples_per_second": samples / seconds, "accuracy": scores["eval_accuracy"]}))
