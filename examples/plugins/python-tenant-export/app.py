"""tenant-export: the rows of each tenant into an object of its own, read back and compared.

A procedure of Rota in Python. The host calls two functions of `WitWorld`: `describe`, which says what the procedure is and needs, and
`run`, which does it. The modules `wit_world` and `componentize_py_types` are generated from the contract (.rota/wit) by the build.
"""

import asyncio
import hashlib
import json
import re

import wit_world
from componentize_py_types import Err
from wit_world import WitWorld as Procedure
from wit_world.imports import bytes as filters
from wit_world.imports import reports, run, sql, storage, types

NAME = "tenant-export"
VERSION = "0.1.0"
SUMMARY = "Exports the rows of each tenant of a table into an object of its own, and reads it back."
DESCRIPTION = """\
Exports the rows of each tenant of a table into an object of its own: `PREFIX/TENANT.jsonl`, one JSON object a row, all of one snapshot. Each object
is kept only where its SHA-256 is that of the rows, which are read twice for it, and is then read back and compared. Last comes
`PREFIX/manifest.json` with every object, its rows, bytes and hash: where the manifest is, the export is whole.

It overwrites nothing: an object that is there ends the run. It refuses tenants whose name could be taken for another object's (only letters, digits,
`.`, `_` and `-` are let through, and not a dot first), reports them, and writes no manifest then. A run that is cut off leaves the objects that were
finished; the next one takes another prefix.

A plan reads and hashes the rows of each tenant, lists each object, and writes nothing."""
PARAMETERS = {
    "table": {"type": "string", "minLength": 1, "maxLength": 200, "description": "The table, with its schema where it is not in the search path."},
    "tenant_column": {"type": "string", "minLength": 1, "maxLength": 63, "default": "tenant", "description": "The column that says whose a row is."},
    "prefix": {
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$",
        "maxLength": 300,
        "description": "What the objects' names begin with, such as exports/2026-11.",
    },
    "tenants": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": 10000,
        "description": "Only these; one of them that has no rows is reported.",
    },
    "most": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 1000, "description": "Refuse to export more tenants than this."},
}
SLOTS = [
    reports.Slot("database", "sql", accesses=["read"], purpose="Reads the table, in one snapshot.", optional=False),
    reports.Slot("bucket", "storage", accesses=["read", "write"], purpose="Holds the objects, which are read back.", optional=False),
]
SOUND = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
FOUND = {"tenant": "text", "object": "text", "rows": "integer", "bytes": "bytes", "sha256": "text"}


class WitWorld(Procedure):
    """The component: componentize-py looks for a class of this name in the module `app`."""

    def describe(self) -> reports.Descriptor:
        schema = {"type": "object", "additionalProperties": False, "required": ["table", "prefix"], "properties": PARAMETERS}
        example = {"table": "public.orders", "tenant_column": "customer", "prefix": "exports/2026-11"}
        return reports.Descriptor(
            name=NAME,
            version=VERSION,
            summary=SUMMARY,
            description=DESCRIPTION,
            parameters=json.dumps(schema),
            report=json.dumps({"type": "object", "required": ["exported", "refused", "missing", "manifest"]}),
            slots=SLOTS,
            risk=reports.Risk.CHANGE,
            confirmation=None,
            # A second run does not overwrite what the first one wrote: it ends with a conflict.
            idempotent=True,
            examples=[reports.Example("Each customer's orders", json.dumps(example))],
        )

    async def run(self, parameters: str) -> reports.Report:
        # The host has checked the parameters against the schema. Defaults are the procedure's own to fill in.
        wanted = {name: known["default"] for name, known in PARAMETERS.items() if "default" in known}
        wanted |= json.loads(parameters)
        snapshot = sql.TransactionOptions(sql.Isolation.REPEATABLE_READ, True, None)
        try:
            with await storage.Bucket.open("bucket") as bucket, await sql.Session.open("database") as session:
                with await session.begin(snapshot) as transaction:
                    return await export(Table(transaction, *await names(transaction, wanted)), bucket, wanted)
        except Err as refused:
            if isinstance(refused.value, reports.Failure):
                raise
            # What a call of the contract refuses arrives as an exception. Raised again with its cause, a denial stays one.
            hint = None
            if isinstance(refused.value, types.Error_Conflict):
                hint = "nothing is overwritten: choose another prefix, or take the old export away"
            raise Err(reports.Failure(f"the export is not whole: {said(refused.value)}", hint, cause=refused.value, report=None))


class Table:
    """The table in the snapshot. Both names are quoted by the server; everything else in a statement is a value."""

    def __init__(self, transaction, table: str, column: str):
        self.transaction, self.table, self.column = transaction, table, column

    async def query(self, statement: str, *values):
        """Rows in batches, as the server sends them."""
        text = statement.format(table=self.table, column=self.column)
        _columns, rows, outcome = await self.transaction.query(text, list(values))
        with rows:
            while not rows.writer_dropped:
                yield await rows.read(256)
        # The stream also ends when the server breaks off: the rows are complete only when the outcome says so.
        if isinstance(ended := await outcome.read(), Err):
            raise ended

    async def tenants(self, most: int) -> list[str]:
        statement = "select distinct {column}::text from {table} where {column} is not null order by 1 limit $1"
        return [row[0].value async for batch in self.query(statement, sql.Value_Int64(most + 1)) for row in batch]

    async def lines(self, tenant: str):
        """A tenant's rows in batches, a line of JSON each, with how many: each time the same in the same order."""
        statement = "select to_jsonb(t)::text from {table} t where t.{column}::text = $1 order by 1"
        batches = self.query(statement, sql.Value_Text(tenant))
        try:
            async for batch in batches:
                yield "".join(row[0].value + "\n" for row in batch).encode(), len(batch)
        finally:
            # Whoever leaves off in the middle gives the session back now, not when the garbage collector comes by.
            await batches.aclose()


async def names(transaction, wanted: dict) -> tuple[str, str]:
    """Table and column as the server quotes them; a failure where there is none of the name."""
    statement = """
        select format('%I.%I', n.nspname, c.relname), (select format('%I', a.attname) from pg_catalog.pg_attribute a
                where a.attrelid = c.oid and a.attname = $2 and a.attnum > 0 and not a.attisdropped)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.oid = to_regclass($1) and c.relkind in ('r', 'p', 'v', 'm', 'f')"""
    values = [sql.Value_Text(wanted["table"]), sql.Value_Text(wanted["tenant_column"])]
    _columns, rows, outcome = await transaction.query(statement, values)
    found = []
    with rows:
        while not rows.writer_dropped:
            found.extend(await rows.read(2))
    if isinstance(ended := await outcome.read(), Err):
        raise ended
    if not found:
        raise failure(f"there is no table {wanted['table']}")
    table, column = (getattr(cell, "value", None) for cell in found[0])
    if column is None:
        raise failure(f"{table} has no column {wanted['tenant_column']}", "name the one that says whose a row is: tenant_column")
    return table, column


async def export(table: Table, bucket, wanted: dict) -> reports.Report:
    there = wanted.get("tenants") or await table.tenants(wanted["most"])
    if len(there) > wanted["most"]:
        raise failure(f"{table.table} has more than {wanted['most']} tenants", "raise `most`, or name some with `tenants`")
    refused = [tenant for tenant in there if not SOUND.fullmatch(tenant) or tenant == "manifest"]
    plan, exported, missing = run.mode() == run.RunMode.PLAN, [], []
    for place, tenant in enumerate(there):
        if tenant in refused:
            continue
        run.progress(place, len(there), "tenants", tenant)
        name = f"{wanted['prefix']}/{tenant}.jsonl"
        if (found := await one(table, bucket, name, tenant, plan)) is None:
            missing.append(tenant)
        else:
            exported.append({"tenant": tenant, "object": name} | found)
    manifest = None
    if exported and not refused:
        manifest = f"{wanted['prefix']}/manifest.json"
        text = json.dumps({"table": table.table, "column": table.column, "objects": exported}, indent=1).encode()
        options = storage.PutOptions(if_absent=True, size_estimate=len(text), media_type="application/json", sha256=None)
        await put(bucket, manifest, once(text), options)
    return report(table, exported, refused, missing, manifest, plan)


async def one(table: Table, bucket, name: str, tenant: str, plan: bool) -> dict | None:
    """Stores one tenant's rows, and proves that they are there; none where it has no rows."""
    # Read twice in the one snapshot: the host is told the hash beforehand, and keeps nothing that is not whole, whatever breaks off.
    digest, rows, size = hashlib.sha256(), 0, 0
    async for lines, count in table.lines(tenant):
        digest.update(lines)
        rows, size = rows + count, size + len(lines)
    if rows == 0:
        return None
    whole = digest.hexdigest()
    options = storage.PutOptions(if_absent=True, size_estimate=size, media_type="application/jsonl", sha256=whole)
    await put(bucket, name, table.lines(tenant), options)
    if not plan:
        await read_back(bucket, name, whole)
    return {"rows": rows, "bytes": size, "sha256": whole}


async def read_back(bucket, name: str, whole: str) -> None:
    """The host hashes what the bucket has: its bytes do not come in here."""
    _object, stream, outcome = await bucket.get(name, None)
    hashed, hash_of = filters.tee_sha256(stream)
    await filters.drain(hashed)
    if isinstance(ended := await outcome.read(), Err):
        raise ended
    if (await hash_of.read()).value.sha256 != whole:
        raise failure(f"{name} does not hold what was sent", "the bucket is not to be trusted: look at it before another export")


async def put(bucket, name: str, parts, options) -> None:
    """Stores what comes in parts, which is written while the call runs."""
    writer, reader = wit_world.byte_stream()

    async def write():
        with writer:
            async for data, _count in parts:
                # Fewer written than given: the reader is gone, and the put says why.
                if await writer.write_all(data) < len(data):
                    break
        await parts.aclose()

    # Both to their ends, whichever fails: what one of them still holds cannot be given back.
    stored, written = await asyncio.gather(bucket.put(name, reader, options), write(), return_exceptions=True)
    for outcome in (written, stored):
        if isinstance(outcome, BaseException):
            raise outcome


async def once(data: bytes):
    yield data, 1


def report(table: Table, exported: list, refused: list, missing: list, manifest, plan: bool) -> reports.Report:
    findings = []
    by_hand = lambda note: reports.Remedy("", "{}", note)
    for tenant in refused:
        title = f"tenant {tenant[:80]!r} was not exported"
        detail = "Its name could be taken for another object's, so the export is not whole and has no manifest."
        findings.append(reports.Finding(reports.Severity.WARNING, title, detail, by_hand("export the others by name: tenants")))
    for tenant in missing:
        title = f"tenant {tenant[:80]!r} has no rows"
        findings.append(reports.Finding(reports.Severity.WARNING, title, f"None in {table.table}.", by_hand("look whether it is spelt so")))
    rows = sum(one["rows"] for one in exported)
    kinds = {"text": reports.Cell_Text, "integer": reports.Cell_Integer, "bytes": reports.Cell_Bytes}
    cells = [[kinds[FOUND[key]](one[key]) for key in FOUND] for one in exported]
    verb = "would be exported" if plan else "exported and read back"
    return reports.Report(
        reports.Severity.WARNING if findings else reports.Severity.OK,
        summary=f"{rows} rows of {len(exported)} tenants of {table.table} {verb}",
        findings=findings,
        tables=[reports.Table(name="exported", title="Objects", columns=list(FOUND), rows=cells)],
        metrics=[reports.Metric("exported_rows", [], float(rows))],
        data=json.dumps({"exported": exported, "refused": refused, "missing": missing, "manifest": manifest}),
    )


def failure(message: str, hint: str | None = None) -> Err:
    return Err(reports.Failure(message, hint, cause=None, report=None))


def said(error: types.Error) -> str:
    """An error of the contract in words: most have a text, one has what the target answered, one has nothing."""
    value = getattr(error, "value", "the run is being cancelled")
    return f"{value.message} ({value.code})" if isinstance(value, types.Fault) else value
