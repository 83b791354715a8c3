mr_fuzz_target(http DEPS mr_net m)
mr_fuzz_target(retry_after DEPS mr_net)
mr_fuzz_target(s3_reply DEPS mr_net)
mr_fuzz_target(aws_reply DEPS mr_net)
