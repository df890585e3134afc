/* Reads plain tables in JSON, see table.h for what callers give and get. */

#include "table.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST FLT_MAX                   /* more than that scikit-learn's trees refuse */
#define EXACT_INTEGER 9007199254740991.0  /* 2^53 - 1 */
#define MOST_PROBES 64                    /* of a hash table, before the body is declined: no body can make it slow */
#define MOST_DIGITS 19                    /* that 64 bits surely hold */
#define LONGEST_NUMBER 63
#define STEP_BYTES 32768

typedef struct {
    const char *at, *end;
} Cursor;

static inline void skip_blanks(Cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\r' || *cursor->at == '\t'))
        cursor->at++;
}

static inline int is_digit(char sign) { return sign >= '0' && sign <= '9'; }

/* Skip whole numbers with commas between them; return how many, or -1. */
static int64_t skip_index(Cursor *cursor)
{
    int64_t count = 0;
    for (;; cursor->at++) {
        skip_blanks(cursor);
        const char *start = cursor->at;
        while (cursor->at < cursor->end && is_digit(*cursor->at))
            cursor->at++;
        if (cursor->at == start || (*start == '0' && cursor->at - start > 1))
            return -1;
        count++;
        skip_blanks(cursor);
        if (cursor->at == cursor->end || *cursor->at != ',')
            return count;
    }
}

/* Whether a template stands here; blanks may stand before each of its signs, outside texts. Moves behind it if so. */
static inline int match(Cursor *cursor, const char *template, int64_t *n_indexed)
{
    Cursor own = *cursor;
    int within = 0; /* a text */
    for (; *template; template++) {
        if (!within)
            skip_blanks(&own);
        if (!within && *template == TABLE_INDEX) {
            *n_indexed = skip_index(&own);
            if (*n_indexed < 0)
                return 0;
            continue;
        }
        if (own.at == own.end || *own.at != *template)
            return 0;
        own.at++;
        if (*template == '"')
            within = !within;
        else if (within && *template == '\\') { /* what is escaped ends no text; a template does not end here */
            template++;
            if (own.at == own.end || *own.at != *template)
                return 0;
            own.at++;
        }
    }
    *cursor = own;
    return 1;
}

static int take_word(Cursor *cursor, const char *word, size_t length)
{
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length))
        return 0;
    cursor->at += length;
    return 1;
}

/* Read what strtod reads of a number's text, which must be all of it: with a decimal comma, say, it is not. */
static int read_slowly(const char *start, const char *end, double *value)
{
    char copy[LONGEST_NUMBER + 1], *stop;
    if (end - start > LONGEST_NUMBER)
        return 0;
    memcpy(copy, start, (size_t)(end - start));
    copy[end - start] = 0;
    *value = strtod(copy, &stop);
    return stop == copy + (end - start);
}

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Find digits times ten to some power, rounded once as IEEE 754 says, where that takes one operation; return 0 if not. */
static inline int scale(uint64_t digits, int64_t power, double *value)
{
    if (FLT_EVAL_METHOD == 0 && digits <= UINT64_C(1) << 53 && power >= -22 && power <= 22) { /* both sides are exact */
        *value = power < 0 ? (double)digits / TENS[-power] : (double)digits * TENS[power];
        return 1;
    }
#if LDBL_MANT_DIG == 64 && defined(__x86_64__)
    static const long double LONG_TENS[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
                                            1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
                                            1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
    if (power >= -27 && power <= 27) {
        const long double found = power < 0 ? (long double)digits / LONG_TENS[-power] : (long double)digits * LONG_TENS[power];
        uint64_t bits;
        memcpy(&bits, &found, sizeof bits);
        const uint64_t rest = bits & 0x7ff; /* what float64 has no room for; near the middle a second rounding may err */
        if (rest < 0x3ff || rest > 0x401) {
            *value = (double)found;
            return 1;
        }
    }
#endif
    return 0;
}

/* Read a number as JSON writes it. */
static inline int read_number(Cursor *cursor, double *value)
{
    const char *start = cursor->at, *at = start, *end = cursor->end;
    const int negative = at < end && *at == '-';
    at += negative;
    uint64_t digits = 0;
    const char *first = at;
    for (; at < end && is_digit(*at); at++)
        digits = digits * 10 + (uint64_t)(*at - '0');
    int64_t n_digits = at - first, power = 0;
    if (!n_digits || (*first == '0' && n_digits > 1))
        return 0;
    int is_whole = 1;
    if (at < end && *at == '.') {
        const char *point = ++at;
        for (; at < end && is_digit(*at); at++)
            digits = digits * 10 + (uint64_t)(*at - '0');
        power = point - at;
        if (!power)
            return 0;
        n_digits -= power;
        is_whole = 0;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        is_whole = 0;
        at++;
        const int down = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        int64_t exponent = 0;
        const char *power_first = at;
        for (; at < end && is_digit(*at); at++)
            exponent = exponent < 100000 ? exponent * 10 + (*at - '0') : exponent;
        if (at == power_first)
            return 0;
        power += down ? -exponent : exponent;
    }
    cursor->at = at;
    if (n_digits > MOST_DIGITS || !scale(digits, power, value))
        return read_slowly(start, at, value);
    if (negative && !(is_whole && !digits)) /* -0 is the whole number 0 */
        *value = -*value;
    return 1;
}

static inline int read_value(Cursor *cursor, int32_t kind, double *value)
{
    const char sign = cursor->at < cursor->end ? *cursor->at : 0;
    if (sign == 'n') {
        *value = NAN;
        return (kind & TABLE_GAP) && take_word(cursor, "null", 4);
    }
    if (sign == 't' || sign == 'f') {
        *value = sign == 't';
        return (kind & TABLE_TRUTH) && (sign == 't' ? take_word(cursor, "true", 4) : take_word(cursor, "false", 5));
    }
    if (!(kind & TABLE_NUMBER) || !read_number(cursor, value) || !(fabs(*value) <= LARGEST))
        return 0;
    if ((kind & TABLE_WHOLE) && (*value != floor(*value) || fabs(*value) > EXACT_INTEGER))
        return 0;
    return !(kind & TABLE_ZERO_ONE) || *value == 0 || *value == 1;
}

/* The values of a column of texts: a hash table over where they stand. */
typedef struct {
    int32_t *slots; /* (mask + 1,): 1 + a value's place, 0 where there is none */
    uint64_t mask;
    int64_t *spans;
    int32_t count;
} Values;

/* Return a value's place, a new one if it is not there yet; -1 if that takes too long. */
static int32_t find_value(Values *values, const char *body, int64_t begin, int64_t end, uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    for (int probe = 0; probe < MOST_PROBES; probe++) {
        int32_t *slot = values->slots + ((hash + (uint64_t)probe) & values->mask);
        if (!*slot) {
            values->spans[2 * values->count] = begin;
            values->spans[2 * values->count + 1] = end;
            *slot = ++values->count;
            return values->count - 1;
        }
        const int64_t *known = values->spans + 2 * (int64_t)(*slot - 1);
        if (known[1] - known[0] == end - begin && !memcmp(body + known[0], body + begin, (size_t)(end - begin)))
            return *slot - 1;
    }
    return -1;
}

static inline int read_text(Cursor *cursor, const char *body, int32_t kind, uint64_t seed, Values *values, int32_t *code)
{
    if (cursor->at < cursor->end && *cursor->at == 'n') {
        *code = -1;
        return (kind & TABLE_GAP) && take_word(cursor, "null", 4);
    }
    if (cursor->at == cursor->end || *cursor->at != '"')
        return 0;
    const char *begin = ++cursor->at;
    uint64_t hash = seed;
    for (; cursor->at < cursor->end && *cursor->at != '"'; cursor->at++) {
        if ((unsigned char)*cursor->at < 0x20)
            return 0;
        if (*cursor->at == '\\' && ++cursor->at == cursor->end) /* what is escaped ends no text */
            return 0;
        hash = (hash ^ (unsigned char)*cursor->at) * UINT64_C(0x100000001b3);
    }
    if (cursor->at == cursor->end)
        return 0;
    *code = find_value(values, body, begin - body, cursor->at++ - body, hash);
    return *code >= 0;
}

static int read_row(Cursor *cursor, const TableForm *form, const TableRoom *room, const char *body, Values *values, int64_t row)
{
    const TableShape *shape = room->shape;
    double *number = room->numbers + row * shape->n_numbers;
    int32_t *code = room->codes + row * shape->n_texts;
    int64_t unused;
    for (int32_t column = 0; column < shape->n_columns; column++) {
        if (!match(cursor, form->pieces[column], &unused))
            return 0;
        skip_blanks(cursor);
        const int32_t kind = shape->kinds[column];
        if (!(kind & TABLE_TEXT)) {
            if (!read_value(cursor, kind, number++))
                return 0;
        } else if (!read_text(cursor, body, kind, room->seed, values++, code++))
            return 0;
    }
    return match(cursor, form->pieces[shape->n_columns], &unused);
}

static int64_t read_rows(
    Cursor cursor, const TableForm *form, const TableRoom *room, const char *body, Values *values, int64_t n_indexed)
{
    int64_t n_rows = 0, unused;
    do {
        if (n_rows == room->room)
            return TABLE_FULL;
        if (!read_row(&cursor, form, room, body, values, n_rows))
            return TABLE_DECLINED;
        n_rows++;
    } while (form->is_list && match(&cursor, ",", &unused));
    if (!match(&cursor, form->closing, &n_indexed) || (n_indexed >= 0 && n_indexed != n_rows))
        return TABLE_DECLINED;
    skip_blanks(&cursor);
    return cursor.at == cursor.end ? n_rows : TABLE_DECLINED;
}

int64_t table_count(const char *body, int64_t n_bytes)
{
    int64_t lists = 0, objects = 0;
    for (int64_t first = 0; first < n_bytes; first += STEP_BYTES) { /* few enough for counters of 16 bits, which vectors hold */
        const int64_t end = n_bytes - first < STEP_BYTES ? n_bytes : first + STEP_BYTES;
        uint16_t n_lists = 0, n_objects = 0;
        for (int64_t at = first; at < end; at++) {
            n_lists += body[at] == '[';
            n_objects += body[at] == '{';
        }
        lists += n_lists;
        objects += n_objects;
    }
    return lists > objects ? lists : objects;
}

int64_t table_read(const TableRoom *room, const char *body, int64_t n_bytes)
{
    const TableShape *shape = room->shape;
    const size_t n_texts = (size_t)shape->n_texts;
    if (n_bytes < 0 || room->room < 1 || room->room >= INT32_MAX / 4)
        return TABLE_DECLINED;
    uint64_t n_slots = 4;
    while (n_slots < 2 * (uint64_t)room->room)
        n_slots *= 2;
    Values *values = n_texts ? calloc(n_texts, sizeof *values) : NULL;
    int32_t *slots = n_texts ? calloc(n_texts * n_slots, sizeof *slots) : NULL;
    if (n_texts && (!values || !slots)) {
        free(values);
        free(slots);
        return TABLE_NO_MEMORY;
    }
    int64_t n_rows = TABLE_DECLINED;
    for (int32_t number = 0; number < shape->n_forms && n_rows == TABLE_DECLINED; number++) {
        Cursor cursor = {body, body + n_bytes};
        int64_t n_indexed = -1;
        if (!match(&cursor, shape->forms[number].opening, &n_indexed))
            continue;
        for (size_t text = 0; text < n_texts; text++)
            values[text] = (Values){slots + text * n_slots, n_slots - 1, room->spans + 2 * (size_t)room->room * text, 0};
        n_rows = read_rows(cursor, shape->forms + number, room, body, values, n_indexed);
        if (n_rows < 0 && n_texts)
            memset(slots, 0, n_texts * n_slots * sizeof *slots);
    }
    for (size_t text = 0; text < n_texts; text++)
        room->n_values[text] = values[text].count;
    free(values);
    free(slots);
    return n_rows;
}
