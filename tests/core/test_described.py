"""Types that several threads read for the first time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

READ = """
from __future__ import annotations
import sys, threading
import msgspec
from devbox.described import described

TYPES = '''
class A(msgspec.Struct):
    x: int = 0
class B(msgspec.Struct):
    a: A | None = None
class C(msgspec.Struct):
    b: list[B] = []
class Whole(msgspec.Struct):
    first: C | None = None
    second: dict[str, C] = {}
    last: int = 0
'''

def first(start, kind):
    start.wait()
    msgspec.json.decode(b'{"last": 1}', type=described(kind))
    msgspec.convert({"last": 1}, described(kind))

sys.setswitchinterval(1e-6)
for number in range(200):
    exec(TYPES, globals())
    start = threading.Barrier(4)
    threads = [threading.Thread(target=first, args=(start, Whole)) for _ in range(4)]
    [each.start() for each in threads]
    [each.join() for each in threads]
"""


def test_a_type_that_threads_read_at_once_for_the_first_time_crashes_nothing() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", READ], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
