// Finds replication slots that hold back more WAL than a bound, and drops those that nobody uses, where that is asked for.
//
// SQL cannot drop a slot here: the host lets no function through that does (docs/security.md). So it takes a program that can, and whose one
// command line the operator allows: `pg_receivewal --drop-slot --slot=NAME`.
#include "rota.h"
#include <string.h>

enum { MOST = 1000 };

const rota_procedure rota_declared = {
    .name = "stale-slot-guard",
    .version = "0.1.0",
    .summary = "Reports replication slots that hold back too much WAL, and drops those that nobody uses.",
    .description =
        "A replication slot keeps the server's WAL until its consumer has it. One whose consumer is gone keeps all of it, until the disk is full and\n"
        "the server stops. This looks at each slot: one that holds back more than `maximum_bytes` is a finding, critical where nobody uses it.\n\n"
        "With `drop` it drops those that are beyond the bound and inactive, at most `most` in one run, the worst first, and proves that they are gone.\n"
        "It never drops one that is in use, temporary or named in `keep`; each is looked at again just before, and left alone where its consumer\n"
        "has come back or moved it. What is dropped cannot be brought back: a standby or subscriber of it has to be built anew.\n\n"
        "A run that is cut off has dropped less. A second one is harmless.",
    .parameters = "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
                  "\"maximum_bytes\":{\"type\":\"integer\",\"minimum\":0,\"default\":10737418240,"
                  "\"description\":\"A slot may hold back so many bytes of WAL.\"},"
                  "\"drop\":{\"type\":\"boolean\",\"default\":false,"
                  "\"description\":\"Drop those beyond it that nobody uses; needs the slot pg_receivewal.\"},"
                  "\"most\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"default\":1,"
                  "\"description\":\"Drop so many at most.\"},"
                  "\"keep\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"default\":[],"
                  "\"description\":\"Slots that are never dropped.\"}}}",
    .report = "{\"type\":\"object\",\"required\":[\"slots\",\"stale\",\"dropped\"]}",
    .slots =
        {
            {"database", "sql", {"read"}, "Looks at the slots; pg_receivewal connects by it.", false},
            {"pg_receivewal", "tool", {"run"}, "Drops a slot: --drop-slot --slot=NAME.", true},
        },
    .risk = ROTA_DESTROY,
    .confirmation = "DROP",
    .idempotent = true,
    .examples = {{"Report what holds back more than 1 GiB", "{\"maximum_bytes\":1073741824}"},
                 {"Drop the worst one that nobody uses", "{\"drop\":true}"}},
};

typedef struct {
    rota_text name, type, database, status;
    bool active, temporary;
    int64_t retained; // negative where the server keeps nothing for it
    int64_t restart;
} slot;

static const char QUERY[] =
    "select slot_name::text, slot_type::text, coalesce(database::text, ''), coalesce(wal_status, ''), active, temporary, "
    "       pg_wal_lsn_diff(here.lsn, restart_lsn)::int8, pg_wal_lsn_diff(restart_lsn, '0/0'::pg_lsn)::int8 "
    "  from pg_catalog.pg_replication_slots, "
    "       (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end as lsn) here "
    " where $1::text is null or slot_name = $1 order by 7 desc nulls last, 1 limit 1000";

// The slots, or the one of a name.
static bool look(rota_session session, rota_value name, slot *slots, size_t *count, rota_failure *failure) {
    rota_rows rows;
    if (!rota_sql_query(session, QUERY, ROTA_VALUES(name), &rows, failure)) return false;
    *count = 0;
    while (*count < MOST && rota_next_row(&rows)) {
        slots[(*count)++] = (slot){
            .name = rota_copy(rota_row_text(&rows, 0)),
            .type = rota_copy(rota_row_text(&rows, 1)),
            .database = rota_copy(rota_row_text(&rows, 2)),
            .status = rota_copy(rota_row_text(&rows, 3)),
            .active = rota_row_boolean(&rows, 4, true),
            .temporary = rota_row_boolean(&rows, 5, true),
            .retained = rota_row_integer(&rows, 6, -1),
            .restart = rota_row_integer(&rows, 7, -1),
        };
    }
    return rota_rows_end(&rows, failure);
}

static bool is_kept(rota_json keep, rota_text name) {
    size_t at = 0;
    rota_json item;
    while (rota_next(keep, &at, &item)) {
        rota_text kept = rota_string(item, rota_t(""));
        if (kept.len == name.len && memcmp(kept.ptr, name.ptr, name.len) == 0) return true;
    }
    return false;
}

// The server takes no other letters for a slot's name; what is an argument is looked at here as well.
static bool is_sound(rota_text name) {
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.ptr[i];
        if (!(byte >= 'a' && byte <= 'z') && !(byte >= '0' && byte <= '9') && byte != '_') return false;
    }
    return name.len > 0 && name.len < 64;
}

typedef enum { DROPPED, PLANNED, LEFT, BROKEN } outcome;

// Drops one that was looked at: looks again, drops it, and looks whether it is gone. What went wrong with this one slot is a finding; false
// is for what would go wrong with each of them.
static bool drop(rota_session session, const slot *seen, rota_report *report, outcome *became, rota_failure *failure) {
    slot now[1];
    size_t count = 0;
    if (!look(session, rota_str(seen->name), now, &count, failure)) return false;
    *became = LEFT;
    if (count == 0 || now[0].active || now[0].restart != seen->restart) {
        rota_finding(report, ROTA_WARNING, rota_format("%.*s: left alone", ROTA_SHOW(seen->name)),
                     rota_t("Its consumer came back or moved it meanwhile."));
        return true;
    }
    rota_text program = rota_t("pg_receivewal");
    runbook_string_t words[] = {rota_t("--drop-slot"), rota_format("--slot=%.*s", ROTA_SHOW(seen->name))};
    runbook_list_string_t arguments = {words, 2};
    rota_runbook_tools_connection_t connection = {.slot = rota_t("database")};
    rota_runbook_process_own_child_t child;
    rota_error error;
    if (!rota_runbook_tools_spawn(&program, &arguments, &connection, NULL, &child, &error))
        return rota_fail(failure, &error, "%.*s cannot be dropped", ROTA_SHOW(seen->name));
    rota_runbook_process_ended_t ended;
    bool well = rota_runbook_process_method_child_wait(rota_runbook_process_borrow_child(child), &ended, &error);
    rota_runbook_process_child_drop_own(child);
    if (!well) return rota_fail(failure, &error, "dropping %.*s", ROTA_SHOW(seen->name));
    if (ended.status.tag == ROTA_RUNBOOK_PROCESS_EXIT_STATUS_PLANNED) {
        *became = PLANNED;
        return true;
    }
    // The program's word is one thing, the server's another.
    if (!look(session, rota_str(seen->name), now, &count, failure)) return false;
    if (count == 0) {
        *became = DROPPED;
        return true;
    }
    *became = BROKEN;
    size_t finding = rota_finding(report, ROTA_CRITICAL, rota_format("%.*s: it is still there", ROTA_SHOW(seen->name)), rota_copy(ended.stderr_));
    rota_remedy(report, finding, "", (rota_json){0}, rota_t("the role needs the attribute REPLICATION, and pg_hba.conf a line for replication"));
    return true;
}

// One that holds back too much and was not dropped.
static void tell(rota_report *report, const slot *seen, int64_t maximum, bool kept) {
    rota_text title = rota_format("%.*s holds back %lld MiB of WAL", ROTA_SHOW(seen->name), (long long)(seen->retained >> 20));
    rota_text detail = rota_format("%s, %.*s, the server says `%.*s`; %lld MiB are allowed.", seen->active ? "In use" : "Nobody uses it",
                                   ROTA_SHOW(seen->type), ROTA_SHOW(seen->status), (long long)(maximum >> 20));
    bool drops = !seen->active && !seen->temporary && !kept;
    size_t finding = rota_finding(report, drops ? ROTA_CRITICAL : ROTA_WARNING, title, detail);
    if (drops)
        rota_remedy(report, finding, "stale-slot-guard", rota_format("{\"maximum_bytes\":%lld,\"drop\":true}", (long long)maximum),
                    rota_t("drops the worst one that nobody uses; its standby or subscriber has to be built anew"));
    else
        rota_remedy(report, finding, "", (rota_json){0}, rota_t("look at its consumer: it is behind, or away"));
}

bool rota_run(rota_json parameters, rota_report *report, rota_failure *failure) {
    int64_t maximum = rota_integer(rota_get(parameters, "maximum_bytes"), 10737418240);
    int64_t most = rota_integer(rota_get(parameters, "most"), 1);
    bool drops = rota_boolean(rota_get(parameters, "drop"), false);
    rota_json keep = rota_get(parameters, "keep");
    if (drops && rota_binding("pg_receivewal").len == 0) {
        rota_hint(failure, rota_t("bind it: --bind pg_receivewal=NAME, or leave out `drop`"));
        failure->message = rota_t("nothing can be dropped: no program is bound to the slot pg_receivewal");
        return false;
    }
    rota_session session;
    static slot slots[MOST];
    size_t count = 0, stale = 0, dropped = 0;
    if (!rota_sql_open("database", &session, failure)) return false;
    if (!look(session, rota_null(), slots, &count, failure)) return false;

    size_t table = ROTA_TABLE(report, "slots", "Replication slots", "slot", "type", "database", "in use", "holds back", "server says", "done");
    rota_buffer names = {0};
    int64_t worst = 0;
    for (size_t i = 0; i < count; i++) {
        const slot *seen = &slots[i];
        if (seen->retained > worst) worst = seen->retained;
        const char *done = "";
        bool kept = is_kept(keep, seen->name);
        if (seen->retained > maximum) {
            stale++;
            outcome became = LEFT;
            bool candidate = drops && !seen->active && !seen->temporary && !kept && is_sound(seen->name) && (int64_t)dropped < most;
            if (candidate) {
                rota_progress(dropped, (uint64_t)most, "slots", seen->name);
                if (!drop(session, seen, report, &became, failure)) return false;
            }
            if (became == DROPPED || became == PLANNED) {
                rota_put(&names, "%s", dropped++ ? "," : "");
                rota_put_json(&names, seen->name);
                done = became == PLANNED ? "would be dropped" : "dropped";
            } else if (!candidate) {
                tell(report, seen, maximum, kept);
            }
        }
        ROTA_ROW(report, table, rota_cell_text(seen->name), rota_cell_text(seen->type), rota_cell_text(seen->database), rota_cell_flag(seen->active),
                 seen->retained < 0 ? rota_cell_none() : rota_cell_bytes((uint64_t)seen->retained), rota_cell_text(seen->status),
                 rota_cell_text(rota_t(done)));
    }
    rota_sql_close(session);
    rota_metric(report, "slot_retained_bytes", (double)worst);
    rota_buffer data = {0};
    rota_put(&data, "{\"slots\":%u,\"stale\":%u,\"dropped\":[%.*s]}", (unsigned)count, (unsigned)stale, (int)names.len, names.ptr);
    rota_data(report, rota_taken(&data));
    rota_summary(report, "%u of %u slots hold back too much WAL, %u %s", (unsigned)stale, (unsigned)count, (unsigned)dropped,
                 rota_is_plan() ? "would be dropped" : "dropped");
    return true;
}
