// SPDX-License-Identifier: Apache-2.0
/* The candidates of a row: of[0] to of[OF_CANDIDATES - 1] of a payload. Python spells the scores of all rows together. */

#include "native.h"

#include <math.h>

/* A score as a number that can be spelled in JSON. */
static Verdict
read_score(Reader *items, double *number)
{
    Value item;
    TRY(read_item(items, &item));
    if (item.type == INTEGER)
        *number = (double)item.of.integer;
    else if (item.type == NUMBER)
        *number = item.of.number;
    else
        return ODD;
    return isfinite(*number) ? TAKEN : ODD;
}

/* Whether all scores can be spelled in JSON. */
Verdict
check_scores(const Value *of)
{
    double number;
    if (of[SCORES].type != LIST)
        return TAKEN;
    Reader items = items_of(&of[SCORES]);
    for (size_t each = 0; each < of[SCORES].n; each++)
        TRY(read_score(&items, &number));
    return TAKEN;
}

/* Add the scores to a list, to be spelled together. */
Verdict
add_scores(PyObject *scores, const Value *of)
{
    double number;
    if (of[SCORES].type != LIST)
        return TAKEN;
    Reader items = items_of(&of[SCORES]);
    for (size_t each = 0; each < of[SCORES].n; each++) {
        TRY(read_score(&items, &number));
        PyObject *score = PyFloat_FromDouble(number);
        int failed = score == NULL || PyList_Append(scores, score) < 0;
        Py_XDECREF(score);
        if (failed)
            return FAILED;
    }
    return TAKEN;
}

/* The next number of a line "[1.0,2.5]". */
static Verdict
next_number(Reader *line, const uint8_t **number, size_t *n)
{
    *number = line->at;
    while (line->at < line->end && ((*line->at >= '0' && *line->at <= '9') || memchr("+-.eE", *line->at, 5) != NULL))
        line->at++;
    *n = (size_t)(line->at - *number);
    if (*n == 0 || line->at == line->end || (*line->at != ',' && *line->at != ']'))
        return ODD;
    line->at++;
    return TAKEN;
}

/* Pass over the scores of a list. */
void
pass_scores(Reader *line, const Value *of)
{
    const uint8_t *number;
    size_t digits;
    for (size_t each = 0; of[SCORES].type == LIST && each < of[SCORES].n; each++)
        (void)next_number(line, &number, &digits);
}

/* The columns of the candidates and of their number. */
Verdict
put_candidates(Buffer *buffer, const Limits *limits, const Value *of, Reader scores)
{
    const Value *verbs = &of[VERBS], *sources = &of[SOURCES];
    int64_t total = 0;
    if (of[LISTS].type != NIL)
        return ODD;
    if (of[TOTAL].type != NIL) {
        total = of[TOTAL].of.integer;
        if (of[TOTAL].type != INTEGER || total < 0 || total > INT32_MAX)
            return ODD;
    }
    if (verbs->type == NIL) {
        if (of[SCORES].type != NIL || sources->type != NIL)
            return ODD;
        TRY(put_null(buffer));
        return of[TOTAL].type == NIL ? put_null(buffer) : put_fixed(buffer, (uint64_t)total, 4);
    }
    if (verbs->type != LIST || verbs->n > limits->candidates)
        return ODD;
    if (of[SCORES].type != NIL && (of[SCORES].type != LIST || of[SCORES].n != verbs->n))
        return ODD;
    if (sources->type != NIL && (sources->type != LIST || sources->n != verbs->n))
        return ODD;
    Reader verb_items = items_of(verbs), source_items = {NULL, NULL};
    if (sources->type == LIST)
        source_items = items_of(sources);
    size_t start;
    TRY(begin_json(buffer, &start));
    TRY(put(buffer, "[", 1));
    for (size_t each = 0; each < verbs->n; each++) {
        Value item;
        if (each)
            TRY(put(buffer, ",", 1));
        TRY(put(buffer, "{\"verb\":", 8));
        TRY(read_item(&verb_items, &item));
        TRY(put_json_text(buffer, &item, limits->text));
        if (of[SCORES].type != NIL) {
            const uint8_t *number;
            size_t digits;
            TRY(next_number(&scores, &number, &digits));
            TRY(put(buffer, ",\"score\":", 9));
            TRY(put(buffer, number, digits));
        }
        if (sources->type != NIL) {
            TRY(put(buffer, ",\"source\":", 10));
            TRY(read_item(&source_items, &item));
            TRY(put_json_text(buffer, &item, limits->text));
        }
        TRY(put(buffer, "}", 1));
    }
    TRY(put(buffer, "]", 1));
    TRY(end_column(buffer, start));
    return put_fixed(buffer, (uint64_t)total > verbs->n ? (uint64_t)total : verbs->n, 4);
}
