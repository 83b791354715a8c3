mr_fuzz_target(queue DEPS mr_queue)
