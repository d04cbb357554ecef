"""What the network costs on a machine: time, memory and quality of every engine, precision and stage."""

from mprnet.bench.chart import draw
from mprnet.bench.measurement import Progress, run
from mprnet.bench.plan import Plan
from mprnet.bench.results import STRAIGHTFORWARD, Bench, Case, Line, Skipped

__all__ = ["STRAIGHTFORWARD", "Bench", "Case", "Line", "Plan", "Progress", "Skipped", "draw", "run"]
