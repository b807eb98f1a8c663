"""table-sizes: where a database's disk space goes, and what of it could come back.

A procedure of Rota in Python. The host calls two functions of `WitWorld`: `describe`, which says what the
procedure is and needs, and `run`, which does it. The modules `wit_world` and `componentize_py_types` are
generated from the contract (the folder wit/) when the component is built; see README.md.
"""

import json

from componentize_py_types import Err
from wit_world import WitWorld as Procedure
from wit_world.imports import reports, run, sql, types

MIB = 1 << 20
PARAMETERS = {
    "schema": {"type": "string", "description": "Only tables of this schema."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20, "description": "How many to list."},
    "min_bytes": {"type": "integer", "minimum": 0, "default": 0, "description": "Only tables of this size or more."},
    "warn_spare_bytes": {
        "type": "integer",
        "minimum": 0,
        "default": 64 * MIB,
        "description": "Warn of a table that has more spare bytes than this, and at least the share below.",
    },
    "warn_spare_share": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.4,
        "description": "The share of spare bytes in a table's file from which to warn.",
    },
}
# A row needs the sum of its columns' average widths, which ANALYZE collects, and 32 bytes for its header, pointer and
# alignment. The view pg_stats shows only the columns that the role may read: where one is missing, nothing is guessed.
LARGEST = """
    select format('%I.%I', n.nspname, c.relname), pg_total_relation_size(c.oid), pg_relation_size(c.oid),
           pg_indexes_size(c.oid), case when c.reltuples >= 0 then c.reltuples::bigint end,
           case when c.reltuples >= 0 and widths.columns = columns.count
                then (c.reltuples * (widths.sum + 32))::bigint end
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    cross join lateral (select count(*) from pg_catalog.pg_attribute a
                        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) columns
    cross join lateral (select count(*) as columns, sum((1 - s.null_frac) * s.avg_width) from pg_catalog.pg_stats s
                        where s.schemaname = n.nspname and s.tablename = c.relname and not s.inherited) widths
    where c.relkind in ('r', 'm') and c.relpersistence <> 't' and n.nspname not in ('pg_catalog', 'information_schema')
      and ($1::text is null or n.nspname = $1) and pg_total_relation_size(c.oid) >= $2
    order by 2 desc, 1 limit $3"""
FIELDS = ["table", "total_bytes", "heap_bytes", "index_bytes", "rows", "needed_bytes"]


class WitWorld(Procedure):
    """The component: componentize-py looks for a class of this name in the module `app`."""

    def describe(self) -> reports.Descriptor:
        purpose = "Reads sizes and statistics of tables; spare space is known of tables that the role may read."
        return reports.Descriptor(
            name="table-sizes",
            version="0.1.0",
            summary="Lists the largest tables of a database, and about how much of each is spare.",
            description="Spare is what a table's file holds beyond its rows, by the average widths that ANALYZE "
            "collected: a hint, not a measurement.",
            parameters=json.dumps({"type": "object", "additionalProperties": False, "properties": PARAMETERS}),
            report=json.dumps({"type": "object", "required": ["tables", "total_bytes", "spare_unknown"]}),
            slots=[reports.Slot("database", "sql", accesses=["read"], purpose=purpose, optional=False)],
            risk=reports.Risk.OBSERVE,
            confirmation=None,
            idempotent=True,
            examples=[reports.Example("The ten largest", json.dumps({"limit": 10}))],
        )

    async def run(self, parameters: str) -> reports.Report:
        # The host has checked the parameters against the schema. Defaults are the procedure's own to fill in.
        wanted = {name: known["default"] for name, known in PARAMETERS.items() if "default" in known}
        wanted |= json.loads(parameters)
        try:
            return report(await largest(wanted), wanted)
        except Err as refused:
            # What a call of the contract refuses arrives as an exception. Raised again with its cause, a denial stays
            # one: the run ends as denied (exit status 3), and the host says which grant is missing.
            message = f"the tables could not be read: {said(refused.value)}"
            raise Err(reports.Failure(message, hint=None, cause=refused.value, report=None))


async def largest(wanted: dict) -> list[dict]:
    """The largest tables, in batches as the server sends them."""
    schema = sql.Value_Text(wanted["schema"]) if "schema" in wanted else sql.Value_Null()
    tables = []
    # `with` gives connection and stream back at once, instead of when the garbage collector comes by.
    with await sql.Session.open("database") as session:
        parameters = [schema, sql.Value_Int64(wanted["min_bytes"]), sql.Value_Int64(wanted["limit"])]
        _columns, rows, outcome = await session.query(LARGEST, parameters)
        with rows:
            while not rows.writer_dropped:
                for row in await rows.read(256):
                    # Each cell is of the class of its case, like sql.Value_Int64; NULL's has no value.
                    tables.append(dict(zip(FIELDS, (getattr(cell, "value", None) for cell in row))))
                run.progress(len(tables), None, "tables", "measuring")
        # The stream also ends when the server breaks off: the rows are complete only when the outcome says so.
        if isinstance(ended := await outcome.read(), Err):
            raise ended
    for table in tables:
        heap, needed = table["heap_bytes"], table["needed_bytes"]
        table["spare_bytes"] = None if heap is None or needed is None else max(heap - needed, 0)
    return tables


def report(tables: list[dict], wanted: dict) -> reports.Report:
    """What was found: a finding for each table with much spare space, one table, one metric, and everything as data."""
    findings, unknown = [], 0
    for table in tables:
        heap, spare = table["heap_bytes"], table["spare_bytes"]
        if spare is None:
            # A small file cannot hold much that is spare, whatever is in it.
            unknown += heap is None or heap > wanted["warn_spare_bytes"]
        elif spare > wanted["warn_spare_bytes"] and spare >= wanted["warn_spare_share"] * heap:
            title = f"{table['table']}: about {spare // MIB} of {heap // MIB} MiB are spare"
            detail = f"Its {table['rows']:,} rows need about {table['needed_bytes'] // MIB} MiB; scans read all of it."
            vacuum = json.dumps({"tables": [table["table"]]})
            remedy = reports.Remedy("postgres-vacuum", vacuum, "lets new rows use it; only a rewrite gives it back")
            findings.append(reports.Finding(reports.Severity.WARNING, title, detail, remedy))
    total = sum(table["total_bytes"] or 0 for table in tables)
    status = reports.Severity.OK
    if findings:
        status = reports.Severity.WARNING
    elif unknown or not tables:
        status = reports.Severity.UNKNOWN
    return reports.Report(
        status,
        summary=f"{len(tables)} tables, {total // MIB} MiB; much spare space in {len(findings)}, unknown in {unknown}",
        findings=findings,
        tables=[
            reports.Table(
                name="largest",
                title="Largest tables",
                columns=["table", "total", "file", "indexes", "rows", "spare"],
                rows=[[reports.Cell_Text(table["table"]), *cells(table)] for table in tables],
            )
        ],
        metrics=[reports.Metric("largest_tables_bytes", [], float(total))],
        data=json.dumps({"tables": tables, "total_bytes": total, "spare_unknown": unknown}),
    )


def cells(table: dict) -> list[reports.Cell]:
    kinds = {"total_bytes": reports.Cell_Bytes, "heap_bytes": reports.Cell_Bytes, "index_bytes": reports.Cell_Bytes}
    kinds |= {"rows": reports.Cell_Integer, "spare_bytes": reports.Cell_Bytes}
    return [reports.Cell_None_() if table[name] is None else kind(table[name]) for name, kind in kinds.items()]


def said(error: types.Error) -> str:
    """An error of the contract in words: most have a text, one has what the target answered, one has nothing."""
    value = getattr(error, "value", "the run is being cancelled")
    return f"{value.message} ({value.code})" if isinstance(value, types.Fault) else value
