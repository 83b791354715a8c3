mr_fuzz_target(pg_row DEPS mr_postgres)
