mr_fuzz_target(http DEPS mr_net m)
