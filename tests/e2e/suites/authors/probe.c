// What C can do in the sandbox, and how it misbehaves, as a test asks.
#include "rota.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const rota_procedure rota_declared = {
    .name = "probe-in-c",
    .version = "0.1.0",
    .summary = "Does what a test asks for.",
    .description = "For tests.",
    .parameters = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"do\"],\"properties\":{"
                  "\"do\":{\"type\":\"string\",\"description\":\"What.\"}}}",
    .report = "{\"type\":\"object\"}",
    .slots = {{"database", "sql", {"read", "write"}, "For tests.", false}, {"bucket", "storage", {"read", "write"}, "For tests.", false}},
    .risk = ROTA_CHANGE,
    .idempotent = true,
};

static bool rows(rota_report *report, rota_failure *failure) {
    rota_session session;
    rota_rows rows;
    if (!rota_sql_open("database", &session, failure)) return false;
    if (!rota_sql_query(session, "select i, repeat('x', 100) from generate_series(1, $1) i", ROTA_VALUES(rota_int(100000)), &rows, failure))
        return false;
    int64_t count = 0, sum = 0;
    while (rota_next_row(&rows)) {
        if (rota_row_text(&rows, 1).len != 100) abort();
        sum += rota_row_integer(&rows, 0, 0), count++;
    }
    if (!rota_rows_end(&rows, failure)) return false;
    rota_data(report, rota_format("{\"rows\":%lld,\"sum\":%lld}", (long long)count, (long long)sum));
    return true;
}

static bool store(rota_report *report, rota_failure *failure) {
    enum { SIZE = 3000000 };
    rota_bucket bucket;
    uint8_t *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)(i * 31 + i / 251);
    rota_text sent = {bytes, SIZE}, back, name = rota_t("big");
    if (!rota_bucket_open("bucket", &bucket, failure)) return false;
    if (!rota_bucket_put(bucket, name, sent, true, failure)) return false;
    if (!rota_bucket_get(bucket, name, SIZE, &back, failure)) return false;
    bool same = back.len == SIZE && memcmp(back.ptr, bytes, SIZE) == 0;
    // One that is longer than wanted is a failure, not half of it.
    rota_failure refused = {0};
    same = same && !rota_bucket_get(bucket, name, 1000, &back, &refused) && refused.message.len > 0;
    rota_data(report, rota_format("{\"bytes\":%u,\"same\":%s}", SIZE, same ? "true" : "false"));
    return true;
}

static bool breaks(rota_failure *failure) {
    rota_session session;
    rota_rows rows;
    if (!rota_sql_open("database", &session, failure)) return false;
    if (!rota_sql_query(session, "select 1 / (1000 - i) from generate_series(1, 2000) i", ROTA_NONE, &rows, failure)) return false;
    while (rota_next_row(&rows)) {}
    return rota_rows_end(&rows, failure);
}

bool rota_undo(rota_text name, rota_json state, rota_failure *failure) {
    rota_session session;
    if (!rota_same(name, "the row")) return rota_fail(failure, NULL, "another name");
    if (!rota_sql_open("database", &session, failure)) return false;
    rota_value gone = rota_int(rota_integer(rota_get(state, "n"), -1));
    if (!rota_sql_execute(session, rota_t("delete from probe where n = $1"), ROTA_VALUES(gone), NULL, failure)) return false;
    return rota_sql_execute(session, rota_t("insert into probe values (7)"), ROTA_NONE, NULL, failure);
}

static bool undo(rota_failure *failure) {
    rota_session session;
    rota_runbook_run_own_compensation_t registered;
    if (!rota_sql_open("database", &session, failure)) return false;
    if (!rota_compensate("the row", rota_t("{\"n\":41}"), &registered, failure)) return false;
    if (!rota_sql_execute(session, rota_t("insert into probe values (41)"), ROTA_NONE, NULL, failure)) return false;
    return rota_fail(failure, NULL, "it fails on purpose");
}

static void json(rota_report *report) {
    rota_json in = rota_t("{\"t\": \"a\\\"\\\\\\n\\u0001\\u00fc\\ud83d\\udc18\", \"o\": {\"list\": [1, -2,30]}, \"x\" :2.5 , \"n\":null}");
    rota_buffer out = {0};
    rota_put(&out, "{\"text\":");
    rota_put_json(&out, rota_string(rota_get(in, "t"), rota_t("")));
    rota_put(&out, ",\"list\":[");
    size_t at = 0, count = 0;
    rota_json item;
    while (rota_next(rota_get(rota_get(in, "o"), "list"), &at, &item)) rota_put(&out, "%s%lld", count++ ? "," : "", (long long)rota_integer(item, 0));
    rota_put(&out, "],\"number\":%.1f,\"missing\":%lld", rota_number(rota_get(in, "x"), 0), (long long)rota_integer(rota_get(in, "n"), -1));
    rota_json edges = rota_t("[9223372036854775807,-9223372036854775808,3.0,1.5e3,-2E2,0]");
    rota_put(&out, ",\"edges\":[");
    for (at = count = 0; rota_next(edges, &at, &item);) rota_put(&out, "%s%lld", count++ ? "," : "", (long long)rota_integer(item, 0));
    rota_put(&out, "]");
    rota_put(&out, ",\"hex\":\"%02x%02x\",\"wide\":\"%4d|%-3d|%lld\"}", 0u, 255u, 7, 7, (long long)INT64_MIN);
    rota_data(report, rota_taken(&out));
}

// Numbers that 64 bits do not hold, none of which is taken; the last of them ends the run.
static bool beyond(rota_failure *failure) {
    rota_json all = rota_t("[9223372036854775808,-9223372036854775809,18446744073709551617,100000000000000000000,1e19,-1e300,1e999]"), item, last = {0};
    size_t at = 0;
    while (rota_next(all, &at, &item)) {
        int64_t number;
        if (rota_whole(item, 0, &number, failure)) return rota_fail(failure, NULL, "%lld was taken", (long long)number);
        last = item;
    }
    return rota_integer(last, 0) == 0;
}

static int deeper(volatile char *above) {
    volatile char room[4096];
    room[0] = above[0];
    return above[0] == 77 ? 0 : deeper(room) + room[1];
}

bool rota_run(rota_json parameters, rota_report *report, rota_failure *failure) {
    rota_text what = rota_string(rota_get(parameters, "do"), rota_t(""));
    if (rota_same(what, "rows")) return rows(report, failure);
    if (rota_same(what, "store")) return store(report, failure);
    if (rota_same(what, "break")) return breaks(failure);
    if (rota_same(what, "undo")) return undo(failure);
    if (rota_same(what, "json")) json(report);
    if (rota_same(what, "whole")) {
        int64_t number;
        return rota_whole(rota_t("9223372036854775808"), 0, &number, failure);
    }
    if (rota_same(what, "beyond")) return beyond(failure);
    if (rota_same(what, "abort")) abort();
    if (rota_same(what, "overflow")) return deeper((volatile char[]){1}) == 0;
    if (rota_same(what, "hoard"))
        for (size_t i = 0;; i++) {
            char *block = malloc(1 << 20);
            if (!block) abort();
            block[i] = 1;
        }
    if (rota_same(what, "spin"))
        for (volatile uint64_t turns = 0;; turns++) {}
    return true;
}
