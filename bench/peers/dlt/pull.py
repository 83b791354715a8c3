# SPDX-License-Identifier: Apache-2.0
"""dlt takes one table into files, as its documentation has it: pull.py BACKEND TABLE FOLDER FORMAT. The source's URL is in $BENCH_URL."""
import os
import pathlib
import sys

import dlt
from dlt.sources.sql_database import sql_table


def main(backend, table, folder, form):
    source = sql_table(credentials=os.environ["BENCH_URL"], table=table, backend=backend)
    pipeline = dlt.pipeline("bench", pipelines_dir=f"{folder}/pipelines", dataset_name="bench", destination=dlt.destinations.filesystem(pathlib.Path(folder, "files").absolute().as_uri()))
    pipeline.run(source, loader_file_format=form)


if __name__ == "__main__":
    main(*sys.argv[1:])
