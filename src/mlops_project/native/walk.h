/* The way through the trees for one type of number; trees.c includes this file once for each.
 *
 * REAL is the type that is compared, TRUTH an integer of its size, SUM the type that is added up; NAME(x) names a function.
 *
 * No branch depends on a row's values. LANES rows go through a tree side by side. At its top every comparison is made for all
 * of them: each clears the exits that lie on its other side, and the first exit that is left is the row's (QuickScorer, Lucchese
 * et al. 2015). From there on rows walk for as many steps as the deepest leaf takes: a leaf points to itself.
 */

typedef struct {
    REAL split;      /* a row goes left when its value is at most this; infinite at leaves */
    int32_t feature; /* where the first of LANES rows has the value */
    int32_t left;    /* index in the tree, the right child is next to it; the node itself at leaves */
} NAME(Node);

typedef REAL NAME(Values) __attribute__((vector_size(VECTOR_BYTES)));
typedef TRUTH NAME(Exits) __attribute__((vector_size(VECTOR_BYTES)));

static ALWAYS_INLINE int32_t NAME(step)(
    const NAME(Node) *nodes, const uint8_t *missing_left, int32_t at, const REAL *rows, int32_t stride, int gaps)
{
    const NAME(Node) *node = nodes + at;
    const REAL value = rows[node->feature / (LANES / stride)];
    int right = !(value <= node->split);
    if (gaps)
        right &= !((value != value) & missing_left[at]);
    return node->left + right;
}

/* Find where rows (n_features, LANES) leave the top of a tree. */
static ALWAYS_INLINE void NAME(leave_top)(const Tree *tree, const REAL *rows, int32_t *at, int gaps)
{
    enum { WIDTH = VECTOR_BYTES / sizeof(REAL), PARTS = LANES / WIDTH };
    const Top *top = tree->top;
    NAME(Exits) exits[PARTS];
    UNROLL
    for (int part = 0; part < PARTS; part++)
        exits[part] = ~(NAME(Exits)){0};
    for (int32_t number = 0; number < top->n_nodes; number++) {
        const int32_t at_node = top->nodes[number];
        const NAME(Node) *node = (const NAME(Node) *)tree->nodes + at_node;
        UNROLL
        for (int part = 0; part < PARTS; part++) {
            NAME(Values) values;
            memcpy(&values, rows + node->feature + part * WIDTH, sizeof values);
            NAME(Exits) left = values <= node->split;
            if (gaps)
                left |= (values != values) & -(TRUTH)tree->missing_left[at_node];
            exits[part] &= left | (TRUTH)(int32_t)top->kept[number];
        }
    }
    UNROLL
    for (int lane = 0; lane < LANES; lane++)
        at[lane] = top->start[__builtin_ctz((uint32_t)exits[lane / WIDTH][lane % WIDTH])];
}

static ALWAYS_INLINE void NAME(walk)(const Tree *tree, const REAL *rows, int32_t *at, int gaps)
{
    int32_t depth = tree->depth;
    for (; depth > SURE; depth--) { /* some rows may have arrived long before others */
        int32_t moved = 0;
        UNROLL
        for (int lane = 0; lane < LANES; lane++) {
            const int32_t next = NAME(step)(tree->nodes, tree->missing_left, at[lane], rows + lane, LANES, gaps);
            moved |= next ^ at[lane];
            at[lane] = next;
        }
        if (!moved)
            return;
    }
    for (; depth; depth--)
        UNROLL
        for (int lane = 0; lane < LANES; lane++)
            at[lane] = NAME(step)(tree->nodes, tree->missing_left, at[lane], rows + lane, LANES, gaps);
}

static ALWAYS_INLINE void NAME(add)(const Tree *tree, int32_t at, SUM *sums)
{
    const SUM *values = (const SUM *)tree->values + (size_t)at * (size_t)tree->width;
    if (tree->targets) {
        sums[tree->targets[at]] += values[0];
        return;
    }
    for (int32_t column = 0; column < tree->width; column++)
        sums[tree->columns[column]] += values[column];
}

/* Add the trees' values for n_rows rows, LANES side by side, to sums (n_rows, n_targets). */
static ALWAYS_INLINE void NAME(add_block)(const Ensemble *trees, const REAL *rows, int64_t n_rows, SUM *sums, int gaps)
{
    const int64_t n_features = trees->n_features, n_targets = trees->n_targets;
    for (int64_t number = 0; number < trees->n_trees; number++) {
        const Tree *tree = trees->trees + number;
        for (int64_t row = 0; row < n_rows; row += LANES) {
            int32_t at[LANES];
            NAME(leave_top)(tree, rows + row * n_features, at, gaps);
            NAME(walk)(tree, rows + row * n_features, at, gaps);
            for (int lane = 0; lane < LANES; lane++)
                NAME(add)(tree, at[lane], sums + (row + lane) * n_targets);
        }
    }
}

/* The same for one row (n_features,): several trees at a time, added in their order. */
static ALWAYS_INLINE void NAME(add_one)(const Ensemble *trees, const REAL *row, SUM *sums, int gaps)
{
    enum { ABREAST = 8 };
    for (int64_t first = 0; first < trees->n_trees; first += ABREAST) {
        const Tree *few = trees->trees + first;
        const int lanes = trees->n_trees - first < ABREAST ? (int)(trees->n_trees - first) : ABREAST;
        int32_t at[ABREAST] = {0}, depth = 0;
        for (int lane = 0; lane < lanes; lane++)
            depth = few[lane].whole_depth > depth ? few[lane].whole_depth : depth;
        if (lanes == ABREAST)
            for (; depth; depth--)
                UNROLL
                for (int lane = 0; lane < ABREAST; lane++)
                    at[lane] = NAME(step)(few[lane].nodes, few[lane].missing_left, at[lane], row, 1, gaps);
        else
            for (; depth; depth--)
                for (int lane = 0; lane < lanes; lane++)
                    at[lane] = NAME(step)(few[lane].nodes, few[lane].missing_left, at[lane], row, 1, gaps);
        for (int lane = 0; lane < lanes; lane++)
            NAME(add)(few + lane, at[lane], sums);
    }
}

CLONES static void NAME(run)(const Ensemble *trees, const void *rows, int64_t n_rows, void *sums, int gaps)
{
    if (n_rows == 1 && gaps)
        NAME(add_one)(trees, rows, sums, 1);
    else if (n_rows == 1)
        NAME(add_one)(trees, rows, sums, 0);
    else if (gaps)
        NAME(add_block)(trees, rows, n_rows, sums, 1);
    else
        NAME(add_block)(trees, rows, n_rows, sums, 0);
}
