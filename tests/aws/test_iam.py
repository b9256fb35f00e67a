"""The policy evaluator itself: what proves least privilege must not be wrong."""

import pytest

from tests.aws.iam import Request, Statement, is_allowed, unused

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/records"


def statement(effect: str = "Allow", **elements: object) -> Statement:
    """Return a statement on the table."""
    return Statement.of({"Sid": "S", "Effect": effect, "Action": "dynamodb:GetItem", "Resource": TABLE, **elements})


class TestIsAllowed:
    def test_what_nothing_allows_is_denied(self) -> None:
        """Implicit denial is IAM's first rule."""
        assert not is_allowed(Request("dynamodb:GetItem", TABLE), [])

    @pytest.mark.parametrize(
        ("action", "resource", "allowed"),
        [
            ("dynamodb:GetItem", TABLE, True),
            ("dynamodb:getitem", TABLE, True),
            ("dynamodb:PutItem", TABLE, False),
            ("dynamodb:GetItems", TABLE, False),
            ("dynamodb:GetItem", f"{TABLE}2", False),
            ("dynamodb:GetItem", TABLE.upper(), False),
        ],
    )
    def test_action_and_resource_must_both_match(self, action: str, resource: str, allowed: bool) -> None:
        """Actions compare without regard to case, resources with."""
        assert is_allowed(Request(action, resource), [statement()]) is allowed

    @pytest.mark.parametrize(
        ("pattern", "resource", "allowed"),
        [
            ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b:c", True),
            ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket", False),
            ("arn:aws:s3:::bucket/?", "arn:aws:s3:::bucket/ab", False),
            ("arn:aws:s3:::bucket/[ab]", "arn:aws:s3:::bucket/a", False),
            ("*", "arn:aws:s3:::anything", True),
        ],
    )
    def test_stars_span_everything(self, pattern: str, resource: str, allowed: bool) -> None:
        """A star in a resource matches slashes and colons too; brackets mean nothing."""
        assert is_allowed(Request("dynamodb:GetItem", resource), [statement(Resource=pattern)]) is allowed

    def test_a_denial_wins(self) -> None:
        """However many statements allow it."""
        request = Request("dynamodb:GetItem", TABLE)

        assert not is_allowed(request, [statement(), statement("Deny", Action="dynamodb:*"), statement()])

    def test_conditions_must_all_hold(self) -> None:
        """A statement whose condition does not hold is as if it were not there."""
        guarded = statement(
            Condition={"Bool": {"aws:SecureTransport": "true"}, "StringLike": {"aws:userid": ["AIDA*", "AROA*"]}}
        )
        good = {"aws:SecureTransport": "true", "aws:userid": "AROA1"}

        assert is_allowed(Request("dynamodb:GetItem", TABLE, good), [guarded])
        for wrong in ({**good, "aws:SecureTransport": "false"}, {**good, "aws:userid": "X"}, {}):
            assert not is_allowed(Request("dynamodb:GetItem", TABLE, wrong), [guarded])

    def test_for_all_values_binds_what_the_request_has(self) -> None:
        """Such as the partition of a query; a request that has no such key is not bound by it."""
        bound = statement(Condition={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["suspended"]}})

        for context, allowed in (({"dynamodb:LeadingKeys": "suspended"}, True), ({"dynamodb:LeadingKeys": "m"}, False)):
            assert is_allowed(Request("dynamodb:GetItem", TABLE, context), [bound]) is allowed
        assert is_allowed(Request("dynamodb:GetItem", TABLE), [bound])

    @pytest.mark.parametrize(
        "element", [{"NotAction": "s3:*"}, {"Principal": "*"}, {"Condition": {"NumericLessThan": {"a": "1"}}}]
    )
    def test_what_it_does_not_know_is_refused(self, element: dict[str, object]) -> None:
        """A proof that ignores half of a statement proves nothing."""
        with pytest.raises(NotImplementedError):
            statement(**element)


class TestUnused:
    def test_names_what_no_request_needs(self) -> None:
        """Each action on each resource is a permission of its own."""
        wide = statement(Action=["dynamodb:GetItem", "dynamodb:Query"], Resource=[TABLE, "arn:other"])

        assert unused([wide], [Request("dynamodb:GetItem", TABLE), Request("dynamodb:Query", TABLE)]) == [
            "S: dynamodb:GetItem on arn:other",
            "S: dynamodb:Query on arn:other",
        ]

    def test_a_denial_needs_no_use(self) -> None:
        """It takes away; nobody has to ask for that."""
        assert unused([statement("Deny", Action="*")], []) == []
