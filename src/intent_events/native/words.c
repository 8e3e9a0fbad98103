// SPDX-License-Identifier: Apache-2.0
/* Masking by words: which are shown, which become their kind. privacy/masking.py says why. */

#include "native.h"

#define MOST_WORDS 256
#define MASKED (-1)

/* When a word of the vocabulary is hidden all the same: bits of its class, which are those of WordClass. */
enum { CONNECTOR = 1, NAME = 2, PLACE = 4, SPOKEN = 8, ALL_CLASSES = 15 };

typedef struct {
    PyObject *words, *capitals, *word, *kind, *name; /* the vocabulary, and whom to ask of what it does not have */
    PyObject *shown;                                 /* a list: each word as it is shown */
    PyObject *compared[MOST_WORDS];                  /* as it is compared, of those that differ; NULL of the others */
    int classes[MOST_WORDS];
    Py_ssize_t n, written;
} Masker;

static PyObject *
shown_at(const Masker *masker, Py_ssize_t at)
{
    return PyList_GET_ITEM(masker->shown, at);
}

static Verdict
show(Masker *masker, Py_ssize_t at, PyObject *word)
{
    return PyList_SetItem(masker->shown, at, Py_NewRef(word)) < 0 ? FAILED : TAKEN;
}

static Verdict
hide(Masker *masker, Py_ssize_t at, PyObject *kind)
{
    masker->classes[at] = MASKED;
    return show(masker, at, kind);
}

static int
is_ascii_alpha(PyObject *token)
{
    if (!PyUnicode_IS_COMPACT_ASCII(token))
        return 0;
    const Py_UCS1 *text = PyUnicode_1BYTE_DATA(token);
    for (Py_ssize_t at = 0; at < PyUnicode_GET_LENGTH(token); at++)
        if ((text[at] | 0x20) < 'a' || (text[at] | 0x20) > 'z')
            return 0;
    return 1;
}

/* Whether a sentence begins behind this word. */
static int
ends_sentence(PyObject *word)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(word);
    if (n == 0)
        return 1;
    Py_UCS4 last = PyUnicode_READ_CHAR(word, n - 1);
    return last == '.' || last == '!' || last == '?';
}

static Verdict
read_class(PyObject *value, int *out)
{
    int64_t number;
    TRY(read_int64(value, &number));
    if (number < 0 || number > ALL_CLASSES || number & SPOKEN)
        return ODD;
    *out = (int)number;
    return TAKEN;
}

/* Ask Python of a word that is not written as the vocabulary has it: (class, as it is shown, as it is compared). */
static Verdict
take_written(Masker *masker, Py_ssize_t at, PyObject *answer)
{
    if (!PyTuple_CheckExact(answer) || PyTuple_GET_SIZE(answer) != 3)
        return ODD;
    PyObject *shown = PyTuple_GET_ITEM(answer, 1), *compared = PyTuple_GET_ITEM(answer, 2);
    if (!PyUnicode_CheckExact(shown) || !PyUnicode_CheckExact(compared))
        return ODD;
    TRY(read_class(PyTuple_GET_ITEM(answer, 0), &masker->classes[at]));
    masker->compared[at] = Py_NewRef(compared);
    masker->written = at;
    return show(masker, at, shown);
}

static Verdict
take_kind(Masker *masker, Py_ssize_t at, PyObject *token)
{
    PyObject *kind = PyObject_CallOneArg(masker->kind, token);
    if (kind == NULL)
        return FAILED;
    Verdict verdict = PyUnicode_CheckExact(kind) ? hide(masker, at, kind) : ODD;
    Py_DECREF(kind);
    return verdict;
}

static Verdict
take_unknown(Masker *masker, Py_ssize_t at, PyObject *token)
{
    int first = at == 0 || (masker->written == at - 1 && ends_sentence(shown_at(masker, at - 1)));
    if (!first && PyUnicode_GET_LENGTH(token) > 1 && is_ascii_alpha(token)) {
        int is_capital = PySet_Contains(masker->capitals, token);
        if (is_capital < 0)
            return FAILED;
        if (!is_capital)
            return hide(masker, at, masker->name);
    }
    PyObject *answer = PyObject_CallFunctionObjArgs(masker->word, token, first ? Py_True : Py_False, NULL);
    if (answer == NULL)
        return FAILED;
    Verdict verdict = answer == Py_None ? take_kind(masker, at, token) : take_written(masker, at, answer);
    Py_DECREF(answer);
    return verdict;
}

static Verdict
take_words(Masker *masker)
{
    for (Py_ssize_t at = 0; at < masker->n; at++) {
        PyObject *token = shown_at(masker, at);
        if (!PyUnicode_CheckExact(token))
            return ODD;
        PyObject *value = PyDict_GetItemWithError(masker->words, token);
        if (value != NULL)
            TRY(read_class(value, &masker->classes[at]));
        else if (PyErr_Occurred())
            return FAILED;
        else
            TRY(take_unknown(masker, at, token));
    }
    return TAKEN;
}

/* Class of a word; 0 on both sides of the text. */
static int
class_at(const Masker *masker, Py_ssize_t at)
{
    return at < 0 || at >= masker->n ? 0 : masker->classes[at];
}

static int
has_class(const Masker *masker, Py_ssize_t at, int classes)
{
    int each = class_at(masker, at);
    return each > 0 && each & classes;
}

static int
is_name(const Masker *masker, PyObject *kind)
{
    return kind == masker->name || PyUnicode_Compare(kind, masker->name) == 0;
}

/* Hide words beside one that is masked which are parts of names and addresses more often than not. */
static Verdict
hide_company_of(Masker *masker, Py_ssize_t at)
{
    PyObject *kind = shown_at(masker, at);
    int near = is_name(masker, kind) ? NAME | PLACE : PLACE | SPOKEN;
    for (Py_ssize_t beside = at - 1; has_class(masker, beside, near); beside--)
        TRY(hide(masker, beside, kind));
    Py_ssize_t beside = at + 1;
    for (; has_class(masker, beside, near); beside++)
        TRY(hide(masker, beside, kind));
    Py_ssize_t behind = beside;
    while (has_class(masker, behind, CONNECTOR))
        behind++;
    if (behind == beside || class_at(masker, behind) != MASKED)
        return TAKEN;
    if (is_name(masker, kind) || is_name(masker, shown_at(masker, behind)))
        for (; beside < behind; beside++)
            TRY(hide(masker, beside, kind));
    return TAKEN;
}

static Verdict
hide_company(Masker *masker)
{
    Py_ssize_t masked[MOST_WORDS], n = 0;
    for (Py_ssize_t at = 0; at < masker->n; at++)
        if (masker->classes[at] == MASKED)
            masked[n++] = at;
    for (Py_ssize_t each = 0; each < n; each++)
        TRY(hide_company_of(masker, masked[each]));
    return TAKEN;
}

/* The words in one line, of those that are masked alike and stand beside each other the first alone. */
static PyObject *
line_of(const Masker *masker, int compared)
{
    PyObject *line = NULL, *space = PyUnicode_FromString(" "), *words = PyList_New(0), *kind = NULL;
    if (space == NULL || words == NULL)
        goto end;
    for (Py_ssize_t at = 0; at < masker->n; at++) {
        PyObject *word = shown_at(masker, at);
        if (masker->classes[at] == MASKED) {
            if (kind != NULL && PyUnicode_Compare(kind, word) == 0)
                continue;
            kind = word;
        }
        else {
            kind = NULL;
            if (compared && masker->compared[at] != NULL)
                word = masker->compared[at];
        }
        if (PyUnicode_GET_LENGTH(word) > 0 && PyList_Append(words, word) < 0)
            goto end;
    }
    line = PyUnicode_Join(space, words);
end:
    Py_XDECREF(words);
    Py_XDECREF(space);
    return line;
}

static PyObject *
both_lines(const Masker *masker)
{
    PyObject *preview = line_of(masker, 0);
    PyObject *template = preview == NULL ? NULL : masker->written < 0 ? Py_NewRef(preview) : line_of(masker, 1);
    PyObject *lines = template == NULL ? NULL : PyTuple_Pack(2, template, preview);
    Py_XDECREF(template);
    Py_XDECREF(preview);
    return lines;
}

const char mask_words_doc[] = PyDoc_STR(
"mask_words(words, capitals, word, kind, name, tokens) -> tuple[str, str] | None\n"
"\n"
"The tokens of a text as its template and as its preview before it is cut; None when they are left to Python.\n"
"\n"
"words has the class of each word of the vocabulary; word(token, first) and kind(token) are asked of all others.");

PyObject *
mask_words(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    if (n != 6 || !PyDict_CheckExact(args[0]) || !PyAnySet_CheckExact(args[1]) || !PyUnicode_CheckExact(args[4])
        || !PyList_CheckExact(args[5])) {
        PyErr_SetString(PyExc_TypeError, "mask_words: needs a dictionary, a set, two functions, a text and a list");
        return NULL;
    }
    Masker masker = {
        .words = args[0], .capitals = args[1], .word = args[2], .kind = args[3], .name = args[4], .written = -1};
    masker.shown = PyList_GetSlice(args[5], 0, MOST_WORDS + 1); /* ours alone */
    if (masker.shown == NULL)
        return NULL;
    masker.n = PyList_GET_SIZE(masker.shown);
    Verdict verdict = masker.n > MOST_WORDS ? ODD : take_words(&masker);
    if (verdict == TAKEN)
        verdict = hide_company(&masker);
    PyObject *lines = NULL;
    if (verdict == TAKEN)
        lines = both_lines(&masker);
    else if (verdict == ODD)
        lines = Py_NewRef(Py_None);
    for (Py_ssize_t at = 0; masker.written >= 0 && at <= masker.written; at++)
        Py_XDECREF(masker.compared[at]);
    Py_DECREF(masker.shown);
    return lines;
}
