// SPDX-License-Identifier: Apache-2.0
/* Columns in the binary form of COPY. Source: the Postgres manual, COPY, "Binary Format"; of each type its _send(). */

#include "native.h"

#define TEXT_OID 25

Verdict
grow_buffer(Buffer *buffer, size_t more)
{
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
put_boolean(Buffer *buffer, const Value *value)
{
    return value->type == BOOLEAN ? put_fixed(buffer, (uint64_t)value->of.integer, 1) : ODD;
}

Verdict
put_hex(Buffer *buffer, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    TRY(put_number(buffer, n * 2, 4));
    for (size_t at = 0; at < n; at++) {
        const char spelled[] = {digits[bytes[at] >> 4], digits[bytes[at] & 0xf]};
        TRY(put(buffer, spelled, sizeof spelled));
    }
    return TAKEN;
}

static Verdict
put_bytes(Buffer *buffer, const Value *value)
{
    if (value->n > INT32_MAX)
        return ODD;
    TRY(put_number(buffer, value->n, 4));
    return put(buffer, value->of.bytes, value->n);
}

Verdict
put_text(Buffer *buffer, const Value *value, size_t most)
{
    TRY(check_utf8(value, most));
    return put_bytes(buffer, value);
}

static Verdict
put_label(Buffer *buffer, const Column *column, const Value *value)
{
    if (value->type != TEXT)
        return ODD;
    for (Py_ssize_t each = 0; each < PyTuple_GET_SIZE(column->known); each++) {
        PyObject *label = PyTuple_GET_ITEM(column->known, each);
        if ((size_t)PyBytes_GET_SIZE(label) == value->n && memcmp(PyBytes_AS_STRING(label), value->of.bytes, value->n) == 0)
            return put_bytes(buffer, value);
    }
    return ODD;
}

static int
is_made_of(const uint64_t letters[2], const Value *value)
{
    for (uint32_t at = 0; at < value->n; at++) {
        uint8_t c = value->of.bytes[at];
        if (c > 127 || !(letters[c >> 6] >> (c & 63) & 1))
            return 0;
    }
    return value->n > 0;
}

static Verdict
put_word(Buffer *buffer, const Column *column, const Value *value)
{
    TRY(check_utf8(value, (size_t)column->most));
    if (is_made_of(column->letters, value))
        return put_bytes(buffer, value);
    PyObject *has = PyObject_CallFunction(column->known, "s#", value->of.bytes, (Py_ssize_t)value->n);
    if (has == NULL)
        return FAILED;
    int is = has != Py_None;
    Py_DECREF(has);
    return is ? put_bytes(buffer, value) : ODD;
}

static Verdict
put_uuid(Buffer *buffer, const Value *value)
{
    uint8_t bytes[UUID_BYTES];
    if (value->type != TEXT)
        return ODD;
    TRY(parse_uuid(value->of.bytes, value->n, bytes));
    TRY(put_number(buffer, UUID_BYTES, 4));
    return put(buffer, bytes, UUID_BYTES);
}

static Verdict
put_integer(Buffer *buffer, const Column *column, const Value *value, int n)
{
    if (value->type != INTEGER || value->of.integer < column->least || value->of.integer > column->most)
        return ODD;
    return put_fixed(buffer, (uint64_t)value->of.integer, n);
}

/* A character that JSON escapes, spelled as msgspec does. */
static Verdict
put_escaped(Buffer *buffer, uint8_t c)
{
    static const char digits[] = "0123456789abcdef", controls[] = "\b\t\n\f\r", names[] = "btnfr";
    if (c >= ' ') {
        const char spelled[] = {'\\', (char)c};
        return put(buffer, spelled, sizeof spelled);
    }
    const char *control = strchr(controls, c);
    if (control != NULL) {
        const char spelled[] = {'\\', names[control - controls]};
        return put(buffer, spelled, sizeof spelled);
    }
    const char spelled[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 0xf]};
    return put(buffer, spelled, sizeof spelled);
}

/* A text of JSON, where an empty one may have to be mended. */
Verdict
put_json_text(Buffer *buffer, const Value *value, size_t most)
{
    TRY(check_utf8(value, most));
    const uint8_t *text = value->of.bytes;
    size_t from = 0;
    if (value->n == 0)
        return ODD;
    TRY(put(buffer, "\"", 1));
    for (size_t at = 0; at < value->n; at++) {
        if (text[at] >= ' ' && text[at] != '"' && text[at] != '\\')
            continue;
        TRY(put(buffer, text + from, at - from));
        TRY(put_escaped(buffer, text[at]));
        from = at + 1;
    }
    TRY(put(buffer, text + from, value->n - from));
    return put(buffer, "\"", 1);
}

/* Begin a column of jsonb; end_column() says how long it became. */
Verdict
begin_json(Buffer *buffer, size_t *start)
{
    *start = buffer->size;
    return put(buffer, "\0\0\0\0\1", 5);
}

Verdict
end_column(Buffer *buffer, size_t start)
{
    size_t n = buffer->size - start - 4;
    if (n > INT32_MAX)
        return ODD;
    write_big_endian(buffer->data + start, n, 4);
    return TAKEN;
}

static Verdict
put_json_texts(Buffer *buffer, const Limits *limits, const Value *list)
{
    size_t start;
    if (list->type != LIST || list->n > limits->items)
        return ODD;
    Reader items = items_of(list);
    TRY(begin_json(buffer, &start));
    TRY(put(buffer, "[", 1));
    for (size_t each = 0; each < list->n; each++) {
        Value item;
        TRY(read_item(&items, &item));
        if (each)
            TRY(put(buffer, ",", 1));
        TRY(put_json_text(buffer, &item, limits->text));
    }
    TRY(put(buffer, "]", 1));
    return end_column(buffer, start);
}

/* Begin a column of text[], one-dimensional; source of the form: array_send() of Postgres. */
Verdict
begin_texts(Buffer *buffer, size_t n, size_t *start)
{
    *start = buffer->size;
    TRY(put_number(buffer, 0, 4));
    TRY(put_number(buffer, n > 0, 4)); /* dimensions */
    TRY(put_number(buffer, 0, 4));
    TRY(put_number(buffer, TEXT_OID, 4));
    if (n == 0)
        return TAKEN;
    TRY(put_number(buffer, n, 4));
    return put_number(buffer, 1, 4); /* the first subscript */
}

/* A text of that column, where an empty one may have to be mended. */
Verdict
put_item(Buffer *buffer, const Value *value, size_t most)
{
    TRY(put_text(buffer, value, most));
    return value->n > 0 ? TAKEN : ODD;
}

static Verdict
put_texts(Buffer *buffer, const Limits *limits, const Value *list)
{
    size_t start;
    if (list->type != LIST || list->n > limits->items)
        return ODD;
    Reader items = items_of(list);
    TRY(begin_texts(buffer, list->n, &start));
    for (size_t each = 0; each < list->n; each++) {
        Value item;
        TRY(read_item(&items, &item));
        TRY(put_item(buffer, &item, limits->text));
    }
    return end_column(buffer, start);
}

Verdict
put_column(Buffer *buffer, const Column *column, const Limits *limits, const Value *value)
{
    if (value->type == NIL) {
        size_t n = (size_t)PyBytes_GET_SIZE(column->missing);
        return n == 0 ? ODD : put(buffer, PyBytes_AS_STRING(column->missing), n);
    }
    switch (column->kind) {
    case 't':
        return put_text(buffer, value, (size_t)column->most);
    case 'w':
        return put_word(buffer, column, value);
    case 'l':
        return put_label(buffer, column, value);
    case 'u':
        return put_uuid(buffer, value);
    case 'i':
        return put_integer(buffer, column, value, 4);
    case 'q':
        return put_integer(buffer, column, value, 8);
    case 'b':
        return put_boolean(buffer, value);
    case 'j':
        return put_json_texts(buffer, limits, value);
    case 'a':
        return put_texts(buffer, limits, value);
    default: /* a kind that is left to Python */
        return ODD;
    }
}
