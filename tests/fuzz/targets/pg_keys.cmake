mr_fuzz_target(pg_keys DEPS mr_postgres)
