mr_fuzz_target(kafka_position DEPS mr_kafka mr_config)
