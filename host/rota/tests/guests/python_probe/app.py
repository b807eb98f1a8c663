"""What Python can do in the sandbox, as data: `sandbox` tries to get out, `shapes` uses each shape of the contract."""

import asyncio
import encodings.idna  # Resolving a name imports it, and nothing can be imported once the component is built.
import hashlib
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import time

import wit_world
from componentize_py_types import Err
from wit_world.imports import bytes as filters
from wit_world.imports import reports, run, sql, storage, tools, types

SLOTS = {
    "database": ("sql", ["read", "write", "ddl", "copy-in", "copy-out"]),
    "bucket": ("storage", ["read", "write", "delete"]),
    "program": ("tool", ["run"]),
}


def raise_it() -> None:
    raise KeyError("nobody catches this")


def spin() -> None:
    while True:
        pass


def hoard() -> None:
    hoarded = []
    while True:
        hoarded.append(bytearray(1 << 20))


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


MISBEHAVE = {"raise": raise_it, "spin": spin, "hoard": hoard, "recurse": recurse}


class WitWorld(wit_world.WitWorld):
    def describe(self) -> reports.Descriptor:
        parameters = {
            "type": "object",
            "additionalProperties": False,
            "required": ["check"],
            "properties": {"check": {"enum": ["sandbox", "shapes", *MISBEHAVE]}, "port": {"type": "integer"}},
        }
        slots = [reports.Slot(name, kind, accesses, "Is probed.", True) for name, (kind, accesses) in SLOTS.items()]
        return reports.Descriptor(
            name="python-probe",
            version="0.1.0",
            summary="Tells what Python can do in the sandbox.",
            description="",
            parameters=json.dumps(parameters),
            report=json.dumps({"type": "object"}),
            slots=slots,
            risk=reports.Risk.CHANGE,
            confirmation=None,
            idempotent=True,
            examples=[],
        )

    async def run(self, parameters: str) -> reports.Report:
        wanted = json.loads(parameters)
        if wanted["check"] in MISBEHAVE:
            print("about to misbehave")
            MISBEHAVE[wanted["check"]]()
        data = await shapes() if wanted["check"] == "shapes" else sandbox(wanted.get("port", 1))
        cells = [
            reports.Cell_None_(),
            reports.Cell_Text("text"),
            reports.Cell_Integer(-1),
            reports.Cell_Number(0.5),
            reports.Cell_Bytes(1 << 63),
            reports.Cell_Seconds(1.5),
            reports.Cell_Ratio(0.25),
            reports.Cell_Flag(True),
            reports.Cell_Instant(1),
        ]
        table = reports.Table("cells", "Cells", [type(cell).__name__ for cell in cells], [cells])
        return reports.Report(reports.Severity.OK, "probed", [], [table], [], json.dumps(data))


def attempt(what) -> str:
    """The name of the exception that came of it, or what it gave."""
    try:
        return f"done: {what()!r}"
    except Exception as error:
        return type(error).__name__


def connect(port: int, kind: int) -> str:
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(5)
        if kind == socket.SOCK_DGRAM:
            return str(s.sendto(b"out", ("127.0.0.1", port)))
        s.connect(("127.0.0.1", port))
        return "connected"


def listen() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        return "listening"


def sandbox(port: int) -> dict:
    before = time.monotonic()
    time.sleep(0.02)
    return {
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "stdin": attempt(lambda: sys.stdin.read()),
        "getcwd_entries": attempt(lambda: os.listdir(".")),
        "root_entries": attempt(lambda: os.listdir("/")),
        "read_passwd": attempt(lambda: open("/etc/passwd").read()),
        "read_own_source": attempt(lambda: open("/0/app.py").read()),
        "write": attempt(lambda: open("/tmp/out", "w").write("x")),
        "write_here": attempt(lambda: open("out", "w").write("x")),
        "climb": attempt(lambda: open("../../../../etc/passwd").read()),
        "tcp": attempt(lambda: connect(port, socket.SOCK_STREAM)),
        "udp": attempt(lambda: connect(port, socket.SOCK_DGRAM)),
        "listen": attempt(listen),
        "resolve": attempt(lambda: socket.getaddrinfo("localhost", 80)),
        "subprocess": attempt(lambda: subprocess.run(["/bin/true"])),
        "system": attempt(lambda: os.system("true")),
        "fork": attempt(lambda: os.fork()),
        # What does work.
        "slept": time.monotonic() - before,
        "time": time.time(),
        "random": [random.random(), random.random(), secrets.token_hex(16)],
    }


def feed(data: bytes):
    """A stream of the guest's own, and what has to be awaited for it to be written."""
    writer, reader = wit_world.byte_stream()

    async def write() -> int:
        with writer:
            return await writer.write_all(data)

    return reader, write()


def empty():
    writer, reader = wit_world.byte_stream()
    with writer:
        return reader


async def everything(stream, outcome) -> tuple[list, object]:
    items = []
    with stream:
        while not stream.writer_dropped:
            items.extend(await stream.read(64))
    return items, await outcome.read()


def shown(outcome) -> str:
    return f"{type(outcome).__name__} {outcome.value}"


async def refused(call) -> str:
    try:
        return f"done: {await call!r}"
    except Err as error:
        return f"{type(error.value).__name__} {getattr(error.value.value, 'code', error.value.value)}"


VALUES = {
    "bool": sql.Value_Boolean(True),
    "int2": sql.Value_Int16(-32768),
    "int4": sql.Value_Int32(-(1 << 31)),
    "int8": sql.Value_Int64(-(1 << 63)),
    "float4": sql.Value_Float32(1.5),
    "float8": sql.Value_Float64(0.1),
    "numeric": sql.Value_Numeric("12345678901234567890.123456789"),
    "text": sql.Value_Text("grüße 🐘"),
    "bytea": sql.Value_Bytes(b"\x00\xff"),
    "date": sql.Value_Date(-1),
    "time": sql.Value_Time(1),
    "timestamp": sql.Value_Timestamp(1_700_000_000_000_000),
    "timestamptz": sql.Value_Timestamptz(-1),
    "interval": sql.Value_Interval(sql.Interval(1, -2, 3)),
    "uuid": sql.Value_Uuid("00000000-0000-4000-8000-000000000001"),
    "jsonb": sql.Value_Json('{"a": 1}'),
    "inet": sql.Value_Inet("10.0.0.1/8"),
    "pg_lsn": sql.Value_Lsn((1 << 64) - 1),
    "oid": sql.Value_Oid((1 << 32) - 1),
    "xid8": sql.Value_Xid(1 << 40),
    "bool[]": sql.Value_Booleans([True, None]),
    "int8[]": sql.Value_Integers([1 << 62, None]),
    "float8[]": sql.Value_Floats([0.5, None]),
    "text[]": sql.Value_Texts(["a", None]),
    "regclass": sql.Value_Regclass("pg_class"),
    "vector": sql.Value_Vector([1.0, -2.5]),
}


async def values(session) -> list[str]:
    """The kinds of value that did not come back as they were sent."""
    kinds = list(VALUES)
    columns = ", ".join(f"${i + 1}::{kind}" for i, kind in enumerate(kinds))
    _, rows, outcome = await session.query(f"select {columns}, null::int", list(VALUES.values()))
    [row], _ = await everything(rows, outcome)
    sent = [*VALUES.values(), sql.Value_Null()]
    return [f"{kind}: {got!r}" for kind, want, got in zip([*kinds, "null"], sent, row, strict=True) if want != got]


async def count_to(session, last: int) -> int:
    _, rows, outcome = await session.query("select i from generate_series(1, $1) i", [sql.Value_Int32(last)])
    items, _ = await everything(rows, outcome)
    return sum(row[0].value for row in items)


async def shapes() -> dict:
    seen = {"mode": run.mode().name, "trigger": run.info().trigger.name}
    seen["slots"] = {slot.name: [slot.binding, slot.accesses] for slot in run.slots()}
    run.log(run.Level.WARN, "probing", [("key", "value")])
    run.metric("probed", [("by", "python")], 1.0, run.MetricKind.COUNTER)

    # sql: values, errors before and within rows, transactions, two sessions at once, COPY both ways.
    seen["unknown_slot"] = await refused(sql.Session.open("nowhere"))
    with await sql.Session.open("database") as session:
        server = await session.server()
        seen["server"] = [server.version_num // 10_000, server.in_recovery, server.database]
        seen["values_changed"] = await values(session)
        seen["bad_statement"] = await refused(session.query("select nothing from nowhere", []))
        _, rows, outcome = await session.query("select 1 / (1000 - i) from generate_series(1, 2000) i", [])
        items, ended = await everything(rows, outcome)
        seen["broken_off"] = [len(items) < 2000, type(ended).__name__, ended.value.value.code]
        await session.execute("create table probed (i int, t text)", [])
        snapshot = sql.TransactionOptions(sql.Isolation.REPEATABLE_READ, False, None)
        with await session.begin(snapshot) as transaction:
            insert = "insert into probed select i, 'x' from generate_series(1, 3) i"
            seen["inserted"] = await transaction.execute(insert, [])
            await transaction.commit()
        with await session.begin(snapshot) as transaction:
            await transaction.execute("delete from probed", [])
            await transaction.rollback()
        reader, writing = feed(b"4\tcopied\n" * 1000)
        seen["copied_in"], _ = await asyncio.gather(session.copy_in("copy probed from stdin", reader), writing)
        stream, outcome = await session.copy_out("copy probed to stdout")
        copied, ended = await everything(stream, outcome)
        seen["copied_out"] = [bytes(copied).count(b"\n"), shown(ended)]
        await session.configure("statement_timeout", "5s")
        seen["notices"] = len(session.notices())
        with await sql.Session.open("database") as other:
            seen["at_once"] = await asyncio.gather(count_to(session, 1000), count_to(other, 2000))

    # bytes and storage: what the guest writes through two filters into the bucket, and back.
    data = b"all work and no play " * 50_000
    source, writing = feed(data)
    hashed, hash_of = filters.tee_sha256(source)
    packed, packing = filters.compress(hashed, filters.Codec_Zstd(3))
    with await storage.Bucket.open("bucket") as bucket:
        options = storage.PutOptions(if_absent=True, size_estimate=len(data), media_type=None, sha256=None)
        stored, written = await asyncio.gather(bucket.put("probe/data.zst", packed, options), writing)
        passed, compressed = (await hash_of.read()).value, (await packing.read()).value
        same = passed.sha256 == hashlib.sha256(data).hexdigest()
        seen["stored"] = [written, same, compressed.bytes_out == stored.size]
        seen["put_again"] = (await refused(bucket.put("probe/data.zst", empty(), options))).split()[0]
        objects, outcome = await bucket.list("probe/")
        listed, ended = await everything(objects, outcome)
        seen["listed"] = [[found.name for found in listed], shown(ended)]
        found, stream, outcome = await bucket.get("probe/data.zst", None)
        plain, unpacking = filters.decompress(stream, filters.Coding.ZSTD)
        back, _ = await everything(plain, unpacking)
        seen["got"] = [found.size == stored.size, bytes(back) == data, shown(await outcome.read())]
        await bucket.delete("probe/data.zst")
        seen["stat_deleted"] = (await refused(bucket.stat("probe/data.zst"))).split()[0]
    seen["bad_recipient"] = attempt(lambda: filters.encrypt(empty(), ["nobody"]))

    # tools: standard input from the guest, standard output to it.
    stdin, writing = feed(b"to be counted")
    with await tools.spawn("program", ["-c"], None, stdin) as child:
        output = child.stdout()

        async def read() -> bytes:
            text = b""
            while not output.writer_dropped:
                text += await output.read(64)
            return text

        said, _ = await asyncio.gather(read(), writing)
        ended = await child.wait()
        seen["program"] = [said.decode().strip(), repr(ended.status), ended.stderr]

    kept, writing = feed(b"kept\n" * 1000)
    seen["artifact"], _ = await asyncio.gather(run.artifact("kept.txt", "text/plain", kept), writing)
    return seen
