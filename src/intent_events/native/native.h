// SPDX-License-Identifier: Apache-2.0
/*
 * The inner loops that Python is too slow for: masking by words, the attributes of a trace, the spelling of a UUID, the
 * payload of a record, and its row.
 *
 * They only ever say "this is what the Python code beside me gives", or None: "ask it". They look at exact built-in
 * types alone and keep nothing between calls. What a value may be, and which words may be shown, is said in Python, once,
 * and handed in; property tests compare every result with what the Python code gives.
 */

#ifndef INTENT_EVENTS_NATIVE_H
#define INTENT_EVENTS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>

#define UUID_BYTES 16

/* What became of a value: it was taken, it is left to Python, or an exception is set. */
typedef enum { TAKEN, ODD, FAILED } Verdict;

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        Verdict verdict_ = (call);                                                                                     \
        if (verdict_ != TAKEN)                                                                                         \
            return verdict_;                                                                                           \
    } while (0)

/* Bytes that grow; begin with {0}, and give data back with PyMem_Free. */
typedef struct {
    uint8_t *data;
    size_t size, room;
} Buffer;

/* values.c: what a Python value is */
Verdict read_uuid(PyObject *value, uint8_t out[UUID_BYTES]);
Verdict read_utf8(PyObject *value, const char **text, Py_ssize_t *n);
Verdict read_int64(PyObject *value, int64_t *out);

/* columns.c: columns in the binary form of COPY, each with its length before it */
Verdict put(Buffer *buffer, const void *bytes, size_t n);
Verdict put_number(Buffer *buffer, uint64_t value, int n);
Verdict put_fixed(Buffer *buffer, uint64_t value, int n);
Verdict put_null(Buffer *buffer);
Verdict put_hex(Buffer *buffer, const uint8_t *bytes, int n);
Verdict put_text(Buffer *buffer, PyObject *value);
Verdict put_texts(Buffer *buffer, PyObject *values);
Verdict put_boolean(Buffer *buffer, PyObject *value);
Verdict put_value(Buffer *buffer, char kind, PyObject *value);
Verdict put_json_text(Buffer *buffer, PyObject *value);
Verdict begin_json(Buffer *buffer, size_t *start);
Verdict end_json(Buffer *buffer, size_t start);

/* attributes.c, payload.c, rows.c, values.c, words.c: what Python calls */
extern const char mask_words_doc[], plain_attributes_doc[], pack_payload_doc[], pack_rows_doc[], spell_uuid_doc[];
PyObject *mask_words(PyObject *module, PyObject *const *args, Py_ssize_t n);
PyObject *plain_attributes(PyObject *module, PyObject *args);
PyObject *pack_payload(PyObject *module, PyObject *const *args, Py_ssize_t n);
PyObject *pack_rows(PyObject *module, PyObject *args);
PyObject *spell_uuid(PyObject *module, PyObject *value);

#endif
