// SPDX-License-Identifier: Apache-2.0
/* Rows of agent.intent_events in the binary form of COPY. */

#include "native.h"

#include <string.h>

enum { LISTS, VERBS, SCORES, SOURCES, TOTAL, OF_CANDIDATES };
enum { TRACE_ID, SPAN_ID, START_NS, END_NS, SAMPLED, SERVICE, DROPPED, KEY, OF_SPAN };

#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES 8
#define MOST_MS ((long long)1 << 48) /* milliseconds that a UUIDv7 can hold */

typedef struct {
    PyObject *head;    /* bytes that begin a row */
    PyObject *columns; /* tuple of (kind, bytes of a missing value, none when there must be one) */
    Py_ssize_t denied; /* which of them are the denied verbs; their reasons follow */
    Py_ssize_t most;   /* candidates of a list */
    Py_ssize_t text;   /* characters of a name of a service */
    int64_t epoch_ms;  /* where the time of Postgres begins */
    int64_t last_ms;   /* last time that a row may have */
} Plan;

/* The next number in a line "[1.0,2.5]" that msgspec has written, in which null stands for NaN and infinity. */
static Verdict
next_number(const char **at, const char *end, char behind, const char **number, size_t *n)
{
    const char *from = *at;
    while (*at < end && ((**at >= '0' && **at <= '9') || memchr("+-.eE", **at, 5) != NULL))
        (*at)++;
    *number = from;
    *n = (size_t)(*at - from);
    if (*n == 0 || *at == end || **at != behind)
        return ODD;
    (*at)++;
    return TAKEN;
}

static Verdict
put_candidates(Buffer *buffer, const Plan *plan, PyObject *const *of, PyObject *line)
{
    PyObject *verbs = of[VERBS], *sources = of[SOURCES];
    int64_t total = 0;
    if (of[LISTS] != Py_None)
        return ODD;
    if (of[TOTAL] != Py_None) {
        TRY(read_int64(of[TOTAL], &total));
        if (total < 0 || total > INT32_MAX)
            return ODD;
    }
    if (verbs == Py_None) {
        if (of[SCORES] != Py_None || sources != Py_None)
            return ODD;
        TRY(put_null(buffer));
        return of[TOTAL] == Py_None ? put_null(buffer) : put_fixed(buffer, (uint64_t)total, 4);
    }
    if (!PyTuple_CheckExact(verbs))
        return ODD;
    Py_ssize_t n = PyTuple_GET_SIZE(verbs);
    if (n > plan->most)
        return ODD;
    if (sources != Py_None && (!PyTuple_CheckExact(sources) || PyTuple_GET_SIZE(sources) != n))
        return ODD;
    const char *at = NULL, *end = NULL;
    if (of[SCORES] != Py_None) {
        if (!PyTuple_CheckExact(of[SCORES]) || PyTuple_GET_SIZE(of[SCORES]) != n || !PyBytes_CheckExact(line))
            return ODD;
        at = PyBytes_AS_STRING(line);
        end = at + PyBytes_GET_SIZE(line);
        if (at == end || *at++ != '[')
            return ODD;
    }
    size_t start;
    TRY(begin_json(buffer, &start));
    TRY(put(buffer, "[", 1));
    for (Py_ssize_t each = 0; each < n; each++) {
        if (each)
            TRY(put(buffer, ",", 1));
        TRY(put(buffer, "{\"verb\":", 8));
        TRY(put_json_text(buffer, PyTuple_GET_ITEM(verbs, each)));
        if (at != NULL) {
            const char *number;
            size_t digits;
            TRY(next_number(&at, end, each < n - 1 ? ',' : ']', &number, &digits));
            TRY(put(buffer, ",\"score\":", 9));
            TRY(put(buffer, number, digits));
        }
        if (sources != Py_None) {
            TRY(put(buffer, ",\"source\":", 10));
            TRY(put_json_text(buffer, PyTuple_GET_ITEM(sources, each)));
        }
        TRY(put(buffer, "}", 1));
    }
    if (n && at != end) /* more numbers than verbs; without scores both are NULL */
        return ODD;
    TRY(put(buffer, "]", 1));
    TRY(end_json(buffer, start));
    return put_fixed(buffer, (uint64_t)(total > n ? total : n), 4);
}

/* Flags of quality: each once, in order; none are NULL. */
static Verdict
put_flags(Buffer *buffer, PyObject *flags)
{
    if (flags == Py_None)
        return put_null(buffer);
    if (!PyTuple_CheckExact(flags))
        return ODD;
    if (PyTuple_GET_SIZE(flags) == 0)
        return put_null(buffer);
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(flags); at++) {
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(flags, at))) /* foreign code would be asked for its order */
            return ODD;
    }
    PyObject *distinct = PySet_New(flags);
    PyObject *sorted = distinct == NULL ? NULL : PySequence_List(distinct);
    Py_XDECREF(distinct);
    PyObject *ordered = sorted == NULL || PyList_Sort(sorted) < 0 ? NULL : PyList_AsTuple(sorted);
    Py_XDECREF(sorted);
    if (ordered == NULL)
        return FAILED;
    Verdict verdict = put_texts(buffer, ordered);
    Py_DECREF(ordered);
    return verdict;
}

/* An id of a span; one of zeros is none. */
static Verdict
id_of(PyObject *value, Py_ssize_t n, const uint8_t **bytes)
{
    static const uint8_t none[TRACE_ID_BYTES];
    if (!PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) != n)
        return ODD;
    *bytes = (const uint8_t *)PyBytes_AS_STRING(value);
    return memcmp(*bytes, none, (size_t)n) == 0 ? ODD : TAKEN;
}

static Verdict
put_row(Buffer *buffer, const Plan *plan, PyObject *row, PyObject *pre_scores, PyObject *post_scores)
{
    Py_ssize_t columns = PyTuple_GET_SIZE(plan->columns);
    if (!PyTuple_CheckExact(row) || PyTuple_GET_SIZE(row) != OF_SPAN + columns + 2 * OF_CANDIDATES + 1)
        return ODD;
    PyObject *const *of = &PyTuple_GET_ITEM(row, 0);
    PyObject *const *values = of + OF_SPAN, *const *pre = values + columns, *const *post = pre + OF_CANDIDATES;

    const uint8_t *trace_id, *span_id;
    uint8_t key[UUID_BYTES];
    int64_t start_ns, end_ns, dropped, ms = 0;
    TRY(id_of(of[TRACE_ID], TRACE_ID_BYTES, &trace_id));
    TRY(id_of(of[SPAN_ID], SPAN_ID_BYTES, &span_id));
    TRY(read_int64(of[START_NS], &start_ns));
    TRY(read_int64(of[END_NS], &end_ns));
    TRY(read_int64(of[DROPPED], &dropped));
    TRY(read_uuid(of[KEY], key));
    for (int at = 0; at < 6; at++)
        ms = ms << 8 | key[at];
    if (dropped != 0 || start_ns < 0 || start_ns / 1000000 != ms || ms > plan->last_ms)
        return ODD;
    if (key[6] >> 4 != 7 || key[8] >> 6 != 2) /* a UUIDv7 of RFC 9562 */
        return ODD;
    if (end_ns < start_ns)
        end_ns = start_ns;

    PyObject *verbs = values[plan->denied], *reasons = values[plan->denied + 1];
    if (reasons != Py_None) {
        Py_ssize_t denied = PyTuple_CheckExact(verbs) ? PyTuple_GET_SIZE(verbs) : 0;
        if (!PyTuple_CheckExact(reasons) || PyTuple_GET_SIZE(reasons) != denied)
            return ODD;
    }

    TRY(put(buffer, PyBytes_AS_STRING(plan->head), (size_t)PyBytes_GET_SIZE(plan->head)));
    TRY(put_number(buffer, UUID_BYTES, 4));
    TRY(put(buffer, key, UUID_BYTES));
    TRY(put_fixed(buffer, (uint64_t)((ms - plan->epoch_ms) * 1000), 8));
    for (Py_ssize_t at = 0; at < columns; at++) {
        PyObject *column = PyTuple_GET_ITEM(plan->columns, at);
        if (values[at] == Py_None) {
            PyObject *missing = PyTuple_GET_ITEM(column, 1);
            if (PyBytes_GET_SIZE(missing) == 0) /* it is required */
                return ODD;
            TRY(put(buffer, PyBytes_AS_STRING(missing), (size_t)PyBytes_GET_SIZE(missing)));
        }
        else
            TRY(put_value(buffer, PyBytes_AS_STRING(PyTuple_GET_ITEM(column, 0))[0], values[at]));
    }
    TRY(put_candidates(buffer, plan, pre, pre_scores));
    TRY(put_candidates(buffer, plan, post, post_scores));
    double duration_ms = (double)(end_ns - start_ns) / 1e6;
    uint64_t bits;
    memcpy(&bits, &duration_ms, sizeof bits);
    TRY(put_fixed(buffer, bits, 8));
    if (of[SAMPLED] == Py_None)
        TRY(put_null(buffer));
    else
        TRY(put_boolean(buffer, of[SAMPLED]));
    TRY(put_hex(buffer, trace_id, TRACE_ID_BYTES));
    TRY(put_hex(buffer, span_id, SPAN_ID_BYTES));
    if (of[SERVICE] == Py_None)
        TRY(put_null(buffer));
    else if (!PyUnicode_CheckExact(of[SERVICE]) || PyUnicode_GetLength(of[SERVICE]) > plan->text)
        return ODD; /* the emitter says it, at any length */
    else
        TRY(put_text(buffer, of[SERVICE]));
    return put_flags(buffer, post[OF_CANDIDATES]);
}

const char pack_rows_doc[] = PyDoc_STR(
"pack_rows(plan, rows, scores) -> list[bytes | None]\n"
"\n"
"Rows of utterances in the binary form of COPY; None for one that is left to the Python code.\n"
"\n"
"plan is (head, columns, denied, most, text, epoch_ms, last_ms); scores has the JSON of the scores of each row, before and\n"
"after policy.");

PyObject *
pack_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Plan plan;
    PyObject *given, *rows, *scores;
    long long epoch_ms, last_ms;
    if (!PyArg_ParseTuple(args, "O!O!O!:pack_rows", &PyTuple_Type, &given, &PyTuple_Type, &rows, &PyTuple_Type, &scores))
        return NULL;
    if (!PyArg_ParseTuple(given, "SO!nnnLL:pack_rows", &plan.head, &PyTuple_Type, &plan.columns, &plan.denied,
                          &plan.most, &plan.text, &epoch_ms, &last_ms))
        return NULL;
    plan.epoch_ms = epoch_ms;
    plan.last_ms = last_ms;
    Py_ssize_t n = PyTuple_GET_SIZE(rows), columns = PyTuple_GET_SIZE(plan.columns);
    for (Py_ssize_t at = 0; at < columns; at++) {
        PyObject *kind, *missing;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(plan.columns, at), "SS:pack_rows", &kind, &missing))
            return NULL;
    }
    int fits = plan.denied >= 0 && plan.denied < columns - 1 && PyTuple_GET_SIZE(scores) / 2 >= n;
    if (!fits || epoch_ms < 0 || epoch_ms > MOST_MS || last_ms > MOST_MS) {
        PyErr_SetString(PyExc_ValueError, "pack_rows: the plan does not fit the rows");
        return NULL;
    }
    PyObject *packed = PyList_New(n);
    Buffer buffer = {NULL, 0, 0};
    for (Py_ssize_t at = 0; packed != NULL && at < n; at++) {
        buffer.size = 0;
        PyObject *pre = PyTuple_GET_ITEM(scores, 2 * at), *post = PyTuple_GET_ITEM(scores, 2 * at + 1);
        Verdict verdict = put_row(&buffer, &plan, PyTuple_GET_ITEM(rows, at), pre, post);
        PyObject *data = NULL;
        if (verdict == TAKEN)
            data = PyBytes_FromStringAndSize((const char *)buffer.data, (Py_ssize_t)buffer.size);
        else if (verdict == ODD)
            data = Py_NewRef(Py_None);
        if (data == NULL)
            Py_CLEAR(packed);
        else
            PyList_SET_ITEM(packed, at, data);
    }
    PyMem_Free(buffer.data);
    return packed;
}
