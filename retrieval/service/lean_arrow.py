"""Makes Arrow hold less in a process that serves: no pandas, and memory that goes back.

pyarrow imports pandas, where it is installed, as soon as it meets a NumPy array: 45 MB and a fifth of a second for
nothing, since no DataFrame is made here. It looks once and remembers; pandas itself stays free to be imported. Its own
allocator keeps what reading a table took (30 MB for 100,000 pictures); the system's gives it back.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used here", name=fullname)
        return None


def make_arrow_lean() -> None:
    """To be called before Arrow is used. Afterwards pyarrow's own conversions from and to pandas fail."""
    import numpy as np
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array(np.zeros(1)).to_numpy()  # here it looks
    finally:
        sys.meta_path.remove(finder)
