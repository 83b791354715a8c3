mr_fuzz_target(config DEPS mr_config)
