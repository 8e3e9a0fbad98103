// SPDX-License-Identifier: Apache-2.0
/* Attributes of the span of an utterance, of the values of its trace. */

#include "native.h"

#include <math.h>

typedef struct {
    Py_ssize_t text, items, candidates; /* characters of a text, items of a list, candidates of a list */
    Py_ssize_t together, so_far;        /* bytes of all texts: the most, and those seen */
} Bounds;

/* Whether a text is one that every SDK and Postgres take as it is: no NUL, no lone surrogate. */
static Verdict
check_text(PyObject *value, Bounds *bounds)
{
    const char *text;
    Py_ssize_t n;
    if (!PyUnicode_CheckExact(value) || PyUnicode_GetLength(value) > bounds->text)
        return ODD;
    TRY(read_utf8(value, &text, &n));
    bounds->so_far += n;
    return bounds->so_far <= bounds->together ? TAKEN : ODD;
}

/* The same of an item of a list, where an empty one may have to be mended. */
static Verdict
check_item(PyObject *value, Bounds *bounds)
{
    TRY(check_text(value, bounds));
    return PyUnicode_GetLength(value) > 0 ? TAKEN : ODD;
}

static Verdict
check_items(PyObject *values, Bounds *bounds)
{
    if (PyTuple_GET_SIZE(values) > bounds->items)
        return ODD;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(values); at++)
        TRY(check_item(PyTuple_GET_ITEM(values, at), bounds));
    return TAKEN;
}

static Verdict
set_item(PyObject *attributes, PyObject *key, PyObject *value)
{
    return PyDict_SetItem(attributes, key, value) < 0 ? FAILED : TAKEN;
}

/* The same, for a value that is new. */
static Verdict
give_item(PyObject *attributes, PyObject *key, PyObject *value)
{
    if (value == NULL)
        return FAILED;
    Verdict verdict = set_item(attributes, key, value);
    Py_DECREF(value);
    return verdict;
}

/* A value whose text has a shape; extra says whether it has. */
static Verdict
take_shaped(PyObject *attributes, PyObject *key, PyObject *extra, PyObject *value, Bounds *bounds)
{
    TRY(check_text(value, bounds));
    PyObject *has = PyObject_CallOneArg(extra, value);
    if (has == NULL)
        return FAILED;
    int is = has != Py_None;
    Py_DECREF(has);
    return is ? set_item(attributes, key, value) : ODD;
}

static Verdict
take_uuid(PyObject *attributes, PyObject *key, PyObject *extra, PyObject *value)
{
    uint8_t bytes[UUID_BYTES];
    if ((PyObject *)Py_TYPE(value) == extra)
        return give_item(attributes, key, spell_uuid(NULL, value));
    TRY(read_uuid(value, bytes));
    return set_item(attributes, key, value);
}

/* A label; a member of an enumeration becomes the plain text of it. */
static Verdict
take_label(PyObject *attributes, PyObject *key, PyObject *known, PyObject *value)
{
    if (!PyAnySet_Check(known)) {
        PyErr_SetString(PyExc_TypeError, "plain_attributes: a label needs the set of those that are known");
        return FAILED;
    }
    if (!PyUnicode_Check(value))
        return ODD;
    PyObject *spelled = PyUnicode_FromObject(value);
    if (spelled == NULL)
        return FAILED;
    int is = PySet_Contains(known, spelled);
    if (is != 1) {
        Py_DECREF(spelled);
        return is < 0 ? FAILED : ODD;
    }
    return give_item(attributes, key, spelled);
}

static Verdict
take_list(PyObject *attributes, PyObject *key, PyObject *value, Bounds *bounds)
{
    if (!PyList_CheckExact(value) || PyList_GET_SIZE(value) > bounds->items)
        return ODD;
    PyObject *items = PyList_AsTuple(value); /* nobody else can change it from now on */
    if (items == NULL)
        return FAILED;
    Verdict verdict = check_items(items, bounds);
    if (verdict != TAKEN) {
        Py_DECREF(items);
        return verdict;
    }
    return give_item(attributes, key, items);
}

/* One column of a list of candidates as a tuple; NULL with an exception when memory runs out. */
static PyObject *
column_of(PyObject *candidates, Py_ssize_t which)
{
    Py_ssize_t n = PyList_GET_SIZE(candidates);
    PyObject *column = PyTuple_New(n);
    for (Py_ssize_t at = 0; column != NULL && at < n; at++)
        PyTuple_SET_ITEM(column, at, Py_NewRef(PyTuple_GET_ITEM(PyList_GET_ITEM(candidates, at), which)));
    return column;
}

static Verdict
check_candidates(PyObject *candidates, PyObject *type, Bounds *bounds, int *with_sources)
{
    Py_ssize_t known = 0, n = PyList_GET_SIZE(candidates);
    for (Py_ssize_t at = 0; at < n; at++) {
        PyObject *each = PyList_GET_ITEM(candidates, at);
        if ((PyObject *)Py_TYPE(each) != type || !PyTuple_Check(each) || PyTuple_GET_SIZE(each) != 3)
            return ODD;
        PyObject *score = PyTuple_GET_ITEM(each, 1), *source = PyTuple_GET_ITEM(each, 2);
        TRY(check_item(PyTuple_GET_ITEM(each, 0), bounds));
        if (!PyFloat_CheckExact(score) || !isfinite(PyFloat_AS_DOUBLE(score)))
            return ODD;
        if (source != Py_None) {
            TRY(check_text(source, bounds));
            known++;
        }
    }
    *with_sources = known == n;
    return known == 0 || known == n ? TAKEN : ODD;
}

/* Parallel arrays of a list of candidates; extra is (type of one, keys of verbs, scores, sources and total). */
static Verdict
take_candidates(PyObject *attributes, PyObject *extra, PyObject *value, Bounds *bounds)
{
    if (!PyList_CheckExact(value) || !PyTuple_CheckExact(extra) || PyTuple_GET_SIZE(extra) != 5)
        return ODD;
    PyObject *first = PyList_GetSlice(value, 0, bounds->candidates); /* ours alone */
    if (first == NULL)
        return FAILED;
    Py_ssize_t total = PyList_GET_SIZE(value), n = PyList_GET_SIZE(first);
    int with_sources = 0;
    Verdict verdict = n ? check_candidates(first, PyTuple_GET_ITEM(extra, 0), bounds, &with_sources) : ODD;
    if (verdict == TAKEN)
        verdict = give_item(attributes, PyTuple_GET_ITEM(extra, 1), column_of(first, 0));
    if (verdict == TAKEN)
        verdict = give_item(attributes, PyTuple_GET_ITEM(extra, 2), column_of(first, 1));
    if (verdict == TAKEN && with_sources)
        verdict = give_item(attributes, PyTuple_GET_ITEM(extra, 3), column_of(first, 2));
    if (verdict == TAKEN)
        verdict = give_item(attributes, PyTuple_GET_ITEM(extra, 4), PyLong_FromSsize_t(total > n ? total : n));
    Py_DECREF(first);
    return verdict;
}

static Verdict
take(PyObject *attributes, PyObject *field, PyObject *value, Bounds *bounds)
{
    PyObject *kind = PyTuple_GET_ITEM(field, 0), *key = PyTuple_GET_ITEM(field, 1), *extra = PyTuple_GET_ITEM(field, 2);
    if (value == Py_None)
        return TAKEN;
    switch (PyBytes_AS_STRING(kind)[0]) {
    case 't':
        TRY(check_text(value, bounds));
        return set_item(attributes, key, value);
    case 's':
        return take_shaped(attributes, key, extra, value, bounds);
    case 'u':
        return take_uuid(attributes, key, extra, value);
    case 'l':
        return take_label(attributes, key, extra, value);
    case 'b':
        return value == Py_True || value == Py_False ? set_item(attributes, key, value) : ODD;
    case 'j':
        return take_list(attributes, key, value, bounds);
    case 'c':
        return take_candidates(attributes, extra, value, bounds);
    default: /* a value that there must not be */
        return ODD;
    }
}

const char plain_attributes_doc[] = PyDoc_STR(
"plain_attributes(fields, bounds, values) -> dict[str, Any] | None\n"
"\n"
"Attributes of the values of a trace; None when any of them is left to the Python code.\n"
"\n"
"fields has (kind, key, extra) of each value; bounds is (characters of a text, items of a list, candidates of a list,\n"
"bytes of all texts).");

PyObject *
plain_attributes(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *fields, *values;
    Bounds bounds = {0};
    if (!PyArg_ParseTuple(args, "O!(nnnn)O!:plain_attributes", &PyTuple_Type, &fields, &bounds.text, &bounds.items,
                          &bounds.candidates, &bounds.together, &PyTuple_Type, &values))
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(fields);
    if (PyTuple_GET_SIZE(values) != n) {
        PyErr_SetString(PyExc_ValueError, "plain_attributes: the values do not fit the fields");
        return NULL;
    }
    PyObject *attributes = PyDict_New();
    if (attributes == NULL)
        return NULL;
    for (Py_ssize_t at = 0; at < n; at++) {
        PyObject *field = PyTuple_GET_ITEM(fields, at);
        if (!PyTuple_CheckExact(field) || PyTuple_GET_SIZE(field) != 3 || !PyBytes_CheckExact(PyTuple_GET_ITEM(field, 0))) {
            PyErr_SetString(PyExc_TypeError, "plain_attributes: a field is (kind, key, extra)");
            Py_DECREF(attributes);
            return NULL;
        }
        Verdict verdict = take(attributes, field, PyTuple_GET_ITEM(values, at), &bounds);
        if (verdict != TAKEN) {
            Py_DECREF(attributes);
            return verdict == ODD ? Py_NewRef(Py_None) : NULL;
        }
    }
    return attributes;
}
