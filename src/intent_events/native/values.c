// SPDX-License-Identifier: Apache-2.0
/* What a Python value is. */

#include "native.h"

#define CANONICAL 36

static int
hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Bytes of a UUID that is spelled with four hyphens. */
Verdict
parse_uuid(const uint8_t *text, size_t n, uint8_t out[UUID_BYTES])
{
    if (n != CANONICAL)
        return ODD;
    for (int at = 0, byte = 0; at < CANONICAL;) {
        if (at == 8 || at == 13 || at == 18 || at == 23) {
            if (text[at++] != '-')
                return ODD;
            continue;
        }
        int high = hex_digit(text[at]), low = hex_digit(text[at + 1]);
        if (high < 0 || low < 0)
            return ODD;
        out[byte++] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return TAKEN;
}

/* The same of a text that stays as it is, so that it must be the canonical spelling, of small letters. */
Verdict
read_uuid(PyObject *value, uint8_t out[UUID_BYTES])
{
    if (!PyUnicode_CheckExact(value) || !PyUnicode_IS_COMPACT_ASCII(value))
        return ODD;
    const uint8_t *text = PyUnicode_1BYTE_DATA(value);
    size_t n = (size_t)PyUnicode_GET_LENGTH(value);
    for (size_t at = 0; at < n; at++)
        if (text[at] >= 'A' && text[at] <= 'F')
            return ODD;
    return parse_uuid(text, n, out);
}

/* Spell 128 bits that stand in two halves. */
static PyObject *
spell_halves(uint64_t upper, uint64_t lower)
{
    static const char digits[] = "0123456789abcdef";
    PyObject *text = PyUnicode_New(CANONICAL, 127);
    if (text == NULL)
        return NULL;
    Py_UCS1 *to = PyUnicode_1BYTE_DATA(text);
    for (int nibble = 0; nibble < 2 * UUID_BYTES; nibble++) {
        if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20)
            *to++ = '-';
        *to++ = (Py_UCS1)digits[(nibble < UUID_BYTES ? upper : lower) >> (60 - 4 * (nibble % UUID_BYTES)) & 15];
    }
    return text;
}

const char spell_uuid_doc[] = PyDoc_STR(
"spell_uuid(value) -> str\n"
"\n"
"The canonical spelling of a UUID, as str() gives it. Raises AttributeError for one that was never made.");

PyObject *
spell_uuid(PyObject *Py_UNUSED(module), PyObject *value)
{
    PyObject *text = NULL, *upper = NULL, *shift = PyLong_FromLong(64), *number = PyObject_GetAttrString(value, "int");
    if (shift != NULL && number != NULL && (upper = PyNumber_Rshift(number, shift)) != NULL) {
        uint64_t high = PyLong_AsUnsignedLongLongMask(upper), low = PyLong_AsUnsignedLongLongMask(number);
        if (!PyErr_Occurred())
            text = spell_halves(high, low);
    }
    Py_XDECREF(upper);
    Py_XDECREF(number);
    Py_XDECREF(shift);
    return text;
}

Verdict
read_utf8(PyObject *value, const char **text, Py_ssize_t *n)
{
    if (!PyUnicode_CheckExact(value))
        return ODD;
    *text = PyUnicode_AsUTF8AndSize(value, n);
    if (*text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) /* a lone surrogate */
            return FAILED;
        PyErr_Clear();
        return ODD;
    }
    return memchr(*text, 0, (size_t)*n) == NULL ? TAKEN : ODD;
}

Verdict
read_int64(PyObject *value, int64_t *out)
{
    int overflow;
    if (!PyLong_CheckExact(value))
        return ODD;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return ODD;
    *out = number;
    return TAKEN;
}
