/* Exact evaluation of ONNX TreeEnsemble nodes (ai.onnx.ml, opset 5): the interface of the shared object.
 *
 * Sums are added up tree by tree in the model's order, in the model's type, so they are the same bits as ONNX Runtime's on one
 * thread. Whatever a model says, nothing outside its arrays is read and every walk ends: trees_build checks all of it.
 */

#ifndef TREES_H
#define TREES_H

#include <stdint.h>

#define TREES_INTERFACE 4 /* what callers compare before they call anything else */

enum { TREES_OK = 0, TREES_REFUSED = 1, TREES_NO_MEMORY = 2, TREES_BAD_CODE = -1 };
enum { TREES_DOUBLE = 0, TREES_MIXED = 1, TREES_SINGLE = 2 };
enum { TREES_SUBTRACT, TREES_DIVIDE, TREES_MULTIPLY, TREES_ADD, TREES_FILL, TREES_SINGLE_PRECISION };
enum { TREES_MOST_COLUMNS = 1 << 20 };

/* The node's attributes, as the operator's specification names them; borrowed while trees_build runs. */
typedef struct {
    int64_t n_nodes, n_leaves, n_trees, n_targets, n_features;
    const int64_t *roots;        /* (n_trees,) */
    const int64_t *feature;      /* (n_nodes,) like the five below */
    const int64_t *true_node, *false_node, *true_leaf, *false_leaf, *missing_true;
    const int64_t *leaf_target;  /* (n_leaves,) */
    const void *split, *weight;  /* (n_nodes,), (n_leaves,) of double if wide, of float otherwise */
    int32_t wide;
    int32_t single;              /* rows were rounded to float, whatever the splits are */
    int32_t strict;              /* x < split goes left instead of x <= split */
} TreesSource;

/* How the ensemble's columns come from numbers and from codes of texts; borrowed while trees_build runs. */
typedef struct {
    int32_t n_numbers, n_texts;
    int64_t n_steps, n_table_values;
    const int32_t *sources;      /* (n_features,): number column, or -1 - text column */
    const int64_t *first_steps;  /* (n_features + 1,): of a number column, into the two below */
    const int32_t *operations;   /* (n_steps,) */
    const double *constants;     /* (n_steps,) */
    const int64_t *first_values; /* (n_features,): of a text column, into tables */
    const double *tables;        /* (n_table_values,): a value per code */
    const int64_t *n_codes;      /* (n_texts,) */
} TreesProgram;

typedef struct Ensemble Ensemble;

int32_t trees_interface(void);

/* Build an ensemble; a program or NULL. With a divisor sums become means and labels are named. trees_free frees it. */
int trees_build(const TreesSource *source, const TreesProgram *program, double divisor, Ensemble **built);

/* An ensemble's arrays without its program as one block of bytes, for other processes: how many bytes, and writing them. */
int64_t trees_image_bytes(const Ensemble *trees);
void trees_write_image(const Ensemble *trees, void *image);

/* Build an ensemble on such a block, which begins at a multiple of 8 and must outlive it. Of the source only n_features,
 * n_targets, wide and single are read; a block of other trees, or one that would lead outside itself, is refused. */
int trees_open_image(const void *image, int64_t n_bytes, const TreesSource *source, const TreesProgram *program, double divisor,
                     Ensemble **built);

/* Evaluate rows: (n_rows, n_numbers) of double and (n_rows, n_texts) codes with a program, (n_rows, n_features) of the type
 * that is compared without. Writes sums (n_rows, n_targets) and, with a divisor, labels (n_rows,) unless NULL. */
int trees_run(const Ensemble *trees, const void *rows, const int64_t *codes, int64_t n_rows, void *sums, int64_t *labels);

void trees_free(Ensemble *trees);

/* Decode the integers (field 8) of a serialized AttributeProto; returns how many there are, or -1. Without values it counts. */
int64_t trees_read_integers(const uint8_t *message, int64_t n_bytes, int64_t *values, int64_t room);

#endif
