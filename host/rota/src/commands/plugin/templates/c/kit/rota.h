// What makes a procedure in C bearable: texts, JSON, SQL, buckets, reports. It stands on the contract's own functions, `runbook.h`, which are
// there as well: what this has no word for (cache, Kubernetes, JetStream, programs, steps, transactions) is called by those.
//
// Every call waits until it is answered, and gives false where it failed: `failure` then says what happened and why, and is what `rota_run`
// hands on by answering false. Memory goes with the run; only who reads much has to give back what was read, and `rota_next_row` does.
#ifndef ROTA_H
#define ROTA_H
#include "runbook.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// --- Texts: UTF-8 with a length, and no zero at the end.

typedef runbook_string_t rota_text;

// A literal as a text; nothing is copied.
rota_text rota_t(const char *literal);
// For "%.*s" in a format.
#define ROTA_SHOW(text) (int)(text).len, (const char *)(text).ptr
// A new text, as printf writes it; <stdio.h> says which conversions there are.
rota_text rota_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
// A text of its own, which outlives the row that it came from.
rota_text rota_copy(rota_text text);
bool rota_same(rota_text text, const char *literal);

// A text that grows. Begin with {0}.
typedef struct {
    char *ptr;
    size_t len, room;
} rota_buffer;
void rota_put(rota_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The text as a JSON string, with its quotes.
void rota_put_json(rota_buffer *buffer, rota_text text);
void rota_put_bytes(rota_buffer *buffer, const void *bytes, size_t count);
rota_text rota_taken(rota_buffer *buffer);

// --- JSON. What the host hands to a procedure is sound JSON and satisfies its schema.

typedef rota_text rota_json;

// What stands under a key; an empty text where there is none, or null.
rota_json rota_get(rota_json object, const char *key);
// A value, or what is to be taken where there is none: defaults of the schema are for the reader.
// A whole number that 64 bits do not hold ends the run where it stands (a trap): let the schema's `maximum` refuse it, or take it with `rota_whole`.
int64_t rota_integer(rota_json value, int64_t otherwise);
double rota_number(rota_json value, double otherwise);
bool rota_boolean(rota_json value, bool otherwise);
rota_text rota_string(rota_json value, rota_text otherwise);
// The items of an array, one after the other: `size_t at = 0; while (rota_next(array, &at, &item)) ...`
bool rota_next(rota_json array, size_t *at, rota_json *item);

// --- What the procedure is: define `rota_declared` and `rota_run`.

typedef runbook_failure_t rota_failure;
typedef runbook_report_t rota_report;
typedef rota_runbook_types_error_t rota_error;

enum { ROTA_OBSERVE, ROTA_CHANGE, ROTA_DESTROY };

typedef struct {
    const char *name, *capability;
    const char *accesses[12]; // in the capability's words
    const char *purpose;      // why, in one line, as operators read it before granting
    bool optional;
} rota_slot;

typedef struct {
    const char *title, *parameters;
} rota_example;

typedef struct {
    const char *name, *version, *summary, *description;
    const char *parameters, *report; // JSON Schemas (2020-12)
    rota_slot slots[12];
    int risk;                 // ROTA_OBSERVE: only reads; ROTA_CHANGE: routine; ROTA_DESTROY: can lose data, and needs a confirmation
    const char *confirmation; // the word that has to be typed, or NULL
    bool idempotent;          // whether a second run after one that vanished half-way is harmless
    rota_example examples[8];
} rota_procedure;

extern const rota_procedure rota_declared;
bool rota_run(rota_json parameters, rota_report *report, rota_failure *failure);
// A procedure that registers what is to be undone defines this as well, and ROTA_UNDO before it includes this file: the build looks for it.
#ifdef ROTA_UNDO
bool rota_undo(rota_text name, rota_json state, rota_failure *failure);
bool rota_compensate(const char *name, rota_json state, rota_runbook_run_own_compensation_t *registered, rota_failure *failure);
#endif

// --- Failures.

// Says what happened, with the error's own words behind it, and keeps the error as the cause: a denial stays one. Answers false.
bool rota_fail(rota_failure *failure, const rota_error *cause, const char *format, ...) __attribute__((format(printf, 3, 4)));
// A whole number as `rota_integer` takes it; where 64 bits do not hold it, a failure and false.
bool rota_whole(rota_json value, int64_t otherwise, int64_t *number, rota_failure *failure);
// What to do about it.
void rota_hint(rota_failure *failure, rota_text hint);
// An error in words.
rota_text rota_said(const rota_error *error);

// --- The run.

bool rota_is_plan(void);
// The binding in a slot; an empty text where there is none.
rota_text rota_binding(const char *slot);
enum { ROTA_DEBUG, ROTA_INFO, ROTA_WARN, ROTA_ERROR };
void rota_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void rota_progress(uint64_t done, uint64_t total, const char *unit, rota_text note);

// --- The report. Its status is the worst of its findings.

enum { ROTA_OK, ROTA_WARNING, ROTA_CRITICAL, ROTA_UNKNOWN };
void rota_summary(rota_report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Everything for programs, in the shape of the declared schema.
void rota_data(rota_report *report, rota_json data);
size_t rota_finding(rota_report *report, int severity, rota_text title, rota_text detail);
// What would mend a finding: a plugin to run, or with NULL and {0} what to do by hand (in the note).
void rota_remedy(rota_report *report, size_t finding, const char *plugin, rota_json parameters, rota_text note);
void rota_metric(rota_report *report, const char *name, double value);

typedef rota_runbook_reports_cell_t rota_cell;
rota_cell rota_cell_none(void);
rota_cell rota_cell_text(rota_text text);
rota_cell rota_cell_integer(int64_t value);
rota_cell rota_cell_bytes(uint64_t bytes);
rota_cell rota_cell_flag(bool flag);
// The columns end with NULL.
size_t rota_table(rota_report *report, const char *name, const char *title, const char *const *columns);
void rota_row(rota_report *report, size_t table, size_t count, const rota_cell *cells);
#define ROTA_TABLE(report, name, title, ...) rota_table(report, name, title, (const char *const[]){__VA_ARGS__, NULL})
#define ROTA_ROW(report, table, ...) \
    rota_row(report, table, sizeof((rota_cell[]){__VA_ARGS__}) / sizeof(rota_cell), (rota_cell[]){__VA_ARGS__})

// --- PostgreSQL.

typedef rota_runbook_sql_own_session_t rota_session;
typedef rota_runbook_sql_value_t rota_value;

bool rota_sql_open(const char *slot, rota_session *session, rota_failure *failure);
void rota_sql_close(rota_session session);
rota_value rota_null(void);
rota_value rota_int(int64_t value);
rota_value rota_float(double value);
rota_value rota_bool(bool value);
rota_value rota_str(rota_text value);
// Values of a statement: `ROTA_VALUES(rota_int(limit))`, or `ROTA_NONE`.
#define ROTA_VALUES(...) sizeof((rota_value[]){__VA_ARGS__}) / sizeof(rota_value), (rota_value[]){__VA_ARGS__}
#define ROTA_NONE 0, NULL
// One statement that may be an effect; a plan lists it and answers 0 rows. `rows` may be NULL.
bool rota_sql_execute(rota_session session, rota_text statement, size_t count, rota_value *values, uint64_t *rows, rota_failure *failure);
// A name, quoted for a statement's text. Nothing else belongs there: values are $1.
rota_text rota_sql_name(rota_text name);

typedef struct {
    rota_runbook_sql_answer_t answer;
    rota_runbook_sql_row_t batch[64];
    size_t at, count;
    bool begun, ended;
} rota_rows;
bool rota_sql_query(rota_session session, const char *statement, size_t count, rota_value *values, rota_rows *rows, rota_failure *failure);
// The next row; false where there is none any more. Texts of a row are gone with the next one: `rota_copy` what is to stay.
bool rota_next_row(rota_rows *rows);
// To be called after the last row: only this says that there are no more. Also gives the session back where rows are left out.
bool rota_rows_end(rota_rows *rows, rota_failure *failure);
bool rota_is_null(const rota_rows *rows, size_t column);
// Of text and of what has no type of its own; an empty text for NULL.
rota_text rota_row_text(const rota_rows *rows, size_t column);
// Of whole numbers, oid, xid, pg_lsn and instants (microseconds since 1970).
int64_t rota_row_integer(const rota_rows *rows, size_t column, int64_t otherwise);
double rota_row_number(const rota_rows *rows, size_t column, double otherwise);
bool rota_row_boolean(const rota_rows *rows, size_t column, bool otherwise);

// --- Buckets.

typedef rota_runbook_storage_own_bucket_t rota_bucket;
typedef rota_runbook_storage_object_t rota_object;

bool rota_bucket_open(const char *slot, rota_bucket *bucket, rota_failure *failure);

typedef struct {
    rota_runbook_storage_tuple2_stream_object_future_result_u64_error_t listing;
    rota_object object;
    bool ended;
} rota_objects;
bool rota_bucket_list(rota_bucket bucket, rota_text prefix, rota_objects *objects, rota_failure *failure);
// The next one, in `objects->object`.
bool rota_next_object(rota_objects *objects);
bool rota_objects_end(rota_objects *objects, rota_failure *failure);

// A whole object, of at most `most` bytes.
bool rota_bucket_get(rota_bucket bucket, rota_text name, size_t most, rota_text *content, rota_failure *failure);
// An object of these bytes; with `if_absent` a conflict where there is one of the name. An effect.
bool rota_bucket_put(rota_bucket bucket, rota_text name, rota_text content, bool if_absent, rota_failure *failure);

// --- Waiting. For streams and futures of `runbook.h`, whose reads answer at once: the status of one that is `BLOCKED`, when it is done.
uint32_t rota_done(uint32_t waitable, uint32_t status);

#endif
