// SPDX-License-Identifier: Apache-2.0
/* Columns in the binary form of COPY. Source: the Postgres manual, COPY, "Binary Format"; of each type its _send(). */

#include "native.h"

#include <string.h>

#define TEXT_OID 25

static Verdict
reserve(Buffer *buffer, size_t more)
{
    if (more <= buffer->room - buffer->size)
        return TAKEN;
    size_t room = buffer->room ? buffer->room : 4096;
    while (room - buffer->size < more) {
        if (room > SIZE_MAX / 2) {
            PyErr_NoMemory();
            return FAILED;
        }
        room *= 2;
    }
    uint8_t *data = PyMem_Realloc(buffer->data, room);
    if (data == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    buffer->data = data;
    buffer->room = room;
    return TAKEN;
}

Verdict
put(Buffer *buffer, const void *bytes, size_t n)
{
    if (n == 0) /* perhaps there is no memory yet to copy to */
        return TAKEN;
    TRY(reserve(buffer, n));
    memcpy(buffer->data + buffer->size, bytes, n);
    buffer->size += n;
    return TAKEN;
}

static void
write_big_endian(uint8_t *to, uint64_t value, int n)
{
    for (int at = n - 1; at >= 0; at--) {
        to[at] = (uint8_t)value;
        value >>= 8;
    }
}

Verdict
put_number(Buffer *buffer, uint64_t value, int n)
{
    TRY(reserve(buffer, (size_t)n));
    write_big_endian(buffer->data + buffer->size, value, n);
    buffer->size += (size_t)n;
    return TAKEN;
}

/* A column of fixed size: its length, then its bytes. */
Verdict
put_fixed(Buffer *buffer, uint64_t value, int n)
{
    TRY(put_number(buffer, (uint64_t)n, 4));
    return put_number(buffer, value, n);
}

Verdict
put_null(Buffer *buffer)
{
    return put(buffer, "\xff\xff\xff\xff", 4);
}

Verdict
put_hex(Buffer *buffer, const uint8_t *bytes, int n)
{
    static const char digits[] = "0123456789abcdef";
    TRY(put_number(buffer, (uint64_t)n * 2, 4));
    TRY(reserve(buffer, (size_t)n * 2));
    for (int at = 0; at < n; at++) {
        buffer->data[buffer->size++] = (uint8_t)digits[bytes[at] >> 4];
        buffer->data[buffer->size++] = (uint8_t)digits[bytes[at] & 0xf];
    }
    return TAKEN;
}

Verdict
put_text(Buffer *buffer, PyObject *value)
{
    const char *text;
    Py_ssize_t n;
    TRY(read_utf8(value, &text, &n));
    if (n > INT32_MAX)
        return ODD;
    TRY(put_number(buffer, (uint64_t)n, 4));
    return put(buffer, text, (size_t)n);
}

static Verdict
put_uuid(Buffer *buffer, PyObject *value)
{
    uint8_t bytes[UUID_BYTES];
    TRY(read_uuid(value, bytes));
    TRY(put_number(buffer, UUID_BYTES, 4));
    return put(buffer, bytes, UUID_BYTES);
}

static Verdict
put_integer(Buffer *buffer, PyObject *value, int n)
{
    int64_t number;
    TRY(read_int64(value, &number));
    if (n == 4 && (number > INT32_MAX || number < INT32_MIN))
        return ODD;
    return put_fixed(buffer, (uint64_t)number, n);
}

Verdict
put_boolean(Buffer *buffer, PyObject *value)
{
    if (value != Py_True && value != Py_False)
        return ODD;
    return put_fixed(buffer, value == Py_True, 1);
}

/* A text of JSON, which escapes nothing that has to be spelled in hexadecimal. */
Verdict
put_json_text(Buffer *buffer, PyObject *value)
{
    const char *text;
    Py_ssize_t n;
    TRY(read_utf8(value, &text, &n));
    if (n == 0)
        return ODD;
    TRY(put(buffer, "\"", 1));
    Py_ssize_t from = 0;
    for (Py_ssize_t at = 0; at < n; at++) {
        unsigned char c = (unsigned char)text[at];
        if (c < ' ')
            return ODD;
        if (c == '"' || c == '\\') {
            TRY(put(buffer, text + from, (size_t)(at - from)));
            TRY(put(buffer, "\\", 1));
            from = at;
        }
    }
    TRY(put(buffer, text + from, (size_t)(n - from)));
    return put(buffer, "\"", 1);
}

/* Begin a column of jsonb; end_json() says how long it became. */
Verdict
begin_json(Buffer *buffer, size_t *start)
{
    *start = buffer->size;
    return put(buffer, "\0\0\0\0\1", 5);
}

Verdict
end_json(Buffer *buffer, size_t start)
{
    size_t n = buffer->size - start - 4;
    if (n > INT32_MAX)
        return ODD;
    write_big_endian(buffer->data + start, n, 4);
    return TAKEN;
}

static Verdict
put_json_texts(Buffer *buffer, PyObject *value)
{
    size_t start;
    if (!PyTuple_CheckExact(value))
        return ODD;
    TRY(begin_json(buffer, &start));
    TRY(put(buffer, "[", 1));
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(value); at++) {
        if (at)
            TRY(put(buffer, ",", 1));
        TRY(put_json_text(buffer, PyTuple_GET_ITEM(value, at)));
    }
    TRY(put(buffer, "]", 1));
    return end_json(buffer, start);
}

/* A column of text[], one-dimensional; source of the form: array_send() of Postgres. */
Verdict
put_texts(Buffer *buffer, PyObject *values)
{
    if (!PyTuple_CheckExact(values))
        return ODD;
    Py_ssize_t items = PyTuple_GET_SIZE(values);
    size_t start = buffer->size;
    TRY(put_number(buffer, 0, 4));
    TRY(put_number(buffer, items > 0, 4)); /* dimensions */
    TRY(put_number(buffer, 0, 4));
    TRY(put_number(buffer, TEXT_OID, 4));
    if (items) {
        TRY(put_number(buffer, (uint64_t)items, 4));
        TRY(put_number(buffer, 1, 4)); /* the first subscript */
    }
    for (Py_ssize_t at = 0; at < items; at++) {
        size_t before = buffer->size;
        TRY(put_text(buffer, PyTuple_GET_ITEM(values, at)));
        if (buffer->size == before + 4) /* an empty one */
            return ODD;
    }
    size_t n = buffer->size - start - 4;
    if (n > INT32_MAX)
        return ODD;
    write_big_endian(buffer->data + start, n, 4);
    return TAKEN;
}

Verdict
put_value(Buffer *buffer, char kind, PyObject *value)
{
    switch (kind) {
    case 't':
        return put_text(buffer, value);
    case 'u':
        return put_uuid(buffer, value);
    case 'i':
        return put_integer(buffer, value, 4);
    case 'q':
        return put_integer(buffer, value, 8);
    case 'b':
        return put_boolean(buffer, value);
    case 'j':
        return put_json_texts(buffer, value);
    case 'a':
        return put_texts(buffer, value);
    default: /* a kind that is left to Python */
        return ODD;
    }
}
