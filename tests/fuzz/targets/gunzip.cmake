mr_fuzz_target(gunzip DEPS mr_base)
