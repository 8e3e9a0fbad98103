// SPDX-License-Identifier: Apache-2.0
/* The payload of a record in the spool: a msgpack array. Source: the specification of msgpack. */

#include "native.h"

#define LONGEST_HEAD 9 /* bytes of the longest that stands before the bytes of a value, and of the longest number */

/* The array while it is packed; small ones need no memory but this. */
typedef struct {
    uint8_t *at, *end, *data;
    uint8_t here[4096];
} Packer;

static Verdict
grow(Packer *packer, size_t more)
{
    size_t size = (size_t)(packer->at - packer->data), room = 2 * (size + more);
    uint8_t *data = packer->data == packer->here ? NULL : packer->data;
    if (more > PY_SSIZE_T_MAX / 2 - size) {
        PyErr_NoMemory();
        return FAILED;
    }
    data = PyMem_Realloc(data, room);
    if (data == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    if (packer->data == packer->here)
        memcpy(data, packer->here, size);
    packer->data = data;
    packer->at = data + size;
    packer->end = data + room;
    return TAKEN;
}

static inline Verdict
make_room(Packer *packer, size_t more)
{
    return (size_t)(packer->end - packer->at) >= more ? TAKEN : grow(packer, more);
}

/* A head and n bytes of a number; there must be room. */
static inline void
write_number(Packer *packer, int head, uint64_t number, int n)
{
    *packer->at++ = (uint8_t)head;
    for (int shift = 8 * (n - 1); shift >= 0; shift -= 8)
        *packer->at++ = (uint8_t)(number >> shift);
}

static inline Verdict
pack_text(Packer *packer, PyObject *value)
{
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(value, &n);
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) /* a lone surrogate */
            return FAILED;
        PyErr_Clear();
        return ODD;
    }
    size_t size = (size_t)n;
    TRY(make_room(packer, LONGEST_HEAD + size));
    if (size < 32)
        *packer->at++ = (uint8_t)(0xa0 | size);
    else if (size <= UINT8_MAX)
        write_number(packer, 0xd9, size, 1);
    else if (size <= UINT16_MAX)
        write_number(packer, 0xda, size, 2);
    else if (size <= UINT32_MAX)
        write_number(packer, 0xdb, size, 4);
    else
        return ODD;
    memcpy(packer->at, text, size);
    packer->at += size;
    return TAKEN;
}

static Verdict
pack_integer(Packer *packer, PyObject *value)
{
    int64_t number;
    TRY(read_int64(value, &number));
    TRY(make_room(packer, LONGEST_HEAD));
    uint64_t bits = (uint64_t)number;
    if (number >= -32 && number <= INT8_MAX)
        *packer->at++ = (uint8_t)bits;
    else if (number >= 0 && number <= UINT8_MAX)
        write_number(packer, 0xcc, bits, 1);
    else if (number >= 0 && number <= UINT16_MAX)
        write_number(packer, 0xcd, bits, 2);
    else if (number >= 0 && number <= UINT32_MAX)
        write_number(packer, 0xce, bits, 4);
    else if (number >= 0)
        write_number(packer, 0xcf, bits, 8);
    else if (number >= INT8_MIN)
        write_number(packer, 0xd0, bits, 1);
    else if (number >= INT16_MIN)
        write_number(packer, 0xd1, bits, 2);
    else if (number >= INT32_MIN)
        write_number(packer, 0xd2, bits, 4);
    else
        write_number(packer, 0xd3, bits, 8);
    return TAKEN;
}

static Verdict
pack_bytes(Packer *packer, PyObject *value)
{
    size_t size = (size_t)PyBytes_GET_SIZE(value);
    if (size > UINT8_MAX)
        return ODD;
    TRY(make_room(packer, LONGEST_HEAD + size));
    write_number(packer, 0xc4, size, 1);
    memcpy(packer->at, PyBytes_AS_STRING(value), size);
    packer->at += size;
    return TAKEN;
}

static inline Verdict
pack_single(Packer *packer, PyObject *value)
{
    if (PyUnicode_CheckExact(value))
        return pack_text(packer, value);
    if (PyFloat_CheckExact(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        TRY(make_room(packer, LONGEST_HEAD));
        write_number(packer, 0xcb, bits, 8);
        return TAKEN;
    }
    if (value != Py_None && value != Py_True && value != Py_False)
        return PyBytes_CheckExact(value) ? pack_bytes(packer, value) : pack_integer(packer, value);
    TRY(make_room(packer, 1));
    *packer->at++ = value == Py_None ? 0xc0 : value == Py_True ? 0xc3 : 0xc2;
    return TAKEN;
}

static Verdict
pack_length(Packer *packer, Py_ssize_t n)
{
    TRY(make_room(packer, LONGEST_HEAD));
    if (n < 16)
        *packer->at++ = (uint8_t)(0x90 | n);
    else if (n <= UINT16_MAX)
        write_number(packer, 0xdc, (uint64_t)n, 2);
    else
        return ODD;
    return TAKEN;
}

static Verdict
pack_value(Packer *packer, PyObject *value)
{
    if (!PyTuple_CheckExact(value))
        return pack_single(packer, value);
    Py_ssize_t n = PyTuple_GET_SIZE(value);
    TRY(pack_length(packer, n));
    for (Py_ssize_t at = 0; at < n; at++)
        TRY(pack_single(packer, PyTuple_GET_ITEM(value, at)));
    return TAKEN;
}

static Verdict
pack_all(Packer *packer, PyObject *head, PyObject *keys, PyObject *attributes)
{
    Py_ssize_t first = PyTuple_GET_SIZE(head), more = PyTuple_GET_SIZE(keys);
    TRY(pack_length(packer, first + more));
    for (Py_ssize_t at = 0; at < first; at++)
        TRY(pack_value(packer, PyTuple_GET_ITEM(head, at)));
    for (Py_ssize_t at = 0; at < more; at++) {
        PyObject *value = PyDict_GetItemWithError(attributes, PyTuple_GET_ITEM(keys, at));
        if (value == NULL) {
            if (PyErr_Occurred())
                return FAILED;
            value = Py_None;
        }
        TRY(pack_value(packer, value));
    }
    return TAKEN;
}

const char pack_payload_doc[] = PyDoc_STR(
"pack_payload(head, keys, attributes) -> bytes | None\n"
"\n"
"msgpack of the array (*head, *map(attributes.get, keys)); None when a value is left to the Python code.");

PyObject *
pack_payload(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    if (n != 3 || !PyTuple_CheckExact(args[0]) || !PyTuple_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "pack_payload: needs a tuple of values, a tuple of keys and a dictionary");
        return NULL;
    }
    if (!PyDict_CheckExact(args[2])) /* what stands for one may be foreign code */
        return Py_NewRef(Py_None);
    Packer packer;
    packer.at = packer.data = packer.here;
    packer.end = packer.here + sizeof packer.here;
    PyObject *payload = NULL;
    Verdict verdict = pack_all(&packer, args[0], args[1], args[2]);
    if (verdict == TAKEN)
        payload = PyBytes_FromStringAndSize((const char *)packer.data, packer.at - packer.data);
    else if (verdict == ODD)
        payload = Py_NewRef(Py_None);
    if (packer.data != packer.here)
        PyMem_Free(packer.data);
    return payload;
}
