mr_fuzz_target(http DEPS mr_net m)
mr_fuzz_target(retry_after DEPS mr_net)
