mr_fuzz_target(json DEPS mr_base)
