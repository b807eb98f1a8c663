// The component's exports, failures and reports.
#include "rota.h"
#include <stdlib.h>
#include <string.h>

rota_text rota_formatted(const char *format, va_list values);

// Room for one more in a list, whose length tells how much it has: powers of two.
static void *grown(void *list, size_t length, size_t size) {
    if (length != 0 && (length & (length - 1)) != 0) return list;
    void *more = realloc(list, (length ? length * 2 : 1) * size);
    if (!more) abort();
    return more;
}

static size_t count_of(const char *const *words, size_t most) {
    size_t count = 0;
    while (count < most && words[count]) count++;
    return count;
}

static runbook_list_string_t texts(const char *const *words, size_t count) {
    runbook_list_string_t list = {calloc(count ? count : 1, sizeof(runbook_string_t)), count};
    for (size_t i = 0; i < count; i++) list.ptr[i] = rota_t(words[i]);
    return list;
}

void exports_runbook_describe(runbook_descriptor_t *ret) {
    const rota_procedure *said = &rota_declared;
    size_t slots = 0, examples = 0;
    while (slots < sizeof(said->slots) / sizeof(*said->slots) && said->slots[slots].name) slots++;
    while (examples < sizeof(said->examples) / sizeof(*said->examples) && said->examples[examples].title) examples++;
    *ret = (runbook_descriptor_t){
        .name = rota_t(said->name),
        .version = rota_t(said->version),
        .summary = rota_t(said->summary),
        .description = rota_t(said->description),
        .parameters = rota_t(said->parameters),
        .report = rota_t(said->report),
        .risk = (uint8_t)said->risk,
        .confirmation = {said->confirmation != NULL, rota_t(said->confirmation)},
        .idempotent = said->idempotent,
    };
    ret->slots.len = slots;
    ret->slots.ptr = calloc(slots ? slots : 1, sizeof(*ret->slots.ptr));
    for (size_t i = 0; i < slots; i++) {
        const rota_slot *slot = &said->slots[i];
        ret->slots.ptr[i].name = rota_t(slot->name);
        ret->slots.ptr[i].capability = rota_t(slot->capability);
        ret->slots.ptr[i].accesses = texts(slot->accesses, count_of(slot->accesses, 12));
        ret->slots.ptr[i].purpose = rota_t(slot->purpose);
        ret->slots.ptr[i].optional = slot->optional;
    }
    ret->examples.len = examples;
    ret->examples.ptr = calloc(examples ? examples : 1, sizeof(*ret->examples.ptr));
    for (size_t i = 0; i < examples; i++) {
        ret->examples.ptr[i].title = rota_t(said->examples[i].title);
        ret->examples.ptr[i].parameters = rota_t(said->examples[i].parameters);
    }
}

bool exports_runbook_run(runbook_json_t *parameters, runbook_report_t *ret, runbook_failure_t *err) {
    rota_report report = {0};
    rota_failure failure = {0};
    bool well = rota_run(*parameters, &report, &failure);
    if (report.summary.len == 0) report.summary = rota_t("done");
    if (report.data.len == 0) report.data = rota_t("{}");
    if (well) {
        *ret = report;
        return true;
    }
    if (failure.message.len == 0) failure.message = rota_t("it failed, and says nothing of why");
    failure.report.is_some = report.findings.len > 0 || report.tables.len > 0;
    failure.report.val = report;
    *err = failure;
    return false;
}

#ifdef ROTA_UNDO
bool exports_runbook_compensate(runbook_string_t *name, runbook_compensation_state_t *state, runbook_compensation_failure_t *err) {
    rota_failure failure = {0};
    if (rota_undo(*name, *state, &failure)) return true;
    if (failure.message.len == 0) failure.message = rota_t("it was not undone, and nothing says why");
    *err = failure;
    return false;
}

bool rota_compensate(const char *name, rota_json state, rota_runbook_run_own_compensation_t *registered, rota_failure *failure) {
    rota_text text = rota_t(name);
    rota_error error;
    if (rota_runbook_run_static_compensation_register(&text, &state, registered, &error)) return true;
    return rota_fail(failure, &error, "it cannot be registered that `%s` is to be undone", name);
}
#endif

rota_text rota_said(const rota_error *error) {
    switch (error->tag) {
    case ROTA_RUNBOOK_TYPES_ERROR_CANCELLED:
        return rota_t("the run is being cancelled");
    case ROTA_RUNBOOK_TYPES_ERROR_FAILED: {
        const rota_runbook_types_fault_t *fault = &error->val.failed;
        return rota_format("%.*s (%.*s)", ROTA_SHOW(fault->message), ROTA_SHOW(fault->code));
    }
    default:
        // All others hold a text.
        return error->val.denied;
    }
}

bool rota_fail(rota_failure *failure, const rota_error *cause, const char *format, ...) {
    va_list values;
    va_start(values, format);
    rota_text what = rota_formatted(format, values);
    va_end(values);
    *failure = (rota_failure){.message = what};
    if (cause) {
        rota_text why = rota_said(cause);
        failure->message = rota_format("%.*s: %.*s", ROTA_SHOW(what), ROTA_SHOW(why));
        failure->cause.is_some = true;
        failure->cause.val = *cause;
    }
    return false;
}

void rota_hint(rota_failure *failure, rota_text hint) {
    failure->hint.is_some = true;
    failure->hint.val = hint;
}

bool rota_is_plan(void) { return rota_runbook_run_mode() == ROTA_RUNBOOK_RUN_RUN_MODE_PLAN; }

rota_text rota_binding(const char *slot) {
    rota_runbook_run_list_slot_info_t slots;
    rota_runbook_run_slots(&slots);
    for (size_t i = 0; i < slots.len; i++)
        if (rota_same(slots.ptr[i].name, slot) && slots.ptr[i].binding.is_some) return slots.ptr[i].binding.val;
    return (rota_text){0};
}

void rota_log(int level, const char *format, ...) {
    va_list values;
    va_start(values, format);
    rota_text message = rota_formatted(format, values);
    va_end(values);
    runbook_list_tuple2_string_string_t fields = {0};
    rota_runbook_run_log((rota_runbook_run_level_t)level, &message, &fields);
    free(message.ptr);
}

void rota_progress(uint64_t done, uint64_t total, const char *unit, rota_text note) {
    rota_text in = rota_t(unit);
    rota_runbook_run_progress(done, total ? &total : NULL, &in, &note);
}

void rota_summary(rota_report *report, const char *format, ...) {
    va_list values;
    va_start(values, format);
    report->summary = rota_formatted(format, values);
    va_end(values);
}

void rota_data(rota_report *report, rota_json data) { report->data = data; }

// From well to bad: unknown is worse than a warning, for it may hide one that is critical.
static int weight(int severity) {
    static const int weights[] = {0, 1, 3, 2};
    return weights[severity & 3];
}

size_t rota_finding(rota_report *report, int severity, rota_text title, rota_text detail) {
    size_t place = report->findings.len;
    report->findings.ptr = grown(report->findings.ptr, place, sizeof(*report->findings.ptr));
    report->findings.ptr[place] =
        (rota_runbook_reports_finding_t){.severity = (uint8_t)severity, .title = title, .detail = detail};
    report->findings.len++;
    if (weight(severity) > weight(report->status)) report->status = (uint8_t)severity;
    return place;
}

void rota_remedy(rota_report *report, size_t finding, const char *plugin, rota_json parameters, rota_text note) {
    rota_runbook_reports_finding_t *found = &report->findings.ptr[finding];
    found->remedy.is_some = true;
    found->remedy.val.plugin = rota_t(plugin);
    found->remedy.val.parameters = parameters.len ? parameters : rota_t("{}");
    found->remedy.val.note = note;
}

void rota_metric(rota_report *report, const char *name, double value) {
    size_t place = report->metrics.len;
    report->metrics.ptr = grown(report->metrics.ptr, place, sizeof(*report->metrics.ptr));
    report->metrics.ptr[place] = (rota_runbook_reports_metric_t){.name = rota_t(name), .value = value};
    report->metrics.len++;
}

rota_cell rota_cell_none(void) { return (rota_cell){.tag = ROTA_RUNBOOK_REPORTS_CELL_NONE}; }

rota_cell rota_cell_text(rota_text text) {
    return (rota_cell){.tag = ROTA_RUNBOOK_REPORTS_CELL_TEXT, .val.text = text};
}

rota_cell rota_cell_integer(int64_t value) {
    return (rota_cell){.tag = ROTA_RUNBOOK_REPORTS_CELL_INTEGER, .val.integer = value};
}

rota_cell rota_cell_bytes(uint64_t bytes) {
    return (rota_cell){.tag = ROTA_RUNBOOK_REPORTS_CELL_BYTES, .val.bytes = bytes};
}

rota_cell rota_cell_flag(bool flag) {
    return (rota_cell){.tag = ROTA_RUNBOOK_REPORTS_CELL_FLAG, .val.flag = flag};
}

size_t rota_table(rota_report *report, const char *name, const char *title, const char *const *columns) {
    size_t place = report->tables.len;
    report->tables.ptr = grown(report->tables.ptr, place, sizeof(*report->tables.ptr));
    rota_runbook_reports_table_t table = {.name = rota_t(name), .title = rota_t(title)};
    table.columns = texts(columns, count_of(columns, 64));
    report->tables.ptr[place] = table;
    report->tables.len++;
    return place;
}

void rota_row(rota_report *report, size_t table, size_t count, const rota_cell *cells) {
    rota_runbook_reports_table_t *in = &report->tables.ptr[table];
    size_t place = in->rows.len;
    in->rows.ptr = grown(in->rows.ptr, place, sizeof(*in->rows.ptr));
    rota_cell *kept = malloc((count ? count : 1) * sizeof(rota_cell));
    if (!kept) abort();
    for (size_t i = 0; i < count; i++) {
        kept[i] = cells[i];
        // A row of a query is gone when the next one comes.
        if (kept[i].tag == ROTA_RUNBOOK_REPORTS_CELL_TEXT) kept[i].val.text = rota_copy(kept[i].val.text);
    }
    in->rows.ptr[place].ptr = kept;
    in->rows.ptr[place].len = count;
    in->rows.len++;
}

// wit-bindgen would have the component's types linked in as an object; here the build adds them to the module that was linked.
void __component_type_object_force_link_runbook(void);
void __component_type_object_force_link_runbook(void) {}
