"""Calls of the contract from Python, as the table names them: those that a procedure in JavaScript has no call for. Each answers
{"ok": true} or {"error": ..., "text": ...}."""

import asyncio
import json

import wit_world
from componentize_py_types import Err
from wit_world import WitWorld as Procedure
from wit_world.imports import bytes as filters
from wit_world.imports import cache, jetstream, kubernetes, reports, run, sql, tools, types

NAME = "python-calls"
ACCESSES = {
    "database": ("sql", ["read", "write", "maintain", "index", "ddl", "signal", "promote", "copy-out", "copy-in", "alter-system"]),
    "program": ("tool", ["run"]),
    "key": ("key", ["decrypt"]),
    "cache": ("cache", ["read", "write", "delete", "debug"]),
    "stream": ("jetstream", ["read"]),
    "cluster": ("kubernetes", ["read", "write", "delete", "scale", "exec", "run", "secrets"]),
}
KINDS = {
    types.Error_Denied: "denied",
    types.Error_InvalidArgument: "invalid-argument",
    types.Error_NotFound: "not-found",
    types.Error_Conflict: "conflict",
    types.Error_TimedOut: "timed-out",
    types.Error_Cancelled: "cancelled",
    types.Error_Unavailable: "unavailable",
    types.Error_Failed: "failed",
    types.Error_Quota: "quota",
}


class WitWorld(Procedure):
    def describe(self) -> reports.Descriptor:
        calls = {"type": "array", "items": {"type": "object"}, "description": "Calls, one after the other."}
        schema = {"type": "object", "additionalProperties": False, "required": ["calls"], "properties": {"calls": calls}}
        slots = [reports.Slot(name, kind, accesses, "Whatever the test asks for.", True) for name, (kind, accesses) in ACCESSES.items()]
        return reports.Descriptor(
            name=NAME,
            version="0.1.0",
            summary="Calls the contract from Python, as a test asks.",
            description="For tests.",
            parameters=json.dumps(schema),
            report=json.dumps({"type": "object"}),
            slots=slots,
            risk=reports.Risk.CHANGE,
            confirmation=None,
            idempotent=True,
            examples=[],
        )

    async def run(self, parameters: str) -> reports.Report:
        answers = [await made(call) for call in json.loads(parameters)["calls"]]
        return reports.Report(reports.Severity.OK, "done", [], [], [], json.dumps({"answers": answers}))


async def made(call: dict) -> dict:
    interface, *_, function = call["import"].split(".")
    try:
        await {"bytes": of_bytes, "cache": of_cache, "jetstream": of_stream, "kubernetes": of_cluster, "process": of_tools,
               "run": of_run, "sql": of_sql, "tools": of_tools}[interface](function, call)
    except Err as refused:
        return refusal(refused.value)
    return {"ok": True}


def refusal(error) -> dict:
    value = getattr(error, "value", "")
    text = f"{value.code} {value.message} {value.detail or ''}" if isinstance(value, types.Fault) else value
    return {"error": KINDS[type(error)], "text": text}


def source(data: bytes):
    """A stream of the guest's own, and what has to be awaited for it to be written."""
    writer, reader = wit_world.byte_stream()

    async def write():
        with writer:
            await writer.write_all(data)

    return reader, write()


async def everything(stream, outcome=None) -> None:
    with stream:
        while not stream.writer_dropped:
            await stream.read(64)
    if outcome is not None and isinstance(ended := await outcome.read(), Err):
        raise ended


async def of_run(function: str, call: dict) -> None:
    run.metric("probe", [], 1.0, run.MetricKind.GAUGE)


async def of_bytes(function: str, call: dict) -> None:
    data, writing = source(b"probe")
    if function == "drain":
        await asyncio.gather(filters.drain(data), writing)
        return
    if function == "decompress":
        data, _ = filters.compress(data, filters.Codec_Zstd(1))
    if function == "decrypt":
        data, _ = filters.encrypt(data, [call["recipient"]])
    out, outcome = {
        "tee-sha256": lambda: filters.tee_sha256(data),
        "count": lambda: filters.count(data),
        "compress": lambda: filters.compress(data, filters.Codec_Zstd(1)),
        "decompress": lambda: filters.decompress(data, filters.Coding.ZSTD),
        "encrypt": lambda: filters.encrypt(data, [call["recipient"]]),
        "decrypt": lambda: filters.decrypt(data, "key"),
        "rate-limit": lambda: filters.rate_limit(data, 1 << 20),
    }[function]()
    await asyncio.gather(everything(out, outcome), writing)


async def of_tools(function: str, call: dict) -> None:
    if function == "info":
        await tools.info("program")
        return
    connection = tools.Connection(call["connection"], None)
    with await tools.spawn("program", call["arguments"], connection, None) as child:
        if function == "kill":
            await child.kill()
            return
        await everything(child.stdout())
        await child.wait()


async def of_sql(function: str, call: dict) -> None:
    if function == "open-database":
        with await sql.Session.open_database("database", call["database"]):
            return
    with await sql.Session.open("database") as session:
        match function:
            case "server":
                await session.server()
            case "backend-pid":
                session.backend_pid()
            case "configure":
                await session.configure(call["name"], call["value"])
            case "copy-out":
                await everything(*await session.copy_out(call["statement"]))
            case "copy-in":
                data, writing = source(call["data"].encode())
                await asyncio.gather(session.copy_in(call["statement"], data), writing)
            case "cancel-backend":
                await session.cancel_backend(call["pid"], call["start"])
            case "terminate-backend":
                await session.terminate_backend(call["pid"], call["start"])
            case "reload-configuration":
                await session.reload_configuration()
            case "promote":
                await session.promote(1)


async def of_cache(function: str, call: dict) -> None:
    with await cache.Session.open("cache") as session:
        match function:
            case "ping":
                await session.ping()
            case "info":
                await session.info()
            case "slowlog":
                await session.slowlog(10)
            case "monitor":
                await everything(*await session.monitor(1, 10))


async def of_stream(function: str, call: dict) -> None:
    with await jetstream.Session.open("stream") as session:
        match function:
            case "server":
                await session.server()
            case "account":
                await session.account()
            case "stored-at":
                await session.stored_at("PROBE", 1, ">")
            case "monitoring":
                await session.monitoring()


async def of_cluster(function: str, call: dict) -> None:
    version, kind = call.get("kind", "v1 ConfigMap").split(" ")
    kind = kubernetes.Kind(version, kind)
    thing = kubernetes.Object(kind, None, call.get("name", ""))
    with await kubernetes.Cluster.open("cluster") as cluster:
        match function:
            case "version":
                await cluster.version()
            case "require":
                await cluster.require([kubernetes.Need(call["verb"], kind, None, None, None)])
            case "watch":
                await everything(*await cluster.watch(kind, kubernetes.Selection(None, False, None, None), None, 1))
            case "events":
                await cluster.events(thing)
            case "get-scale":
                await cluster.get_scale(thing)
            case "wait-for":
                await cluster.wait_for(thing, kubernetes.Condition_Exists(), 30)
            case "run-job":
                job = kubernetes.Job(None, "probe", call["image"], call["words"], [("PLAIN", "plain")], [], None, 60, None, None)
                with await cluster.run_job(job) as child:
                    await everything(child.stdout())
                    await child.wait()
            case "lock" | "check" | "release":
                with await cluster.lock(call["name"], None, 30) as lock:
                    if function != "lock":
                        await (lock.check() if function == "check" else lock.release())
