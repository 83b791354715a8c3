mr_fuzz_target(text DEPS mr_base)
