"""Seeded logs with known truth, for demos, tests and benchmarks, a million lines a second.

Three shapes: BlueGene/L's, Thunderbird's (also that of Liberty and Spirit), and sessions as in
HDFS. The tables of messages are in `bgl`, `thunderbird` and `hdfs_tables`.
"""

from logllm_core.logs.simulator.writing import UNSTABLE_FROM_FRACTION, VERSION, Shape, write_log

__all__ = ["UNSTABLE_FROM_FRACTION", "VERSION", "Shape", "write_log"]
