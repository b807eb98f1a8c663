// PostgreSQL, and waiting.
#include "rota.h"
#include <stdlib.h>
#include <string.h>

uint32_t rota_done(uint32_t waitable, uint32_t status) {
    if (status != RUNBOOK_WAITABLE_STATUS_BLOCKED) return status;
    runbook_waitable_set_t set = runbook_waitable_set_new();
    runbook_waitable_join(waitable, set);
    runbook_event_t event;
    runbook_waitable_set_wait(set, &event);
    runbook_waitable_join(waitable, 0);
    runbook_waitable_set_drop(set);
    return event.code;
}

bool rota_sql_open(const char *slot, rota_session *session, rota_failure *failure) {
    rota_text name = rota_t(slot);
    rota_error error;
    if (rota_runbook_sql_static_session_open(&name, session, &error)) return true;
    return rota_fail(failure, &error, "%s cannot be opened", slot);
}

void rota_sql_close(rota_session session) { rota_runbook_sql_session_drop_own(session); }

rota_value rota_null(void) { return (rota_value){.tag = ROTA_RUNBOOK_SQL_VALUE_NULL}; }

rota_value rota_int(int64_t value) {
    return (rota_value){.tag = ROTA_RUNBOOK_SQL_VALUE_INT64, .val.int64 = value};
}

rota_value rota_float(double value) {
    return (rota_value){.tag = ROTA_RUNBOOK_SQL_VALUE_FLOAT64, .val.float64 = value};
}

rota_value rota_bool(bool value) {
    return (rota_value){.tag = ROTA_RUNBOOK_SQL_VALUE_BOOLEAN, .val.boolean = value};
}

rota_value rota_str(rota_text value) {
    return (rota_value){.tag = ROTA_RUNBOOK_SQL_VALUE_TEXT, .val.text = value};
}

bool rota_sql_execute(rota_session session, rota_text statement, size_t count, rota_value *values, uint64_t *rows, rota_failure *failure) {
    rota_runbook_sql_list_value_t list = {values, count};
    rota_error error;
    uint64_t touched = 0;
    rota_runbook_sql_borrow_session_t borrowed = rota_runbook_sql_borrow_session(session);
    if (!rota_runbook_sql_method_session_execute(borrowed, &statement, &list, &touched, &error))
        return rota_fail(failure, &error, "%.*s", ROTA_SHOW(statement));
    if (rows) *rows = touched;
    return true;
}

rota_text rota_sql_name(rota_text name) {
    rota_buffer quoted = {0};
    rota_put(&quoted, "\"");
    for (size_t i = 0; i < name.len; i++) {
        // A quote in a quoted name stands twice; a zero cannot be in one.
        if (name.ptr[i] == 0) abort();
        if (name.ptr[i] == '"') rota_put_bytes(&quoted, "\"", 1);
        rota_put_bytes(&quoted, &name.ptr[i], 1);
    }
    rota_put(&quoted, "\"");
    return rota_taken(&quoted);
}

bool rota_sql_query(rota_session session, const char *statement, size_t count, rota_value *values, rota_rows *rows, rota_failure *failure) {
    rota_text text = rota_t(statement);
    rota_runbook_sql_list_value_t list = {values, count};
    rota_error error;
    memset(rows, 0, sizeof(*rows));
    rota_runbook_sql_borrow_session_t borrowed = rota_runbook_sql_borrow_session(session);
    if (rota_runbook_sql_method_session_query(borrowed, &text, &list, &rows->answer, &error)) return true;
    return rota_fail(failure, &error, "it cannot be read");
}

bool rota_next_row(rota_rows *rows) {
    if (rows->begun && rows->at < rows->count) rota_runbook_sql_row_free(&rows->batch[rows->at++]);
    rows->begun = true;
    while (rows->at == rows->count) {
        if (rows->ended) return false;
        size_t room = sizeof(rows->batch) / sizeof(*rows->batch);
        uint32_t status = rota_runbook_sql_stream_row_read(rows->answer.f1, rows->batch, room);
        status = rota_done(rows->answer.f1, status);
        rows->ended = RUNBOOK_WAITABLE_STATE(status) != RUNBOOK_WAITABLE_COMPLETED;
        rows->at = 0;
        rows->count = RUNBOOK_WAITABLE_COUNT(status);
    }
    return true;
}

bool rota_rows_end(rota_rows *rows, rota_failure *failure) {
    bool complete = rows->ended && rows->at == rows->count;
    for (; rows->at < rows->count; rows->at++) rota_runbook_sql_row_free(&rows->batch[rows->at]);
    rota_runbook_sql_stream_row_drop_readable(rows->answer.f1);
    rota_runbook_sql_result_u64_error_t outcome = {0};
    if (complete)
        rota_done(rows->answer.f2, rota_runbook_sql_future_result_u64_error_read(rows->answer.f2, &outcome));
    rota_runbook_sql_future_result_u64_error_drop_readable(rows->answer.f2);
    if (!complete || !outcome.is_err) return true;
    return rota_fail(failure, &outcome.val.err, "the rows broke off");
}

static const rota_value *cell(const rota_rows *rows, size_t column) {
    static const rota_value null = {.tag = ROTA_RUNBOOK_SQL_VALUE_NULL};
    if (rows->at >= rows->count || column >= rows->batch[rows->at].len) return &null;
    return &rows->batch[rows->at].ptr[column];
}

bool rota_is_null(const rota_rows *rows, size_t column) {
    return cell(rows, column)->tag == ROTA_RUNBOOK_SQL_VALUE_NULL;
}

rota_text rota_row_text(const rota_rows *rows, size_t column) {
    const rota_value *value = cell(rows, column);
    switch (value->tag) {
    case ROTA_RUNBOOK_SQL_VALUE_TEXT:
    case ROTA_RUNBOOK_SQL_VALUE_NUMERIC:
    case ROTA_RUNBOOK_SQL_VALUE_UUID:
    case ROTA_RUNBOOK_SQL_VALUE_JSON:
    case ROTA_RUNBOOK_SQL_VALUE_INET:
    case ROTA_RUNBOOK_SQL_VALUE_REGCLASS:
        // The same place in each of these cases.
        return value->val.text;
    default:
        return (rota_text){0};
    }
}

int64_t rota_row_integer(const rota_rows *rows, size_t column, int64_t otherwise) {
    const rota_value *value = cell(rows, column);
    switch (value->tag) {
    case ROTA_RUNBOOK_SQL_VALUE_INT16:
        return value->val.int16;
    case ROTA_RUNBOOK_SQL_VALUE_INT32:
        return value->val.int32;
    case ROTA_RUNBOOK_SQL_VALUE_INT64:
        return value->val.int64;
    case ROTA_RUNBOOK_SQL_VALUE_OID:
        return value->val.oid;
    case ROTA_RUNBOOK_SQL_VALUE_XID:
        return (int64_t)value->val.xid;
    case ROTA_RUNBOOK_SQL_VALUE_LSN:
        return (int64_t)value->val.lsn;
    case ROTA_RUNBOOK_SQL_VALUE_TIMESTAMPTZ:
        return value->val.timestamptz;
    case ROTA_RUNBOOK_SQL_VALUE_TIMESTAMP:
        return value->val.timestamp;
    default:
        return otherwise;
    }
}

double rota_row_number(const rota_rows *rows, size_t column, double otherwise) {
    const rota_value *value = cell(rows, column);
    switch (value->tag) {
    case ROTA_RUNBOOK_SQL_VALUE_FLOAT32:
        return value->val.float32;
    case ROTA_RUNBOOK_SQL_VALUE_FLOAT64:
        return value->val.float64;
    case ROTA_RUNBOOK_SQL_VALUE_NUMERIC:
        return rota_number(value->val.numeric, otherwise);
    case ROTA_RUNBOOK_SQL_VALUE_NULL:
        return otherwise;
    default:
        return (double)rota_row_integer(rows, column, (int64_t)otherwise);
    }
}

bool rota_row_boolean(const rota_rows *rows, size_t column, bool otherwise) {
    const rota_value *value = cell(rows, column);
    return value->tag == ROTA_RUNBOOK_SQL_VALUE_BOOLEAN ? value->val.boolean : otherwise;
}
