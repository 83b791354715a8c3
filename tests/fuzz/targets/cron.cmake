mr_fuzz_target(cron DEPS mr_loop)
