"""What NVIDIA publishes about its GPUs: peaks without sparsity, by the data sheets as of AS_OF.

matmul: dtype → TFLOP/s. memory: GB/s (10^9). vram: the sheet's GB, which are GiB. A dtype that a
sheet does not name, or names only with sparsity, is left out.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional

AS_OF = "2026-11-28"
_SHEETS = "https://www.nvidia.com/en-us/data-center/"


class Sheet(NamedTuple):
    matmul: Dict[str, float]
    memory: float
    vram: float
    source: str


def _tensor(
    fp32: float, tf32: Optional[float], half: float, *, bf16: bool = True
) -> Dict[str, float]:
    found = {"float32": fp32, "float16": half}
    found.update({"tf32": tf32} if tf32 else {})
    found.update({"bfloat16": half} if bf16 else {})
    return found


# The names as the driver tells them; the longest that is found in a GPU's name counts.
_SHEET: Dict[str, Sheet] = {
    "Tesla T4": Sheet(_tensor(8.1, None, 65, bf16=False), 320, 16, _SHEETS + "tesla-t4"),
    "L4": Sheet(_tensor(30.3, 60, 121), 300, 24, _SHEETS + "l4"),
    "L40S": Sheet(_tensor(91.6, 183, 362), 864, 48, _SHEETS + "l40s"),
    "A10": Sheet(_tensor(31.2, 62.5, 125), 600, 24, _SHEETS + "products/a10-gpu"),
    "A10G": Sheet(
        _tensor(35, 35, 70), 600, 24, "https://aws.amazon.com/ec2/instance-types/g5 (data sheet)"
    ),
    "A100-SXM4-40GB": Sheet(_tensor(19.5, 156, 312), 1555, 40, _SHEETS + "a100"),
    "A100-SXM4-80GB": Sheet(_tensor(19.5, 156, 312), 2039, 80, _SHEETS + "a100"),
    "A100 80GB PCIe": Sheet(_tensor(19.5, 156, 312), 1935, 80, _SHEETS + "a100"),
    "H100 PCIe": Sheet(_tensor(51, 378, 756), 2000, 80, _SHEETS + "h100"),
    "H100 80GB HBM3": Sheet(_tensor(67, 494, 989), 3350, 80, _SHEETS + "h100"),
    "H200": Sheet(_tensor(67, 494, 989), 4800, 141, _SHEETS + "h200"),
}


def find(gpu: str) -> Optional[Sheet]:
    """The sheet of a GPU by the driver's name for it; None for one that is not in the table."""
    words = f" {gpu} "
    known = [name for name in _SHEET if f" {name} " in words]
    return _SHEET[max(known, key=len)] if known else None
