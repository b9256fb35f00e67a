"""template.yaml: what the checkers say, and the rules that every function, table, queue and bucket keeps."""

import json
import re
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from shared.settings import Settings, variable
from tests.architecture.sources import ROOT
from tests.aws.environments import environment
from tests.aws.iam import Statement
from tests.aws.template import Names, policies, resources, template

FORBIDDEN_TYPES = ("AWS::Serverless::HttpApi", "AWS::Serverless::LayerVersion", "AWS::CloudFormation::Stack")
"""What LocalStack's free image or MiniStack do not take."""


def everything(value: Any) -> list[Any]:
    """Return all values inside of a value, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for each in inner for found in everything(each))]


def alarms_on(namespace: str, metric: str, dimension: str, value: object) -> list[Mapping[str, Any]]:
    """Return the alarms on a metric."""
    return [
        each
        for each in resources("AWS::CloudWatch::Alarm").values()
        if (each["Namespace"], each["MetricName"]) == (namespace, metric)
        and {"Name": dimension, "Value": value} in each["Dimensions"]
    ]


class TestCheckers:
    def test_cfn_lint_has_nothing_to_say(self) -> None:
        """It knows every property of every resource, and which runtimes are no longer to be had."""
        cfn_lint = environment("sam") / "cfn-lint"

        done = subprocess.run([cfn_lint, "template.yaml"], cwd=ROOT, capture_output=True, text=True, check=False)

        assert (done.returncode, done.stdout) == (0, "")


class TestPortability:
    def test_no_type_that_an_emulator_does_not_take(self) -> None:
        """An HTTP API deploys without routes on MiniStack; layers and API Gateway v2 are not in LocalStack's image."""
        assert [name for name, each in template()["Resources"].items() if each["Type"] in FORBIDDEN_TYPES] == []

    def test_every_verb_has_an_event_of_its_own(self) -> None:
        """`Method: ANY` answers 403 on MiniStack."""
        for function in resources("AWS::Serverless::Function").values():
            routes = [each["Properties"] for each in function.get("Events", {}).values() if each["Type"] == "Api"]
            assert "ANY" not in {route["Method"].upper() for route in routes}
            if routes:
                proxied = {route["Method"] for route in routes if route["Path"] == "/{proxy+}"}
                assert proxied == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


class TestParameters:
    def test_each_is_documented_and_bounded(self) -> None:
        """Whoever deploys reads this, and a typing error must be refused before anything is made."""
        for name, each in template()["Parameters"].items():
            assert re.match(r"[A-Z].*\.$", each["Description"], re.DOTALL), name
            assert each.keys() & {"AllowedPattern", "AllowedValues", "MinValue"}, name
            assert "Default" in each, name

    def test_all_are_grouped(self) -> None:
        """The console shows them in these groups; one left out stands at the end without a place."""
        groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

        assert {name for group in groups for name in group["Parameters"]} == template()["Parameters"].keys()

    def test_packages_are_built_for_the_default_runtime(self) -> None:
        """The make variables and the parameters must say the same: a wheel for another Python does not load."""
        defaults = dict(re.findall(r"^(LAMBDA_\w+) \?= (\S+)$", (ROOT / "infra/build.mk").read_text(), re.MULTILINE))
        parameters = template()["Parameters"]

        assert f"python{defaults['LAMBDA_PYTHON']}" == parameters["PythonRuntime"]["Default"]
        assert defaults["LAMBDA_ARCHITECTURE"] == parameters["Architecture"]["Default"]

    def test_samconfig_sets_only_parameters_that_exist(self) -> None:
        """A name that was changed here would fail every deploy there."""
        config = tomllib.loads((ROOT / "samconfig.toml").read_text())
        given = {
            pair.partition("=")[0]
            for environment_name in ("default", "local", "dev", "staging", "prod")
            for pair in config[environment_name]["deploy"]["parameters"].get("parameter_overrides", [])
        }

        assert given <= template()["Parameters"].keys()

    def test_every_environment_is_built_and_deployed_alike(self) -> None:
        """What was tried in staging is what goes to production."""
        config = tomllib.loads((ROOT / "samconfig.toml").read_text())
        own = {"parameter_overrides", "tags", "confirm_changeset"}
        common = [
            {
                command: {name: value for name, value in each["parameters"].items() if name not in own}
                for command, each in config[name].items()
                if command != "global"
            }
            for name in ("default", "local", "dev", "staging", "prod")
        ]

        assert all(each == common[0] for each in common)


class TestFunctions:
    def test_environment_has_only_settings_that_exist(self) -> None:
        """A function refuses to start with an unknown EDGEPOST_ name."""
        given = template()["Globals"]["Function"]["Environment"]["Variables"].keys()

        assert given <= {variable(each) for each in fields(Settings)}

    def test_each_has_its_log_group_with_retention(self) -> None:
        """A group that Lambda makes by itself keeps lines for ever, and somebody pays."""
        groups = resources("AWS::Logs::LogGroup")
        for name, each in resources("AWS::Serverless::Function").items():
            group = groups[each["LoggingConfig"]["LogGroup"]["Ref"]]
            assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/{each['FunctionName']['Fn::Sub']}"}, name
            assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name

    def test_each_has_alarms_on_errors_and_throttles(self) -> None:
        """A function that fails quietly loses nothing, but everything is late."""
        for name in resources("AWS::Serverless::Function"):
            for metric in ("Errors", "Throttles"):
                assert alarms_on("AWS/Lambda", metric, "FunctionName", {"Ref": name}), (name, metric)

    def test_each_starts_what_is_there(self) -> None:
        """A handler's name is only looked up when the function runs."""
        for name, each in resources("AWS::Serverless::Function").items():
            module, _, function = each["Handler"].rpartition(".")
            assert re.search(
                rf"^(def )?{function}\b", (ROOT / f"{module.replace('.', '/')}.py").read_text(), re.MULTILINE
            )
            assert module.split(".")[1] == name.removesuffix("Function").lower()

    def test_consumers_report_failed_items(self) -> None:
        """Without it one poisonous event repeats its whole batch."""
        for each in resources("AWS::Serverless::Function").values():
            for event in each.get("Events", {}).values():
                if event["Type"] == "SQS":
                    assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]

    def test_visibility_is_six_times_the_timeout(self) -> None:
        """Else a batch comes back while it is still worked (Lambda developer guide, SQS event sources)."""
        default = template()["Globals"]["Function"]["Timeout"]
        for each in resources("AWS::Serverless::Function").values():
            for event in each.get("Events", {}).values():
                if event["Type"] == "SQS":
                    queue = resources("AWS::SQS::Queue")[event["Properties"]["Queue"]["Fn::GetAtt"][0]]
                    window = event["Properties"]["MaximumBatchingWindowInSeconds"]
                    assert queue["VisibilityTimeout"] >= 6 * each.get("Timeout", default) + window


class TestTracking:
    CLOSED = ("PixelFunction", "RedirectFunction")

    def test_pixel_and_redirect_are_cloudfronts_alone_behind_it(self) -> None:
        """Else anybody could say which host and which client it was: its headers count then."""
        by_proxy = {"Fn::If": ["BehindCloudFront", "AWS_IAM", "NONE"]}
        found = resources("AWS::Lambda::Permission").values()
        for name in self.CLOSED:
            assert resources("AWS::Serverless::Function")[name]["FunctionUrlConfig"] == {"AuthType": by_proxy}
            own = {each["Action"]: each for each in found if each["FunctionName"] == {"Ref": name}}
            # Lambda developer guide, "Control access to function URLs"; SAM makes them where AuthType is no condition.
            assert own.keys() == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}, name
            assert own["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == by_proxy
            assert own["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True
            for each in own.values():
                assert each["Principal"] == {"Fn::If": ["BehindCloudFront", "cloudfront.amazonaws.com", "*"]}
                assert each["SourceArn"]["Fn::If"][0] == "BehindCloudFront"
                assert each["SourceArn"]["Fn::If"][1]["Fn::Sub"].startswith(
                    "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:"
                )

    def test_unsubscribing_takes_posts_from_mail_programs(self) -> None:
        """CloudFront signs a POST only with a hash that they do not send, so this URL stays open."""
        function = resources("AWS::Serverless::Function")["UnsubscribeFunction"]

        assert function["FunctionUrlConfig"] == {"AuthType": "NONE"}

    def test_uploads_go_after_a_day(self) -> None:
        """The largest things in the bucket, if nobody sends them."""
        rules = resources("AWS::S3::Bucket")["BodiesBucket"]["LifecycleConfiguration"]["Rules"]

        assert [each["ExpirationInDays"] for each in rules if each.get("Prefix") == "uploads/"] == [1]


class TestData:
    def test_tables_and_buckets_outlive_the_stack(self) -> None:
        """Deleting a stack by mistake must not delete anybody's mail."""
        for name, each in template()["Resources"].items():
            if each["Type"] in {"AWS::DynamoDB::Table", "AWS::S3::Bucket"}:
                assert (each["DeletionPolicy"], each["UpdateReplacePolicy"]) == ("Retain", "Retain"), name

    def test_tables_expire_bill_by_request_and_are_protected(self) -> None:
        """The names are those that the adapters use (shared/adapters/aws)."""
        for name, each in resources("AWS::DynamoDB::Table").items():
            assert each["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}, name
            assert each["BillingMode"] == "PAY_PER_REQUEST", name
            assert each["DeletionProtectionEnabled"] == {"Fn::If": ["ProtectsTables", True, False]}, name
            for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
                assert alarms_on("AWS/DynamoDB", metric, "TableName", {"Ref": name}), (name, metric)

    def test_records_can_be_restored_to_any_second(self) -> None:
        """A slip of an operator is undone from there."""
        table = resources("AWS::DynamoDB::Table")["RecordsTable"]

        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}

    def test_buckets_are_closed_and_encrypted(self) -> None:
        """Bodies are other people's mail."""
        for name, each in resources("AWS::S3::Bucket").items():
            assert set(each["PublicAccessBlockConfiguration"].values()) == {True}, name
            assert each["BucketEncryption"], name
            assert each["LifecycleConfiguration"]["Rules"], name

    def test_queues_and_buckets_speak_only_tls(self) -> None:
        """A policy that denies everything over plain HTTP, on each of them."""
        guarded = set()
        for kind, field in (("AWS::SQS::QueuePolicy", "Queues"), ("AWS::S3::BucketPolicy", "Bucket")):
            for each in resources(kind).values():
                (statement,) = each["PolicyDocument"]["Statement"]
                assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                targets = each[field] if isinstance(each[field], list) else [each[field]]
                guarded |= {target["Ref"] for target in targets}

        assert guarded == resources("AWS::SQS::Queue").keys() | resources("AWS::S3::Bucket").keys()


class TestQueues:
    def test_each_is_encrypted_and_bounded(self) -> None:
        """The size is explicit, because tools differ in what they take for the default."""
        for name, each in resources("AWS::SQS::Queue").items():
            assert each["SqsManagedSseEnabled"] is True, name
            assert each["MaximumMessageSize"] == 256 * 1024, name
            assert each["MessageRetentionPeriod"] == 14 * 86400, name

    def test_dead_letters_come_late_and_are_seen(self) -> None:
        """Waiting for a lease is a receive too, so the limit only catches unknown crashes (docs/architecture.md)."""
        queues = resources("AWS::SQS::Queue")
        for name, each in queues.items():
            if "RedrivePolicy" not in each:
                continue
            dead = each["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            assert each["RedrivePolicy"]["maxReceiveCount"] >= 50, name
            assert dead in queues, name
            assert alarms_on(
                "AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", {"Fn::GetAtt": [dead, "QueueName"]}
            ), name
            assert alarms_on(
                "AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", {"Fn::GetAtt": [name, "QueueName"]}
            ), name


class TestAlarms:
    def test_each_tells_somebody_and_says_what_is_wrong(self) -> None:
        """An alarm without a reader is a metric."""
        for name, each in resources("AWS::CloudWatch::Alarm").items():
            assert each["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
            assert re.match(r"[A-Z].*[.?]$", each["AlarmDescription"]), name

    def test_faults_of_both_doors_are_seen(self) -> None:
        """Whichever URL customers use."""
        assert alarms_on("AWS/ApiGateway", "5XXError", "ApiName", {"Ref": "AWS::StackName"})
        assert alarms_on("AWS/Lambda", "Url5xxCount", "FunctionName", {"Ref": "ApiFunction"})


class TestPolicies:
    def test_no_statement_names_more_than_it_must(self) -> None:
        """A star as an action or as a whole resource is how least privilege ends."""
        for who, statements in policies():
            for statement in statements:
                read = Statement.of(Names("edgepost").resolve(statement))
                assert not [action for action in read.actions if "*" in action], who
                assert not [each for each in read.resources if each.startswith("*") or ":*:" in each], who

    def test_every_statement_says_what_it_is_for(self) -> None:
        """The Sid is what an auditor reads."""
        for who, statements in policies():
            names = [statement.get("Sid", "") for statement in statements]
            assert all(names), who
            assert len(set(names)) == len(names), who

    def test_every_function_has_a_role_of_its_own(self) -> None:
        """A shared role may do what any of them needs."""
        for name, each in resources("AWS::Serverless::Function").items():
            assert each["Role"] == {"Fn::GetAtt": [f"{name.removesuffix('Function')}Role", "Arn"]}


class TestOutputs:
    def test_name_what_a_node_is_configured_with(self) -> None:
        """EDGEPOST_STACK makes nodes and the command line read these names."""
        wanted = {"RecordsTable", "BodiesTable", "BodiesBucket", "EventsQueue", "WorkQueues", "SecretsPath"}
        wanted |= {"WebhooksQueue", "InboundQueue"}

        assert wanted | {"ApiUrl", "RestApiUrl"} <= template()["Outputs"].keys()
        assert all(each["Description"] for each in template()["Outputs"].values())

    def test_no_secret_is_in_the_template(self) -> None:
        """Whoever may describe the stack reads every parameter and output."""
        assert "NoEcho" not in json.dumps(template())
        assert [each for each in everything(template()) if isinstance(each, str) and "resolve:ssm" in each] == []
