/* Exact evaluation of ONNX TreeEnsemble nodes, see trees.h for what callers give and get. */

#include "trees.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16     /* rows that go through a tree side by side */
#define VECTOR_BYTES 64
#define TOP_EXITS 32 /* of the part of a tree that is compared as a whole: a bit of an int32_t for each */
#define SURE 6       /* the last steps of a walk are taken without a look whether every row has arrived */
#define FEW_ROWS 4   /* so many are evaluated one by one */
#define UNROLL _Pragma("GCC unroll 16")
#define ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(TREES_ONE_VERSION)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default"))) /* chosen when the object is loaded */
#else
#define CLONES
#endif
#define BLOCK_BYTES (256 << 10)
#define BLOCK_LEAST 64
#define BLOCK_MOST 4096

/* The top of a tree, and where a row goes on from there. */
typedef struct {
    int32_t n_nodes, n_exits;
    int32_t nodes[TOP_EXITS - 1]; /* those that compare */
    uint32_t kept[TOP_EXITS - 1]; /* per node: the exits that are left for a row that goes right */
    int32_t start[TOP_EXITS];     /* per exit, from left to right: the node there */
} Top;

typedef struct {
    Top *top;
    void *nodes;           /* Node of the ensemble's type, children side by side, the root first */
    uint8_t *missing_left; /* per node: whether a missing value goes left */
    void *values;          /* (n_nodes, width) of the ensemble's sums; read at leaves only */
    int32_t *targets;      /* per node: the sum that a leaf adds to; NULL if all leaves add to the same columns */
    int32_t *columns;      /* (width,): these columns */
    int32_t width, n_nodes;
    int32_t depth, whole_depth; /* steps from the top's exits, and from the root, to the deepest leaf */
} Tree;

typedef struct {
    int32_t source; /* number column, or -1 - text column */
    int64_t first_step, n_steps;
    int64_t table; /* of a text column: where its values begin */
} Column;

typedef struct Ensemble {
    Tree *trees;
    int64_t n_trees;
    int32_t n_features, n_targets;
    int type; /* one of TREES_DOUBLE, TREES_MIXED, TREES_SINGLE */
    int32_t n_numbers, n_texts;
    Column *program; /* (n_features,), NULL if rows arrive encoded */
    int32_t *operations;
    double *constants, *tables;
    int64_t *n_codes; /* (n_texts,) */
    double divisor;   /* 0: sums are returned as they are, without labels */
    int borrowed;     /* the trees' arrays are those of an image */
} Ensemble;

#define REAL double
#define TRUTH int64_t
#define SUM double
#define NAME(x) x##_double
#include "walk.h"
#undef REAL
#undef TRUTH
#undef SUM
#undef NAME
#define REAL float
#define TRUTH int32_t
#define SUM double
#define NAME(x) x##_mixed
#include "walk.h"
#undef SUM
#undef NAME
#define SUM float
#define NAME(x) x##_single
#include "walk.h"
#undef REAL
#undef TRUTH
#undef SUM
#undef NAME

/* --- building --------------------------------------------------------------------------------------------------------- */

/* The largest float that is not above x; comparing a float with either decides alike. */
static float round_down(double x)
{
    const float near = (float)x;
    return (double)near > x ? nextafterf(near, -INFINITY) : near;
}

static double split_of(const TreesSource *source, int64_t node)
{
    double split = source->wide ? ((const double *)source->split)[node] : (double)((const float *)source->split)[node];
    if (!source->strict)
        return split;
    if (split == -INFINITY)
        return NAN; /* nothing is below it */
    /* x < split is x <= the number before it, in the type that is compared */
    return source->wide ? nextafter(split, -INFINITY) : (double)nextafterf((float)split, -INFINITY);
}

static double weight_of(const TreesSource *source, int64_t leaf)
{
    return source->wide ? ((const double *)source->weight)[leaf] : (double)((const float *)source->weight)[leaf];
}

static size_t node_size(int type) { return type == TREES_DOUBLE ? sizeof(Node_double) : sizeof(Node_single); }
static size_t real_size(int type) { return type == TREES_DOUBLE ? sizeof(double) : sizeof(float); }
static size_t sum_size(int type) { return type == TREES_SINGLE ? sizeof(float) : sizeof(double); }

static void set_node(void *nodes, int type, int64_t at, double split, int32_t feature, int32_t left)
{
    if (type == TREES_DOUBLE)
        ((Node_double *)nodes)[at] = (Node_double){split, feature, left};
    else
        ((Node_single *)nodes)[at] = (Node_single){round_down(split), feature, left};
}

static void set_value(void *values, int type, int64_t at, double value)
{
    if (type == TREES_SINGLE)
        ((float *)values)[at] = (float)value;
    else
        ((double *)values)[at] = value;
}

static void free_tree(Tree *tree)
{
    free(tree->top);
    free(tree->nodes);
    free(tree->missing_left);
    free(tree->values);
    free(tree->targets);
    free(tree->columns);
    memset(tree, 0, sizeof *tree);
}

void trees_free(Ensemble *trees)
{
    if (!trees)
        return;
    for (int64_t number = 0; number < trees->n_trees; number++)
        if (trees->borrowed)
            free(trees->trees[number].top);
        else
            free_tree(trees->trees + number);
    free(trees->trees);
    free(trees->program);
    free(trees->operations);
    free(trees->constants);
    free(trees->tables);
    free(trees->n_codes);
    free(trees);
}

/* A tree's nodes in the order of their levels: inner ones by their number, leaves as -1 - number. */
typedef struct {
    int64_t *items;
    int64_t count, room;
} Order;

static int push(Order *order, int64_t item)
{
    if (order->count == order->room) {
        const int64_t room = order->room ? 2 * order->room : 256;
        int64_t *items = realloc(order->items, (size_t)room * sizeof *items);
        if (!items)
            return TREES_NO_MEMORY;
        order->items = items;
        order->room = room;
    }
    order->items[order->count++] = item;
    return order->count < INT32_MAX ? TREES_OK : TREES_REFUSED;
}

/* Return a child as an item of the order, or INT64_MIN if there is no such child. */
static int64_t child_of(const TreesSource *source, int64_t node, int yes)
{
    const int64_t number = yes ? source->true_node[node] : source->false_node[node];
    const int is_leaf = (yes ? source->true_leaf[node] : source->false_leaf[node]) != 0;
    if (number < 0 || number >= (is_leaf ? source->n_leaves : source->n_nodes))
        return INT64_MIN;
    return is_leaf ? -1 - number : number;
}

/* List the tree's nodes; every inner node is met once, so this ends, whatever the model says. */
static int list_nodes(const TreesSource *source, int64_t root, uint8_t *met, Order *order)
{
    order->count = 0;
    int status = push(order, root);
    for (int64_t at = 0; at < order->count && status == TREES_OK; at++) {
        const int64_t node = order->items[at];
        if (node < 0)
            continue;
        if (met[node] || source->feature[node] < 0 || source->feature[node] >= source->n_features)
            return TREES_REFUSED;
        met[node] = 1;
        const int64_t yes = child_of(source, node, 1), no = child_of(source, node, 0);
        if (yes == INT64_MIN || no == INT64_MIN)
            return TREES_REFUSED;
        if (yes == no && yes < 0) {
            order->items[at] = yes; /* both answers lead to the same leaf */
            continue;
        }
        status = push(order, yes);
        if (status == TREES_OK)
            status = push(order, no);
    }
    return status;
}

static int32_t left_of(const Tree *tree, int type, int32_t node)
{
    return type == TREES_DOUBLE ? ((Node_double *)tree->nodes)[node].left : ((Node_single *)tree->nodes)[node].left;
}

/* Number the exits under a node from left to right. */
static void number_exits(const Tree *tree, int type, int32_t node)
{
    Top *top = tree->top;
    int32_t number = 0;
    while (number < top->n_nodes && top->nodes[number] != node)
        number++;
    if (number == top->n_nodes) {
        top->start[top->n_exits++] = node;
        return;
    }
    const int32_t left = left_of(tree, type, node), first = top->n_exits;
    number_exits(tree, type, left);
    for (int32_t exit = first; exit < top->n_exits; exit++)
        top->kept[number] &= ~(UINT32_C(1) << exit);
    number_exits(tree, type, left + 1);
}

/* Choose the first nodes as the tree's top, and find how deep it is below. */
static int build_top(Tree *tree, int type)
{
    int32_t *heights = malloc((size_t)tree->n_nodes * sizeof *heights);
    Top *top = tree->top = calloc(1, sizeof *top);
    if (!heights || !top) {
        free(heights);
        return TREES_NO_MEMORY;
    }
    for (int32_t node = 0; node < tree->n_nodes && top->n_nodes < TOP_EXITS - 1; node++)
        if (left_of(tree, type, node) != node) {
            top->kept[top->n_nodes] = UINT32_MAX;
            top->nodes[top->n_nodes++] = node;
        }
    number_exits(tree, type, 0);
    for (int32_t node = tree->n_nodes - 1; node >= 0; node--) {
        const int32_t left = left_of(tree, type, node);
        heights[node] = left == node ? 0 : 1 + (heights[left] > heights[left + 1] ? heights[left] : heights[left + 1]);
    }
    tree->whole_depth = heights[0];
    for (int32_t exit = 0; exit < top->n_exits; exit++)
        tree->depth = heights[top->start[exit]] > tree->depth ? heights[top->start[exit]] : tree->depth;
    free(heights);
    return TREES_OK;
}

static int fill_tree(const TreesSource *source, const Order *order, int type, Tree *tree)
{
    const int64_t n_nodes = order->count;
    tree->n_nodes = (int32_t)n_nodes;
    tree->width = 1;
    tree->nodes = calloc((size_t)n_nodes, node_size(type)); /* padding is compared, too */
    tree->missing_left = malloc((size_t)n_nodes);
    tree->values = calloc((size_t)n_nodes, sum_size(type));
    tree->targets = calloc((size_t)n_nodes, sizeof(int32_t));
    tree->columns = malloc(sizeof(int32_t));
    if (!tree->nodes || !tree->missing_left || !tree->values || !tree->targets || !tree->columns)
        return TREES_NO_MEMORY;
    int32_t next = 1, target = -1;
    int same = 1;
    for (int32_t at = 0; at < n_nodes; at++) {
        const int64_t item = order->items[at];
        if (item >= 0) {
            set_node(tree->nodes, type, at, split_of(source, item), (int32_t)source->feature[item] * LANES, next);
            tree->missing_left[at] = source->missing_true[item] != 0;
            next += 2;
            continue;
        }
        const int64_t leaf = -1 - item;
        if (source->leaf_target[leaf] < 0 || source->leaf_target[leaf] >= source->n_targets)
            return TREES_REFUSED;
        set_node(tree->nodes, type, at, INFINITY, 0, at);
        tree->missing_left[at] = 1;
        tree->targets[at] = (int32_t)source->leaf_target[leaf];
        set_value(tree->values, type, at, weight_of(source, leaf));
        same &= target < 0 || target == tree->targets[at];
        target = tree->targets[at];
    }
    if (same) {
        free(tree->targets);
        tree->targets = NULL;
    }
    tree->columns[0] = target;
    return build_top(tree, type);
}

/* Whether the second tree is the first again, for another target: both are then walked once. */
static int is_twin(const Tree *first, const Tree *second, int type)
{
    if (first->targets || second->targets || first->n_nodes != second->n_nodes)
        return 0;
    for (int32_t column = 0; column < first->width; column++)
        if (first->columns[column] == second->columns[0])
            return 0;
    return !memcmp(first->nodes, second->nodes, (size_t)first->n_nodes * node_size(type)) &&
           !memcmp(first->missing_left, second->missing_left, (size_t)first->n_nodes);
}

/* Append the second tree's values to the first's and free the second. */
static int join_twin(Tree *first, Tree *second, int type)
{
    const size_t size = sum_size(type), width = (size_t)first->width + 1;
    char *values = malloc((size_t)first->n_nodes * width * size);
    int32_t *columns = realloc(first->columns, width * sizeof *columns);
    if (columns)
        first->columns = columns;
    if (!values || !columns) {
        free(values);
        return TREES_NO_MEMORY;
    }
    for (size_t node = 0; node < (size_t)first->n_nodes; node++) {
        memcpy(values + node * width * size, (char *)first->values + node * (width - 1) * size, (width - 1) * size);
        memcpy(values + (node * width + width - 1) * size, (char *)second->values + node * size, size);
    }
    free(first->values);
    first->values = values;
    columns[width - 1] = second->columns[0];
    first->width = (int32_t)width;
    free_tree(second);
    return TREES_OK;
}

static int build_trees(const TreesSource *source, Ensemble *trees)
{
    Order order = {0};
    uint8_t *met = calloc((size_t)source->n_nodes + 1, 1);
    int status = met ? TREES_OK : TREES_NO_MEMORY;
    for (int64_t number = 0; number < source->n_trees && status == TREES_OK; number++) {
        Tree *tree = trees->trees + trees->n_trees;
        const int64_t root = source->roots[number];
        if (root < 0 || root >= source->n_nodes) {
            status = TREES_REFUSED;
            break;
        }
        status = list_nodes(source, root, met, &order);
        if (status != TREES_OK)
            break;
        trees->n_trees++; /* from here on trees_free frees it */
        status = fill_tree(source, &order, trees->type, tree);
        if (status == TREES_OK && trees->n_trees > 1 && is_twin(tree - 1, tree, trees->type)) {
            status = join_twin(tree - 1, tree, trees->type);
            trees->n_trees -= status == TREES_OK;
        }
    }
    free(order.items);
    free(met);
    return status;
}

static void *copy_of(const void *from, int64_t count, size_t size)
{
    void *to = malloc(count > 0 ? (size_t)count * size : 1);
    if (to && count > 0)
        memcpy(to, from, (size_t)count * size);
    return to;
}

static int build_program(const TreesProgram *program, Ensemble *trees)
{
    trees->n_numbers = program->n_numbers;
    trees->n_texts = program->n_texts;
    trees->program = calloc((size_t)trees->n_features + 1, sizeof(Column));
    trees->operations = copy_of(program->operations, program->n_steps, sizeof(int32_t));
    trees->constants = copy_of(program->constants, program->n_steps, sizeof(double));
    trees->tables = copy_of(program->tables, program->n_table_values, sizeof(double));
    trees->n_codes = copy_of(program->n_codes, program->n_texts, sizeof(int64_t));
    if (!trees->program || !trees->operations || !trees->constants || !trees->tables || !trees->n_codes)
        return TREES_NO_MEMORY;
    for (int32_t number = 0; number < trees->n_features; number++) {
        Column *column = trees->program + number;
        column->source = program->sources[number];
        column->first_step = program->first_steps[number];
        column->n_steps = program->first_steps[number + 1] - column->first_step;
        column->table = program->first_values[number];
        const int32_t text = -1 - column->source;
        const int sound = column->source >= 0
            ? column->source < trees->n_numbers && column->first_step >= 0 && column->n_steps >= 0 &&
                  column->first_step + column->n_steps <= program->n_steps
            : text < trees->n_texts && trees->n_codes[text] > 0 && column->table >= 0 &&
                  column->table <= program->n_table_values - trees->n_codes[text];
        if (!sound)
            return TREES_REFUSED;
    }
    return TREES_OK;
}

int32_t trees_interface(void) { return TREES_INTERFACE; }

/* Return an ensemble without trees; NULL if there is no memory, or the source is none, which the status says. */
static Ensemble *begin(const TreesSource *source, double divisor, int *status)
{
    *status = TREES_REFUSED;
    if (source->n_targets < 1 || source->n_features < 1 || source->n_features > TREES_MOST_COLUMNS ||
        source->n_targets > TREES_MOST_COLUMNS)
        return NULL;
    *status = TREES_NO_MEMORY;
    Ensemble *trees = calloc(1, sizeof *trees);
    if (!trees)
        return NULL;
    *status = TREES_OK;
    trees->n_features = (int32_t)source->n_features;
    trees->n_targets = (int32_t)source->n_targets;
    trees->type = source->wide ? (source->single ? TREES_MIXED : TREES_DOUBLE) : TREES_SINGLE;
    trees->divisor = divisor;
    return trees;
}

static int finish(Ensemble *trees, const TreesProgram *program, int status, Ensemble **built)
{
    if (status == TREES_OK && program)
        status = build_program(program, trees);
    if (status != TREES_OK)
        trees_free(trees);
    else
        *built = trees;
    return status;
}

int trees_build(const TreesSource *source, const TreesProgram *program, double divisor, Ensemble **built)
{
    *built = NULL;
    if (source->n_nodes < 0 || source->n_leaves < 0 || source->n_trees < 1)
        return TREES_REFUSED;
    int status;
    Ensemble *trees = begin(source, divisor, &status);
    if (!trees)
        return status;
    trees->trees = calloc((size_t)source->n_trees, sizeof(Tree));
    return finish(trees, program, trees->trees ? build_trees(source, trees) : TREES_NO_MEMORY, built);
}

#include "image.h"

int trees_open_image(const void *image, int64_t n_bytes, const TreesSource *source, const TreesProgram *program, double divisor,
                     Ensemble **built)
{
    *built = NULL;
    int status;
    Ensemble *trees = begin(source, divisor, &status);
    if (!trees)
        return status;
    trees->borrowed = 1;
    return finish(trees, program, open_arrays((char *)image, n_bytes, trees), built); /* only read */
}

/* --- running ---------------------------------------------------------------------------------------------------------- */

static inline double apply(double value, int32_t operation, double constant)
{
    switch (operation) {
    case TREES_SUBTRACT: return value - constant;
    case TREES_DIVIDE: return value / constant;
    case TREES_MULTIPLY: return value * constant;
    case TREES_ADD: return value + constant;
    case TREES_FILL: return value != value ? constant : value;
    default: return (double)(float)value; /* TREES_SINGLE_PRECISION */
    }
}

/* Where a value stands in rows that are side by side, LANES at a time; a row alone stands by itself. */
static inline int64_t place(int64_t row, int64_t column, int64_t width, int alone)
{
    return alone ? column : row / LANES * LANES * width + column * LANES + row % LANES;
}

/* Encode rows into (n_rows, n_features); return whether a value is missing, or TREES_BAD_CODE. */
static int encode(const Ensemble *trees, const double *numbers, const int64_t *codes, int64_t n_rows, int alone, void *rows)
{
    const int32_t width = trees->n_features;
    int gaps = 0;
    for (int32_t number = 0; number < width; number++) {
        const Column *column = trees->program + number;
        const int32_t *operations = trees->operations + column->first_step;
        const double *constants = trees->constants + column->first_step;
        for (int64_t row = 0; row < n_rows; row++) {
            double value;
            if (column->source >= 0) {
                value = numbers[row * trees->n_numbers + column->source];
                for (int64_t step = 0; step < column->n_steps; step++)
                    value = apply(value, operations[step], constants[step]);
            } else {
                const int32_t text = -1 - column->source;
                const int64_t code = codes[row * trees->n_texts + text];
                if (code < 0 || code >= trees->n_codes[text])
                    return TREES_BAD_CODE;
                value = trees->tables[column->table + code];
            }
            gaps |= value != value;
            if (trees->type == TREES_DOUBLE)
                ((double *)rows)[place(row, number, width, alone)] = value;
            else
                ((float *)rows)[place(row, number, width, alone)] = (float)value;
        }
    }
    return gaps;
}

/* Copy encoded rows; return whether a value is missing. */
static int take(const Ensemble *trees, const void *encoded, int64_t n_rows, int alone, void *rows)
{
    const int32_t width = trees->n_features;
    int gaps = 0;
    for (int64_t row = 0; row < n_rows; row++)
        for (int32_t number = 0; number < width; number++)
            if (trees->type == TREES_DOUBLE) {
                const double value = ((const double *)encoded)[row * width + number];
                gaps |= value != value;
                ((double *)rows)[place(row, number, width, alone)] = value;
            } else {
                const float value = ((const float *)encoded)[row * width + number];
                gaps |= value != value;
                ((float *)rows)[place(row, number, width, alone)] = value;
            }
    return gaps;
}

/* Turn sums into means, and name the column with the largest, the first of equals. */
static void conclude(const Ensemble *trees, double *sums, int64_t n_rows, int64_t *labels)
{
    const int32_t width = trees->n_targets;
    for (int64_t row = 0; row < n_rows; row++) {
        double *own = sums + row * width;
        int32_t best = 0;
        for (int32_t column = 0; column < width; column++) {
            own[column] /= trees->divisor;
            if (own[column] > own[best])
                best = column;
        }
        if (labels)
            labels[row] = best;
    }
}

static int64_t whole_lanes(int64_t n_rows) { return (n_rows + LANES - 1) / LANES * LANES; }

static int64_t block_rows(const Ensemble *trees)
{
    int64_t n_rows = BLOCK_BYTES / ((int64_t)trees->n_features * (int64_t)real_size(trees->type));
    n_rows = n_rows < BLOCK_LEAST ? BLOCK_LEAST : n_rows > BLOCK_MOST ? BLOCK_MOST : n_rows;
    return n_rows / LANES * LANES;
}

int trees_run(const Ensemble *trees, const void *rows, const int64_t *codes, int64_t n_rows, void *sums, int64_t *labels)
{
    if (n_rows < 1)
        return TREES_OK;
    const size_t real = real_size(trees->type), sum = sum_size(trees->type);
    const size_t width = (size_t)trees->n_features, n_targets = (size_t)trees->n_targets;
    const int64_t most = n_rows <= FEW_ROWS ? 1 : n_rows < block_rows(trees) ? whole_lanes(n_rows) : block_rows(trees);
    double small[1024];
    const size_t row_bytes = ((size_t)most * width * real + 15) / 16 * 16, bytes = row_bytes + (size_t)most * n_targets * sum;
    char *buffer = bytes <= sizeof small ? (char *)small : malloc(bytes);
    if (!buffer)
        return TREES_NO_MEMORY;
    char *block_sums = buffer + row_bytes;
    memset(buffer, 0, row_bytes); /* lanes without a row are walked as well */
    int status = TREES_OK;
    for (int64_t first = 0; first < n_rows; first += most) {
        const int64_t count = n_rows - first < most ? n_rows - first : most;
        const int gaps = trees->program
            ? encode(trees, (const double *)rows + first * trees->n_numbers, codes ? codes + first * trees->n_texts : NULL, count,
                     most == 1, buffer)
            : take(trees, (const char *)rows + (size_t)first * width * real, count, most == 1, buffer);
        if (gaps == TREES_BAD_CODE) {
            status = TREES_BAD_CODE;
            break;
        }
        const int64_t padded = most == 1 ? 1 : whole_lanes(count);
        memset(block_sums, 0, (size_t)padded * n_targets * sum);
        if (trees->type == TREES_DOUBLE)
            run_double(trees, buffer, padded, block_sums, gaps);
        else if (trees->type == TREES_MIXED)
            run_mixed(trees, buffer, padded, block_sums, gaps);
        else
            run_single(trees, buffer, padded, block_sums, gaps);
        memcpy((char *)sums + (size_t)first * n_targets * sum, block_sums, (size_t)count * n_targets * sum);
        if (trees->divisor != 0 && trees->type != TREES_SINGLE)
            conclude(trees, (double *)sums + (size_t)first * n_targets, count, labels ? labels + first : NULL);
    }
    if (buffer != (char *)small)
        free(buffer);
    return status;
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

int64_t trees_read_integers(const uint8_t *message, int64_t n_bytes, int64_t *values, int64_t room)
{
    enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5, INTS = 8 };
    int64_t at = 0, count = 0;
    while (at < n_bytes) {
        uint64_t number[2] = {0}; /* the tag, and what follows it */
        const int64_t packed_end = n_bytes;
        int n_numbers = 1;
        for (int part = 0; part < n_numbers; part++) {
            int shift = 0;
            do {
                if (at >= packed_end || shift > 63)
                    return -1;
                number[part] |= (uint64_t)(message[at] & 0x7f) << shift;
                shift += 7;
            } while (message[at++] & 0x80);
            if (!part && ((number[0] & 7) == VARINT || (number[0] & 7) == BYTES))
                n_numbers = 2;
        }
        const uint64_t field = number[0] >> 3;
        switch (number[0] & 7) {
        case VARINT:
            if (field == INTS) {
                if (values && count >= room)
                    return -1;
                if (values)
                    values[count] = (int64_t)number[1];
                count++;
            }
            break;
        case BYTES:
            if (number[1] > (uint64_t)(n_bytes - at))
                return -1;
            if (field != INTS) {
                at += (int64_t)number[1];
                break;
            }
            for (const int64_t end = at + (int64_t)number[1]; at < end; count++) { /* the packed form */
                uint64_t value = 0;
                int shift = 0;
                do {
                    if (at >= end || shift > 63)
                        return -1;
                    value |= (uint64_t)(message[at] & 0x7f) << shift;
                    shift += 7;
                } while (message[at++] & 0x80);
                if (values && count >= room)
                    return -1;
                if (values)
                    values[count] = (int64_t)value;
            }
            break;
        case FIXED64: at += 8; break;
        case FIXED32: at += 4; break;
        default: return -1;
        }
        if (at > n_bytes)
            return -1;
    }
    return count;
}
