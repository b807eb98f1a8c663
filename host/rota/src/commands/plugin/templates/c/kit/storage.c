// Buckets.
#include "rota.h"
#include <stdlib.h>
#include <string.h>

bool rota_bucket_open(const char *slot, rota_bucket *bucket, rota_failure *failure) {
    rota_text name = rota_t(slot);
    rota_error error;
    if (rota_runbook_storage_static_bucket_open(&name, bucket, &error)) return true;
    return rota_fail(failure, &error, "%s cannot be opened", slot);
}

bool rota_bucket_list(rota_bucket bucket, rota_text prefix, rota_objects *objects, rota_failure *failure) {
    rota_error error;
    memset(objects, 0, sizeof(*objects));
    if (rota_runbook_storage_method_bucket_list(rota_runbook_storage_borrow_bucket(bucket), &prefix, &objects->listing, &error))
        return true;
    return rota_fail(failure, &error, "objects of `%.*s` cannot be listed", ROTA_SHOW(prefix));
}

bool rota_next_object(rota_objects *objects) {
    while (!objects->ended) {
        uint32_t status = rota_runbook_storage_stream_object_read(objects->listing.f0, &objects->object, 1);
        status = rota_done(objects->listing.f0, status);
        objects->ended = RUNBOOK_WAITABLE_STATE(status) != RUNBOOK_WAITABLE_COMPLETED;
        if (RUNBOOK_WAITABLE_COUNT(status) > 0) return true;
    }
    return false;
}

bool rota_objects_end(rota_objects *objects, rota_failure *failure) {
    rota_runbook_storage_result_u64_error_t outcome = {0};
    rota_runbook_storage_stream_object_drop_readable(objects->listing.f0);
    if (objects->ended)
        rota_done(objects->listing.f1, rota_runbook_storage_future_result_u64_error_read(objects->listing.f1, &outcome));
    rota_runbook_storage_future_result_u64_error_drop_readable(objects->listing.f1);
    if (!outcome.is_err) return true;
    return rota_fail(failure, &outcome.val.err, "the listing broke off");
}

bool rota_bucket_get(rota_bucket bucket, rota_text name, size_t most, rota_text *content, rota_failure *failure) {
    rota_runbook_storage_tuple3_object_stream_u8_future_result_u64_error_t got;
    rota_error error;
    if (!rota_runbook_storage_method_bucket_get(rota_runbook_storage_borrow_bucket(bucket), &name, NULL, &got, &error))
        return rota_fail(failure, &error, "%.*s cannot be read", ROTA_SHOW(name));
    rota_buffer whole = {0};
    uint8_t part[16384];
    bool ended = false, small = true;
    while (!ended && (small = whole.len <= most)) {
        uint32_t status = rota_done(got.f1, rota_runbook_run_stream_u8_read(got.f1, part, sizeof(part)));
        ended = RUNBOOK_WAITABLE_STATE(status) != RUNBOOK_WAITABLE_COMPLETED;
        rota_put_bytes(&whole, part, RUNBOOK_WAITABLE_COUNT(status));
    }
    small = whole.len <= most;
    rota_runbook_run_stream_u8_drop_readable(got.f1);
    rota_runbook_storage_result_u64_error_t outcome = {0};
    if (ended)
        rota_done(got.f2, rota_runbook_storage_future_result_u64_error_read(got.f2, &outcome));
    rota_runbook_storage_future_result_u64_error_drop_readable(got.f2);
    if (outcome.is_err) return rota_fail(failure, &outcome.val.err, "%.*s broke off", ROTA_SHOW(name));
    if (!small) return rota_fail(failure, NULL, "%.*s has more than %u bytes", ROTA_SHOW(name), (unsigned)most);
    *content = rota_taken(&whole);
    return true;
}

// Waits until a call that was begun has answered.
static void returned(runbook_subtask_status_t status) {
    runbook_subtask_t call = RUNBOOK_SUBTASK_HANDLE(status);
    if (RUNBOOK_SUBTASK_STATE(status) == RUNBOOK_SUBTASK_RETURNED) {
        if (call) runbook_subtask_drop(call);
        return;
    }
    runbook_waitable_set_t set = runbook_waitable_set_new();
    runbook_waitable_join(call, set);
    runbook_event_t event;
    do runbook_waitable_set_wait(set, &event);
    while (event.code < RUNBOOK_SUBTASK_RETURNED);
    runbook_waitable_join(call, 0);
    runbook_waitable_set_drop(set);
    runbook_subtask_drop(call);
}

bool rota_bucket_put(rota_bucket bucket, rota_text name, rota_text content, bool if_absent, rota_failure *failure) {
    rota_runbook_run_stream_u8_writer_t writer;
    rota_runbook_run_stream_u8_t data = rota_runbook_run_stream_u8_new(&writer);
    rota_runbook_storage_method_bucket_put_args_t call = {
        .self = rota_runbook_storage_borrow_bucket(bucket),
        .name = name,
        .data = data,
        .options = {.if_absent = if_absent, .size_estimate = {true, content.len}},
    };
    rota_runbook_storage_result_stored_error_t result = {0};
    // The call runs while its bytes are written.
    runbook_subtask_status_t status = rota_runbook_storage_method_bucket_put(&call, &result);
    for (size_t at = 0; at < content.len;) {
        uint32_t written = rota_done(writer, rota_runbook_run_stream_u8_write(writer, content.ptr + at, content.len - at));
        at += RUNBOOK_WAITABLE_COUNT(written);
        if (RUNBOOK_WAITABLE_STATE(written) != RUNBOOK_WAITABLE_COMPLETED) break;
    }
    rota_runbook_run_stream_u8_drop_writable(writer);
    returned(status);
    if (!result.is_err) return true;
    return rota_fail(failure, &result.val.err, "%.*s cannot be stored", ROTA_SHOW(name));
}
