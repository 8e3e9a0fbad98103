// SPDX-License-Identifier: Apache-2.0
/* The module intent_events.native._native. */

#include "native.h"

static PyMethodDef methods[] = {
    {"mask_words", (PyCFunction)(void (*)(void))mask_words, METH_FASTCALL, mask_words_doc},
    {"pack_payload", (PyCFunction)(void (*)(void))pack_payload, METH_FASTCALL, pack_payload_doc},
    {"pack_rows", pack_rows, METH_VARARGS, pack_rows_doc},
    {"plain_attributes", plain_attributes, METH_VARARGS, plain_attributes_doc},
    {"spell_uuid", spell_uuid, METH_O, spell_uuid_doc},
    {NULL, NULL, 0, NULL},
};

/* Of the functions and how they are called: whoever changes that counts on, here and in __init__.py, which asks for it. */
static int
say_form(PyObject *module)
{
    return PyModule_AddIntConstant(module, "form_2", 2);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, say_form},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* what is read is immutable, or a copy of our own */
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "intent_events.native._native",
    .m_doc = "The inner loops of the quick ways, in C. Never needed: without it the Python code does the same.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
