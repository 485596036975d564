"""The command line with FSDP on the CPU: a program for ``accelerate launch -m tests.fsdp_on_cpu``.

accelerate 1.15 leaves the FSDP settings aside where processes are on the CPU, and wraps for DDP. torch itself shards
over gloo as it does over NCCL; all that is changed here is that the settings are taken.
"""

from __future__ import annotations

from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from models.refine.joint_trainer import JointTrainer

_made = AcceleratorState.__init__
_prepared = JointTrainer.compute_loss


def _with_fsdp(self: AcceleratorState, *given: Any, **settings: Any) -> None:
    _made(self, *given, **settings)
    if settings.get("fsdp_plugin") is not None:
        self.fsdp_plugin = settings["fsdp_plugin"]
    if "fsdp_plugin" in self.__dict__:
        self.distributed_type = DistributedType.FSDP


def _sharded(self: JointTrainer, model: Any, *given: Any, **settings: Any) -> Any:
    assert {type(each).__name__ for each in model.parameters()} == {"DTensor"}, "not sharded: this would test nothing"
    return _prepared(self, model, *given, **settings)


if __name__ == "__main__":
    from analysis.__main__ import app

    AcceleratorState.__init__ = _with_fsdp
    JointTrainer.compute_loss = _sharded
    app()
