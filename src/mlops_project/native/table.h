/* Plain tables in JSON → numbers and texts, in one pass: part of the interface of the shared object, beside trees.h.
 *
 * Whatever is not as a form says it (another order of keys, a value of another kind) makes the reader
 * decline; callers then read the body with Python, which finds what is wrong with it, if anything is.
 */

#ifndef TABLE_H
#define TABLE_H

#include <stdint.h>

enum { TABLE_DECLINED = -1, TABLE_NO_MEMORY = -2, TABLE_FULL = -3 }; /* the last: there are more rows than room */

/* What a column's values may be; the last three restrict or replace numbers. */
enum {
    TABLE_NUMBER = 1,
    TABLE_GAP = 2,      /* null: NaN, or no text */
    TABLE_TRUTH = 4,    /* true and false: 1 and 0 */
    TABLE_WHOLE = 8,    /* whole numbers that float64 holds exactly */
    TABLE_ZERO_ONE = 16,
    TABLE_TEXT = 32
};

/* How a table stands in JSON: templates, that blanks may stand between the signs of. They are JSON without blanks, in which
 * TABLE_INDEX stands for a list of whole numbers, one for each row. All end with a zero byte. */
enum { TABLE_INDEX = 1 };
typedef struct {
    const char *opening, *closing;
    const char *const *pieces; /* (n_columns + 1,): what stands before each value of a row, and behind the last */
    int32_t is_list;           /* several rows with commas between them, otherwise one */
} TableForm;

typedef struct {
    int32_t n_columns, n_numbers, n_texts, n_forms;
    const int32_t *kinds; /* (n_columns,) */
    const TableForm *forms;
} TableShape;

/* Return how many rows a body has at most: each begins with a bracket. */
int64_t table_count(const char *body, int64_t n_bytes);

/* Where what is read is written to; a caller keeps one for many bodies. */
typedef struct {
    const TableShape *shape;
    uint64_t seed; /* of hashes */
    int64_t room;  /* rows */
    double *numbers;   /* (room, n_numbers) */
    int32_t *codes;    /* (room, n_texts): the place of each text among the values of its column, -1 where it is null */
    int64_t *spans;    /* (n_texts, room, 2): begin and end of these values, without quotes, neither escapes nor UTF-8 checked */
    int32_t *n_values; /* (n_texts,) */
} TableRoom;

/* Read a body; returns the number of rows, or one of the above. */
int64_t table_read(const TableRoom *room, const char *body, int64_t n_bytes);

#endif
