#!/usr/bin/env bash
# What Lightning's fit does with Ctrl-C.
#
# Guess:  Trainer.fit ends gracefully and returns, as its log says ("attempting graceful shutdown"), or raises KeyboardInterrupt; so a
#         program that catches KeyboardInterrupt can save what was learned, and a shell sees 130.
# Truth:  it raises SystemExit(1). `except KeyboardInterrupt` and `except Exception` around fit are both passed by, lines after fit are not
#         run, and the process ends with code 1, which says "failed" and not "interrupted" to a scheduler. The interrupt is still there, as
#         __context__ of the SystemExit; on_exception of callbacks is called with the KeyboardInterrupt before.
# Seen:   lightning 2.6.6, torch 2.13.0, Python 3.11. Source: running it; lightning/pytorch/trainer/call.py.
#
# Prints what comes out, and fails if that changes. Needs a network to install; PYTHON names the interpreter (3.11 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq "torch==2.13.0" "lightning==2.6.6"
cat >"$folder/run.py" <<'PY'
import logging
import os
import signal
import warnings

warnings.filterwarnings("ignore")
import lightning
import torch

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
told = []


class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGINT)  # what Ctrl-C sends
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Listener(lightning.Callback):
    def on_exception(self, trainer, module, exception):
        told.append(type(exception).__name__)


cells = torch.utils.data.DataLoader(torch.ones(8, 1))
trainer = lightning.Trainer(
    max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    accelerator="cpu", callbacks=[Listener()],
)
outcome = "fit returned"
try:
    trainer.fit(Line(), cells)
except Exception as error:
    outcome = f"Exception {type(error).__name__}"
except KeyboardInterrupt:
    outcome = "KeyboardInterrupt"
except SystemExit as error:
    outcome = f"SystemExit({error.code}) in the context of {type(error.__context__).__name__}"
print(f"after {trainer.global_step} steps: {outcome}; on_exception got {told}")
raise SystemExit(outcome != "SystemExit(1) in the context of KeyboardInterrupt" or told != ["KeyboardInterrupt"])
PY
"$folder/venv/bin/python" "$folder/run.py" 2>/dev/null
