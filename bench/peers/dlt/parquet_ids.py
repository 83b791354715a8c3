# SPDX-License-Identifier: Apache-2.0
"""Prints the column id of Parquet files, one a line."""
import sys

import pyarrow.parquet

for path in sys.argv[1:]:
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(columns=["id"]):
        sys.stdout.write("".join(f"{number.as_py()}\n" for number in batch.column(0)))
