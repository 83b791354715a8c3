mr_fuzz_target(pg_position DEPS mr_postgres)
mr_fuzz_target(pg_ids DEPS mr_postgres)
