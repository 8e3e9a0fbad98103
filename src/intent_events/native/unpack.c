// SPDX-License-Identifier: Apache-2.0
/* Values of a payload, where they stand: nothing is copied. Source: the specification of msgpack. */

#include "native.h"

static const uint8_t *
take(Reader *reader, size_t n)
{
    if (n > (size_t)(reader->end - reader->at))
        return NULL;
    const uint8_t *bytes = reader->at;
    reader->at += n;
    return bytes;
}

static Verdict
read_bits(Reader *reader, int n, uint64_t *bits)
{
    const uint8_t *bytes = take(reader, (size_t)n);
    if (bytes == NULL)
        return ODD;
    *bits = 0;
    for (int at = 0; at < n; at++)
        *bits = *bits << 8 | bytes[at];
    return TAKEN;
}

static Verdict
read_bytes(Reader *reader, Value *value, Type type, uint64_t n)
{
    value->type = type;
    value->n = (uint32_t)n;
    value->of.bytes = take(reader, (size_t)n);
    return value->of.bytes == NULL ? ODD : TAKEN;
}

/* A number of n bytes; one beyond those of int64_t is left to Python. */
static Verdict
read_integer(Reader *reader, Value *value, int n, int is_signed)
{
    uint64_t bits;
    TRY(read_bits(reader, n, &bits));
    uint64_t sign = (uint64_t)1 << (8 * n - 1);
    if (!is_signed && n == 8 && bits & sign)
        return ODD;
    value->type = INTEGER;
    value->of.integer = (int64_t)(is_signed ? (bits ^ sign) - sign : bits);
    return TAKEN;
}

/* A value that is no list, or how many items a list has. */
static inline Verdict
read_head(Reader *reader, Value *value)
{
    const uint8_t *first = take(reader, 1);
    if (first == NULL)
        return ODD;
    uint8_t head = *first;
    uint64_t bits;
    if (head <= 0x7f || head >= 0xe0) {
        value->type = INTEGER;
        value->of.integer = head <= 0x7f ? head : head - 0x100;
        return TAKEN;
    }
    if (head >= 0xa0 && head <= 0xbf)
        return read_bytes(reader, value, TEXT, head & 0x1f);
    if (head >= 0x90 && head <= 0x9f) {
        value->type = LIST;
        value->n = head & 0xf;
        return TAKEN;
    }
    switch (head) {
    case 0xc0:
        value->type = NIL;
        return TAKEN;
    case 0xc2:
    case 0xc3:
        value->type = BOOLEAN;
        value->of.integer = head & 1;
        return TAKEN;
    case 0xc4:
        TRY(read_bits(reader, 1, &bits));
        return read_bytes(reader, value, BYTES, bits);
    case 0xcb:
        TRY(read_bits(reader, 8, &bits));
        value->type = NUMBER;
        memcpy(&value->of.number, &bits, sizeof bits);
        return TAKEN;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_integer(reader, value, 1 << (head - 0xcc), 0);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_integer(reader, value, 1 << (head - 0xd0), 1);
    case 0xd9:
    case 0xda:
    case 0xdb:
        TRY(read_bits(reader, 1 << (head - 0xd9), &bits));
        return read_bytes(reader, value, TEXT, bits);
    case 0xdc:
        TRY(read_bits(reader, 2, &bits));
        value->type = LIST;
        value->n = (uint32_t)bits;
        return TAKEN;
    default: /* none that an utterance is spooled with */
        return ODD;
    }
}

/* How many values a payload has. */
Verdict
read_length(Reader *reader, size_t *n)
{
    Value list;
    TRY(read_head(reader, &list));
    *n = list.n;
    return list.type == LIST ? TAKEN : ODD;
}

/* An item of a list, which is no list itself. */
Verdict
read_item(Reader *reader, Value *value)
{
    TRY(read_head(reader, value));
    return value->type == LIST ? ODD : TAKEN;
}

/* The items of a list. */
Reader
items_of(const Value *list)
{
    return (Reader){list->of.bytes, list->end};
}

/* A value; a list is passed over to its end, so that its items can be read without a fault. */
Verdict
read_value(Reader *reader, Value *value)
{
    TRY(read_head(reader, value));
    if (value->type != LIST)
        return TAKEN;
    Value item;
    value->of.bytes = reader->at;
    for (uint32_t each = 0; each < value->n; each++)
        TRY(read_item(reader, &item));
    value->end = reader->at;
    return TAKEN;
}

/* Whether there are bytes that are zero, or that are not ASCII. */
static void
look_at(const uint8_t *bytes, size_t n, int *is_zero, int *is_high)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t zero = 0, high = 0, word;
    for (; n >= sizeof word; bytes += sizeof word, n -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        zero |= (word - ones) & ~word & highs;
        high |= word & highs;
    }
    for (; n > 0; bytes++, n--) {
        zero |= *bytes == 0;
        high |= *bytes & 0x80;
    }
    *is_zero = zero != 0;
    *is_high = high != 0;
}

/* Whether a value is a text that Postgres takes, of at most so many characters. */
Verdict
check_utf8(const Value *value, size_t most)
{
    int is_zero, is_high;
    if (value->type != TEXT)
        return ODD;
    look_at(value->of.bytes, value->n, &is_zero, &is_high);
    if (is_zero)
        return ODD;
    if (!is_high)
        return value->n <= most ? TAKEN : ODD;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)value->of.bytes, (Py_ssize_t)value->n, NULL);
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return FAILED;
        PyErr_Clear();
        return ODD;
    }
    Verdict verdict = (size_t)PyUnicode_GET_LENGTH(text) <= most ? TAKEN : ODD;
    Py_DECREF(text);
    return verdict;
}
