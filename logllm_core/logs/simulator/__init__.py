"""Seeded logs with known truth, for demos, tests and benchmarks, a million lines a second.

Three shapes: BlueGene/L's, Thunderbird's (also that of Liberty and Spirit), and sessions as in
HDFS. What each logs is in its tables: `bgl_tables`, `thunderbird_tables` and `hdfs_tables`.
"""
