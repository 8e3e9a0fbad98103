// SPDX-License-Identifier: Apache-2.0
/* Rows of agent.intent_events in the binary form of COPY, of the payloads that utterances are spooled as. */

#include "native.h"

enum { ORDER, TRACE_ID, SPAN_ID, START_NS, END_NS, SAMPLED, SERVICE, DROPPED, KEY, OF_SPAN };

#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES 8
#define MOST_EPOCH_MS ((long long)1 << 48) /* so that no time overflows */
#define MOST_FLAGS 16
#define MOST_COLUMNS 64

typedef struct {
    long long order;   /* number of the order of the values */
    PyObject *head;    /* bytes that begin a row */
    Column columns[MOST_COLUMNS];
    Py_ssize_t n;      /* columns */
    Py_ssize_t denied; /* which of them are the denied verbs; their reasons follow */
    Limits limits;
    long long epoch_ms; /* where the time of Postgres begins */
} Plan;

/* How many values a payload has: what its span has, columns, candidates before and after policy, flags. */
static size_t
count_values(const Plan *plan)
{
    return OF_SPAN + (size_t)plan->n + 2 * OF_CANDIDATES + 1;
}

static const Value *
pre_of(const Plan *plan, const Value *values)
{
    return values + OF_SPAN + plan->n;
}

static const Value *
post_of(const Plan *plan, const Value *values)
{
    return pre_of(plan, values) + OF_CANDIDATES;
}

/* The values of a payload; ODD when it is none, or has scores that cannot be spelled. */
static Verdict
read_values(PyObject *payload, const Plan *plan, Value *values)
{
    if (!PyBytes_CheckExact(payload))
        return ODD;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(payload);
    Reader reader = {bytes, bytes + PyBytes_GET_SIZE(payload)};
    size_t n;
    TRY(read_length(&reader, &n));
    if (n != count_values(plan))
        return ODD;
    for (size_t each = 0; each < n; each++)
        TRY(read_value(&reader, &values[each]));
    if (reader.at != reader.end)
        return ODD;
    TRY(check_scores(pre_of(plan, values)));
    return check_scores(post_of(plan, values));
}

/* Order of texts, which for UTF-8 is that of their bytes. */
static int
compare(const Value *one, const Value *other)
{
    int order = memcmp(one->of.bytes, other->of.bytes, one->n < other->n ? one->n : other->n);
    return order ? order : (one->n > other->n) - (one->n < other->n);
}

/* Flags of quality: each once, in order; none are NULL. */
static Verdict
put_flags(Buffer *buffer, const Limits *limits, const Value *list)
{
    Value flags[MOST_FLAGS];
    size_t n = 0, start;
    if (list->type == NIL || (list->type == LIST && list->n == 0))
        return put_null(buffer);
    if (list->type != LIST || list->n > MOST_FLAGS)
        return ODD;
    Reader items = items_of(list);
    for (size_t each = 0; each < list->n; each++) {
        Value flag;
        TRY(read_item(&items, &flag));
        if (flag.type != TEXT)
            return ODD;
        size_t at = n;
        while (at > 0 && compare(&flags[at - 1], &flag) > 0)
            at--;
        if (at > 0 && compare(&flags[at - 1], &flag) == 0)
            continue;
        memmove(&flags[at + 1], &flags[at], (n - at) * sizeof flag);
        flags[at] = flag;
        n++;
    }
    TRY(begin_texts(buffer, n, &start));
    for (size_t each = 0; each < n; each++)
        TRY(put_item(buffer, &flags[each], limits->text));
    return end_column(buffer, start);
}

/* An id of a span; one of zeros is none. */
static Verdict
check_id(const Value *id, size_t n)
{
    static const uint8_t none[TRACE_ID_BYTES];
    return id->type == BYTES && id->n == n && memcmp(id->of.bytes, none, n) != 0 ? TAKEN : ODD;
}

/* The key, a UUIDv7 of RFC 9562 with the time at which the span begins, and that time. */
static Verdict
read_key(const Value *span, uint8_t key[UUID_BYTES], int64_t *ms)
{
    if (span[KEY].type != TEXT || span[START_NS].type != INTEGER || span[START_NS].of.integer < 0)
        return ODD;
    TRY(parse_uuid(span[KEY].of.bytes, span[KEY].n, key));
    *ms = 0;
    for (int at = 0; at < 6; at++)
        *ms = *ms << 8 | key[at];
    if (key[6] >> 4 != 7 || key[8] >> 6 != 2)
        return ODD;
    return span[START_NS].of.integer / 1000000 == *ms ? TAKEN : ODD;
}

/* Reasons stand beside the verbs that were denied, one each. */
static Verdict
check_reasons(const Value *verbs, const Value *reasons)
{
    if (reasons->type == NIL)
        return TAKEN;
    size_t denied = verbs->type == LIST ? verbs->n : 0;
    return reasons->type == LIST && reasons->n == denied ? TAKEN : ODD;
}

static Verdict
put_duration(Buffer *buffer, int64_t start_ns, int64_t end_ns)
{
    double duration_ms = end_ns > start_ns ? (double)(end_ns - start_ns) / 1e6 : 0;
    uint64_t bits;
    memcpy(&bits, &duration_ms, sizeof bits);
    return put_fixed(buffer, bits, 8);
}

static Verdict
put_row(Buffer *buffer, const Plan *plan, const Value *values, Reader scores)
{
    const Value *columns = values + OF_SPAN, *pre = pre_of(plan, values), *post = post_of(plan, values);
    uint8_t key[UUID_BYTES];
    int64_t ms;
    if (values[ORDER].type != INTEGER || values[ORDER].of.integer != plan->order)
        return ODD;
    if (values[END_NS].type != INTEGER || values[DROPPED].type != INTEGER || values[DROPPED].of.integer != 0)
        return ODD;
    TRY(check_id(&values[TRACE_ID], TRACE_ID_BYTES));
    TRY(check_id(&values[SPAN_ID], SPAN_ID_BYTES));
    TRY(read_key(values, key, &ms));
    TRY(check_reasons(&columns[plan->denied], &columns[plan->denied + 1]));

    TRY(put(buffer, PyBytes_AS_STRING(plan->head), (size_t)PyBytes_GET_SIZE(plan->head)));
    TRY(put_number(buffer, UUID_BYTES, 4));
    TRY(put(buffer, key, UUID_BYTES));
    TRY(put_fixed(buffer, (uint64_t)((ms - plan->epoch_ms) * 1000), 8));
    for (Py_ssize_t at = 0; at < plan->n; at++)
        TRY(put_column(buffer, &plan->columns[at], &plan->limits, &columns[at]));
    TRY(put_candidates(buffer, &plan->limits, pre, scores));
    pass_scores(&scores, pre);
    TRY(put_candidates(buffer, &plan->limits, post, scores));
    TRY(put_duration(buffer, values[START_NS].of.integer, values[END_NS].of.integer));
    TRY(values[SAMPLED].type == NIL ? put_null(buffer) : put_boolean(buffer, &values[SAMPLED]));
    TRY(put_hex(buffer, values[TRACE_ID].of.bytes, TRACE_ID_BYTES));
    TRY(put_hex(buffer, values[SPAN_ID].of.bytes, SPAN_ID_BYTES));
    TRY(values[SERVICE].type == NIL ? put_null(buffer) : put_text(buffer, &values[SERVICE], plan->limits.text));
    return put_flags(buffer, &plan->limits, post + OF_CANDIDATES);
}

/* Whether what is known of a column is of the type that its kind has. */
static int
take_known(Column *column, PyObject *known)
{
    column->known = known;
    memset(column->letters, 0, sizeof column->letters);
    if (column->kind == 'l') {
        for (Py_ssize_t at = 0; PyTuple_CheckExact(known) && at < PyTuple_GET_SIZE(known); at++)
            if (!PyBytes_CheckExact(PyTuple_GET_ITEM(known, at)))
                return 0;
        return PyTuple_CheckExact(known);
    }
    if (column->kind != 'w')
        return 1;
    const char *letters;
    if (!PyTuple_CheckExact(known) || !PyArg_ParseTuple(known, "sO:pack_rows", &letters, &column->known))
        return 0;
    for (; *letters; letters++) {
        uint8_t c = (uint8_t)*letters;
        if (c > 127)
            return 0;
        column->letters[c >> 6] |= UINT64_C(1) << (c & 63);
    }
    return 1;
}

static int
parse_column(PyObject *given, Column *column)
{
    long long least, most;
    const char *kind;
    Py_ssize_t n;
    PyObject *known;
    if (!PyTuple_CheckExact(given)) {
        PyErr_SetString(PyExc_TypeError, "pack_rows: a column is no tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(given, "y#SLLO:pack_rows", &kind, &n, &column->missing, &least, &most, &known))
        return 0;
    column->kind = n == 1 ? kind[0] : 0;
    column->least = least;
    column->most = most;
    int fits = take_known(column, known);
    if (fits && (column->kind == 'q' || (least >= INT32_MIN && most >= 0 && most <= INT32_MAX)))
        return 1;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "pack_rows: a column has bounds, labels or a shape that do not fit its kind");
    return 0;
}

static int
parse_plan(PyObject *given, Plan *plan)
{
    PyObject *columns;
    Py_ssize_t text, items, candidates;
    if (!PyArg_ParseTuple(given, "LSO!nnnnL:pack_rows", &plan->order, &plan->head, &PyTuple_Type, &columns,
                          &plan->denied, &text, &items, &candidates, &plan->epoch_ms))
        return 0;
    plan->n = PyTuple_GET_SIZE(columns);
    plan->limits = (Limits){(size_t)text, (size_t)items, (size_t)candidates};
    int fits = plan->n <= MOST_COLUMNS && plan->denied >= 0 && plan->denied < plan->n - 1;
    fits = fits && text >= 0 && items >= 0 && candidates >= 0;
    if (!fits || plan->epoch_ms < 0 || plan->epoch_ms > MOST_EPOCH_MS) {
        PyErr_SetString(PyExc_ValueError, "pack_rows: the plan does not fit the rows");
        return 0;
    }
    for (Py_ssize_t at = 0; at < plan->n; at++) {
        if (!parse_column(PyTuple_GET_ITEM(columns, at), &plan->columns[at]))
            return 0;
    }
    return 1;
}

/* Read all payloads, and spell all scores as a line of JSON; NULL with an exception set. */
static PyObject *
read_all(const Plan *plan, PyObject *payloads, PyObject *spell, Value *values)
{
    PyObject *scores = PyList_New(0), *line = NULL;
    Verdict verdict = scores == NULL ? FAILED : TAKEN;
    for (Py_ssize_t at = 0; verdict != FAILED && at < PyTuple_GET_SIZE(payloads); at++) {
        verdict = read_values(PyTuple_GET_ITEM(payloads, at), plan, values);
        if (verdict == TAKEN)
            verdict = add_scores(scores, pre_of(plan, values));
        if (verdict == TAKEN)
            verdict = add_scores(scores, post_of(plan, values));
        if (verdict == ODD) /* no value is one that a row has */
            memset(values, NIL, count_values(plan) * sizeof *values);
        values += count_values(plan);
    }
    if (verdict != FAILED)
        line = PyObject_CallOneArg(spell, scores);
    Py_XDECREF(scores);
    if (line != NULL && (!PyBytes_CheckExact(line) || PyBytes_GET_SIZE(line) == 0)) {
        PyErr_SetString(PyExc_TypeError, "pack_rows: scores are not spelled as bytes");
        Py_CLEAR(line);
    }
    return line;
}

/* The bytes of a row, or None. */
static PyObject *
pack_row(const Plan *plan, const Value *values, Reader *scores, Buffer *buffer)
{
    buffer->size = 0;
    Verdict verdict = put_row(buffer, plan, values, *scores);
    pass_scores(scores, pre_of(plan, values));
    pass_scores(scores, post_of(plan, values));
    if (verdict == TAKEN)
        return PyBytes_FromStringAndSize((const char *)buffer->data, (Py_ssize_t)buffer->size);
    return verdict == ODD ? Py_NewRef(Py_None) : NULL;
}

/* Rows of the values of n payloads. */
static PyObject *
pack_all(const Plan *plan, const Value *values, Py_ssize_t n, PyObject *line)
{
    const uint8_t *spelled = (const uint8_t *)PyBytes_AS_STRING(line);
    Reader scores = {spelled + 1, spelled + PyBytes_GET_SIZE(line)};
    PyObject *packed = PyList_New(n);
    Buffer buffer = {NULL, 0, 0};
    for (Py_ssize_t at = 0; packed != NULL && at < n; at++) {
        PyObject *data = pack_row(plan, values + (size_t)at * count_values(plan), &scores, &buffer);
        if (data == NULL)
            Py_CLEAR(packed);
        else
            PyList_SET_ITEM(packed, at, data);
    }
    PyMem_Free(buffer.data);
    return packed;
}

const char pack_rows_doc[] = PyDoc_STR(
"pack_rows(plan, payloads, spell) -> list[bytes | None]\n"
"\n"
"Rows of utterances in the binary form of COPY; None for one that is left to the Python code.\n"
"\n"
"plan is (order, head, columns, denied, text, items, candidates, epoch_ms), a column (kind, missing, least,\n"
"most, known); spell(scores) gives the JSON of a list of numbers.");

PyObject *
pack_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Plan plan;
    PyObject *given, *payloads, *spell;
    if (!PyArg_ParseTuple(args, "O!O!O:pack_rows", &PyTuple_Type, &given, &PyTuple_Type, &payloads, &spell))
        return NULL;
    if (!parse_plan(given, &plan))
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(payloads);
    int fits = (size_t)n <= PY_SSIZE_T_MAX / sizeof(Value) / count_values(&plan);
    Value *values = fits ? PyMem_New(Value, (size_t)n * count_values(&plan)) : NULL;
    if (values == NULL)
        return PyErr_NoMemory();
    PyObject *line = read_all(&plan, payloads, spell, values);
    PyObject *packed = line == NULL ? NULL : pack_all(&plan, values, n, line);
    Py_XDECREF(line);
    PyMem_Free(values);
    return packed;
}
