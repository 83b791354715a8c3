mr_fuzz_target(envelope DEPS mr_zone)
