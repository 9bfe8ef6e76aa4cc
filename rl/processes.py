"""Several processes on one batch, as torchrun starts them: joining, and letting the first one make files."""

import os


def join_processes(device: str) -> tuple[int, int]:
    """This process's rank and the number of processes, as torchrun tells them."""
    from torch import distributed

    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return (distributed.get_rank(), world) if world > 1 else (0, 1)


class Rank0First:
    """Process 0 runs the block alone and makes the files; the others run it afterwards and find them."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world

    def __enter__(self) -> None:
        if self.world > 1 and self.rank > 0:
            from torch import distributed

            distributed.barrier()

    def __exit__(self, *error: object) -> None:
        if self.world > 1 and self.rank == 0:
            from torch import distributed

            distributed.barrier()
