// SPDX-License-Identifier: Apache-2.0
/*
 * The inner loops that Python is too slow for: masking by words, the attributes of a trace, the spelling of a UUID, the
 * payload of a record, and its row.
 *
 * They only ever say "this is what the Python code beside me gives", or None: "ask it". They look at built-in types
 * alone, run no foreign code, and keep nothing between calls. What a value may be, and which words may be shown, is said in Python, once,
 * and handed in; property tests compare every result with what the Python code gives.
 */

#ifndef INTENT_EVENTS_NATIVE_H
#define INTENT_EVENTS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UUID_BYTES 16

/* What became of a value: it was taken, it is left to Python, or an exception is set. */
typedef enum { TAKEN, ODD, FAILED } Verdict;

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        Verdict verdict_ = (call);                                                                                     \
        if (verdict_ != TAKEN)                                                                                         \
            return verdict_;                                                                                           \
    } while (0)

/* values.c: what a Python value is */
Verdict read_uuid(PyObject *value, uint8_t out[UUID_BYTES]);
Verdict parse_uuid(const uint8_t *text, size_t n, uint8_t out[UUID_BYTES]);
Verdict read_utf8(PyObject *value, const char **text, Py_ssize_t *n);
Verdict read_int64(PyObject *value, int64_t *out);

/* unpack.c: what a value of a payload is; zeros are NIL */
typedef enum { NIL = 0, BOOLEAN, INTEGER, NUMBER, TEXT, BYTES, LIST } Type;

typedef struct {
    Type type;
    uint32_t n; /* bytes of a text, items of a list */
    union {
        int64_t integer; /* of a boolean, too */
        double number;
        const uint8_t *bytes; /* where they begin, or the items of a list */
    } of;
    const uint8_t *end; /* of the items of a list */
} Value;

typedef struct {
    const uint8_t *at, *end;
} Reader;

Verdict read_length(Reader *reader, size_t *n);
Verdict read_value(Reader *reader, Value *value);
Verdict read_item(Reader *reader, Value *value);
Reader items_of(const Value *list);
Verdict check_utf8(const Value *value, size_t most);

/* columns.c: columns in the binary form of COPY, each with its length before it */

/* Bytes that grow; begin with {0}, and give data back with PyMem_Free. */
typedef struct {
    uint8_t *data;
    size_t size, room;
} Buffer;

/* How much a value may hold: characters of a text, items of a list, candidates of a list. */
typedef struct {
    size_t text, items, candidates;
} Limits;

/* A column that is one value of a payload. store/quick_seal.py says what the kinds are. */
typedef struct {
    char kind;
    PyObject *missing;   /* bytes that are written for no value; none when there must be one */
    int64_t least, most; /* of an integer; characters of a text */
    PyObject *known;     /* tuple of bytes: the labels; of a word: whom to ask whether it has its shape */
    uint64_t letters[2]; /* bits of the ASCII characters of which every word has its shape */
} Column;

Verdict grow_buffer(Buffer *buffer, size_t more);

static inline Verdict
put(Buffer *buffer, const void *bytes, size_t n)
{
    if (n == 0) /* perhaps there is no memory yet to copy to */
        return TAKEN;
    if (n > buffer->room - buffer->size)
        TRY(grow_buffer(buffer, n));
    memcpy(buffer->data + buffer->size, bytes, n);
    buffer->size += n;
    return TAKEN;
}

static inline void
write_big_endian(uint8_t *to, uint64_t value, int n)
{
    for (int at = n - 1; at >= 0; at--) {
        to[at] = (uint8_t)value;
        value >>= 8;
    }
}

static inline Verdict
put_number(Buffer *buffer, uint64_t value, int n)
{
    uint8_t bytes[sizeof value];
    write_big_endian(bytes, value, n);
    return put(buffer, bytes, (size_t)n);
}

Verdict put_fixed(Buffer *buffer, uint64_t value, int n);
Verdict put_null(Buffer *buffer);
Verdict put_boolean(Buffer *buffer, const Value *value);
Verdict put_hex(Buffer *buffer, const uint8_t *bytes, size_t n);
Verdict put_text(Buffer *buffer, const Value *value, size_t most);
Verdict begin_texts(Buffer *buffer, size_t n, size_t *start);
Verdict put_item(Buffer *buffer, const Value *value, size_t most);
Verdict end_column(Buffer *buffer, size_t start);
Verdict begin_json(Buffer *buffer, size_t *start);
Verdict put_json_text(Buffer *buffer, const Value *value, size_t most);
Verdict put_column(Buffer *buffer, const Column *column, const Limits *limits, const Value *value);

/* candidates.c: what a payload has of candidates */
enum { LISTS, VERBS, SCORES, SOURCES, TOTAL, OF_CANDIDATES };

Verdict check_scores(const Value *of);
Verdict add_scores(PyObject *scores, const Value *of);
void pass_scores(Reader *line, const Value *of);
Verdict put_candidates(Buffer *buffer, const Limits *limits, const Value *of, Reader scores);

/* attributes.c, payload.c, rows.c, values.c, words.c: what Python calls */
extern const char mask_words_doc[], plain_attributes_doc[], pack_payload_doc[], pack_rows_doc[], spell_uuid_doc[];
PyObject *mask_words(PyObject *module, PyObject *const *args, Py_ssize_t n);
PyObject *plain_attributes(PyObject *module, PyObject *args);
PyObject *pack_payload(PyObject *module, PyObject *const *args, Py_ssize_t n);
PyObject *pack_rows(PyObject *module, PyObject *args);
PyObject *spell_uuid(PyObject *module, PyObject *value);

#endif
