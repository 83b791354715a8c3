mr_fuzz_target(verdict DEPS mr_webhook)
mr_fuzz_target(signature DEPS mr_webhook)
mr_fuzz_target(event DEPS mr_webhook)
mr_fuzz_target(client DEPS mr_webhook)
