"""Which parameters an optimizer updates and how, and the optimizers that no package has in working order."""

from trainer_cli.optim.apollo import apollo_adamw
from trainer_cli.optim.eight_bit import adamw_8bit, ademamix_8bit, lion_8bit, rmsprop_8bit
from trainer_cli.optim.galore import galore_adafactor, galore_adamw, galore_adamw_8bit
from trainer_cli.optim.grokadamw import GrokAdamW
from trainer_cli.optim.groups import check_fused, check_hyperparameters, parameter_groups
from trainer_cli.optim.in_backward import InBackward
from trainer_cli.optim.lomo import AdaLomo, Lomo
from trainer_cli.optim.modal import Modal
from trainer_cli.optim.muon import Muon

__all__ = [
    "AdaLomo",
    "GrokAdamW",
    "InBackward",
    "Lomo",
    "Modal",
    "Muon",
    "adamw_8bit",
    "ademamix_8bit",
    "apollo_adamw",
    "check_fused",
    "check_hyperparameters",
    "galore_adafactor",
    "galore_adamw",
    "galore_adamw_8bit",
    "lion_8bit",
    "parameter_groups",
    "rmsprop_8bit",
]
