#!/usr/bin/env bash
# LocalStack runs this inside its container once it is ready: says at once if it lacks what the stack needs, which
# otherwise shows in the middle of a deploy.
set -uo pipefail
lacking=0
for call in "apigateway get-rest-apis" "cloudformation list-stacks" "cloudwatch list-metrics" "dynamodb list-tables" \
  "events list-rules" "iam list-roles" "lambda list-functions" "logs describe-log-groups" "s3api list-buckets" \
  "sns list-topics" "sqs list-queues" "ssm describe-parameters"; do
  # shellcheck disable=SC2086 # service and call are two words
  if ! awslocal $call >/dev/null 2>&1; then
    echo "edgepost: LocalStack does not answer: aws $call" >&2
    lacking=1
  fi
done
if ((lacking == 0)); then echo "edgepost: LocalStack is ready; go on with localstack/deploy.sh"; fi
exit "$lacking"
