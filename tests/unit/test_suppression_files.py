"""CSV in and out: what spreadsheets and other services make, and what strangers put into it."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.domain.csv_cells import inert, plain
from shared.domain.errors import InvalidValue
from shared.domain.suppression import Reason, Scope
from shared.flow.suppress import Cause, Suppressing, suppress, unsuppress
from shared.flow.suppression_files import (
    BATCH,
    COLUMNS,
    MAX_FIELD,
    Imported,
    csv_row,
    export_suppressions,
    import_suppressions,
)
from shared.store.suppressions import Suppressions
from tests.fakes.installation import Installation, install


async def take_in(here: Installation, text: str, scope: Scope | None = None) -> Imported:
    """Import a file's text."""
    return await import_suppressions(
        io.StringIO(text),
        scope or Scope(here.server.id),
        source="import 1",
        using=Suppressing.over(here.stores, here.settings),
        now=here.clock(),
    )


async def given_out(here: Installation, scope: Scope | None = None) -> str:
    """Export to a text."""
    file = io.StringIO()
    table = csv.writer(file)
    table.writerow(COLUMNS)
    using = Suppressing.over(here.stores, here.settings)
    async for page in export_suppressions(scope or Scope(here.server.id), using=using, now=here.clock()):
        table.writerows(csv_row(each) for each in page)
    return file.getvalue()


class TestImport:
    @pytest.mark.parametrize(
        "text",
        [
            "address\na@dest.test\nb@dest.test\n",
            "\ufeffEmail,Name\r\nA@dest.test,x\r\nb@dest.test,y\r\n",
            "a@dest.test\nb@dest.test",
            '"address","reason"\n"a@dest.test","complaint"\n\n b@dest.test ,\n',
            "name,e-mail\nx,a@dest.test\ny,b@dest.test\n",
        ],
    )
    async def test_takes_the_forms_that_others_write(self, text: str) -> None:
        """Lists come from Postal, SES, Mailgun and spreadsheets."""
        here = await install()

        assert await take_in(here, text) == Imported(2, 0, 0, [])

        found = await Suppressions(here.records).holding(here.tenant, "", ["a@dest.test", "b@dest.test"], here.clock())
        assert len(found) == 2

    async def test_leaves_out_bad_rows_and_says_which(self) -> None:
        """One bad row of a million must not cost the rest."""
        here = await install()

        done = await take_in(
            here, "address,until\na@dest.test,\nnonsense,\nb@dest.test,tomorrow\nc@dest.test,2030-01-01\n"
        )

        assert (done.added, done.bad) == (2, 2)
        assert [problem.split(":")[0] for problem in done.problems] == ["line 3", "line 4"]

    @pytest.mark.parametrize(
        "text", ["name,phone\nx,1\n", 'address\n"' + "a" * 5000 + "\n", "address\n" + "a" * 200_000]
    )
    async def test_refuses_what_is_no_list(self, text: str) -> None:
        """A wrong file must not be half imported in silence, nor a line without end be kept in memory."""
        here = await install()

        with pytest.raises(InvalidValue):
            await take_in(here, text)

    async def test_twice_changes_nothing(self) -> None:
        """An import that was interrupted is repeated from the beginning."""
        here = await install()
        await take_in(here, "a@dest.test\nb@dest.test\n")

        assert await take_in(here, "a@dest.test\nA@DEST.test\nc@dest.test\n") == Imported(1, 2, 0, [])

    async def test_keeps_what_is_known_already(self) -> None:
        """A complaint must not become "imported", and what was taken off keeps its history."""
        here = await install()
        using = Suppressing.over(here.stores, here.settings)
        scope = Scope(here.server.id)
        complaint = Cause(reason=Reason.COMPLAINT, source="e")
        await suppress(scope, "a@dest.test", complaint, until=None, using=using, now=here.clock())
        await suppress(scope, "b@dest.test", complaint, until=None, using=using, now=here.clock())
        await unsuppress(scope, "b@dest.test", Cause(reason=Reason.MANUAL), using=using, now=here.clock())

        await take_in(here, "a@dest.test\nb@dest.test\n")

        found = await Suppressions(here.records).get_many(scope, ["a@dest.test", "b@dest.test"])
        assert found["a@dest.test"].reason is Reason.COMPLAINT
        assert [change.added for change in found["b@dest.test"].history] == [True, False, True]

    async def test_reads_in_batches_and_tells_once(self) -> None:
        """A million rows must not be in memory, nor be a million events."""
        here = await install()
        told: list[int] = []
        read = 0

        def lines() -> Iterator[str]:
            nonlocal read
            for number in range(3 * BATCH):
                read += 1
                # Not more than a batch is read ahead of what was stored.
                assert read <= (len(told) + 1) * BATCH + 1
                yield f"u{number}@dest.test\n"

        await import_suppressions(
            lines(),
            Scope(here.server.id),
            source="import 1",
            using=Suppressing.over(here.stores, here.settings),
            now=here.clock(),
            progress=told.append,
        )

        assert told == [BATCH, 2 * BATCH, 3 * BATCH]
        [event] = [json.loads(text) for text in await here.take_events()]
        assert (event["kind"], event["data"]["count"]) == ("suppression_added", 3 * BATCH)

    async def test_an_organization_has_no_streams(self) -> None:
        """A stream is a tag of a server's mail."""
        here = await install()

        done = await take_in(
            here, "address,stream\na@dest.test,news\n", Scope(here.tenant.organization.id, organization=True)
        )

        assert (done.added, done.bad) == (0, 1)

    async def test_of_one_that_broke_off_is_told_too(self) -> None:
        """Its rows are stored: repeated, it finds them there, and nobody would ever be told."""
        here = await install()
        rows = "".join(f"a{n}@dest.test\n" for n in range(BATCH))

        with pytest.raises(InvalidValue, match="longer than"):
            await take_in(here, f"address\n{rows}{'x' * (MAX_FIELD + 1)}\n")

        [job] = await here.stores.events.receive(10, visibility=timedelta(seconds=30), wait=timedelta(0))
        assert json.loads(job.body)["data"]["count"] == BATCH


class TestExport:
    async def test_comes_back_as_it_was(self) -> None:
        """A backup is what can be restored."""
        here, there = await install(), await install()
        text = (
            "address,stream,reason,detail,until\n"
            'a@dest.test,,complaint,"quoted "" and, comma",\n'
            "b@dest.test,news,unsubscribe,,2030-01-01T00:00:00+00:00\n"
            "=1+1@dest.test,,manual,=cmd(),\n"
            "'x@dest.test,,manual,,\n"
        )
        await take_in(here, text)

        exported = await given_out(here)
        done = await take_in(there, exported)

        assert (done.added, done.bad) == (4, 0)
        assert sorted(await given_out(there)) == sorted(exported)
        assert "=1+1@dest.test" in (
            await Suppressions(there.records).get_many(Scope(there.server.id), ["=1+1@dest.test"])
        )

    async def test_comes_back_whatever_was_said(self) -> None:
        """A row that an import leaves out is an address that gets mail again."""
        here, there = await install(), await install()
        using = Suppressing.over(here.stores, here.settings)
        cause = Cause(reason=Reason.MANUAL, detail='=1\r\n\x1b[31m,"\0' + "\u2028x" * 500)
        await suppress(Scope(here.server.id), "a@dest.test", cause, until=None, using=using, now=here.clock())

        exported = await given_out(here)
        done = await take_in(there, exported)

        assert (done.added, done.bad) == (1, 0)
        assert await given_out(there) == exported

    async def test_no_cell_is_a_formula(self) -> None:
        """Details are what strangers' hosts said; a spreadsheet would run them."""
        here = await install()
        await take_in(here, "address,detail\n+a@dest.test,=HYPERLINK()\n-b@dest.test,@SUM(A1)\n")

        rows = list(csv.reader(io.StringIO(await given_out(here))))[1:]

        assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@")]

    @pytest.mark.parametrize("text", ["=1", "\t=1", "\r=1", "\n=1", "\uff1d1", "'=1", "''+1", "-"])
    def test_what_looks_like_a_formula_in_the_end_is_inert(self, text: str) -> None:
        """Spreadsheets leave out tabs and line ends, and take full-width signs for plain ones."""
        assert inert(text) == f"'{text}"
        assert plain(inert(text)) == text

    @pytest.mark.parametrize("text", ["", "'", "'a", "a=1", "10", "O'Hara"])
    def test_all_else_stays(self, text: str) -> None:
        """A file is for other programs too."""
        assert inert(text) == text
        assert plain(text) == text

    async def test_leaves_out_what_no_longer_holds(self) -> None:
        """Whoever imports the file elsewhere wants the list as it is."""
        here = await install()
        await take_in(here, "address,until\na@dest.test,\nb@dest.test,2026-01-02\n")
        here.clock.advance(timedelta(days=400))

        assert "b@dest.test" not in await given_out(here)

    async def test_goes_through_all_partitions_page_by_page(self) -> None:
        """Constant memory, and none left out."""
        here = await install()
        await take_in(here, "".join(f"u{number}@dest.test\n" for number in range(1000)))
        using = Suppressing.over(here.stores, here.settings)

        pages = [
            len(page)
            async for page in export_suppressions(Scope(here.server.id), using=using, now=here.clock(), limit=20)
        ]

        assert sum(pages) == 1000
        assert max(pages) <= 20

    async def test_a_stream_gives_its_own_only(self) -> None:
        """One newsletter's leavers are not all who get no mail."""
        here = await install()
        await take_in(here, "address,stream\na@dest.test,\nb@dest.test,news\n")

        exported = await given_out(here, Scope(here.server.id, stream="news"))

        assert "b@dest.test" in exported
        assert "a@dest.test" not in exported
