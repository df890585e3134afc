/* An ensemble's arrays as one block of bytes without pointers: one process builds it, others map it and read it in place.
 *
 * trees.c includes this file. A block holds a head, the shape of each tree, and each tree's arrays, one after the other. Opening
 * one checks everything that a walk relies on, so no block leads outside its bytes or keeps a walk from ending.
 */

enum { ARRAYS = 5, NODES = 0, VALUES, TARGETS, MISSING_LEFT, COLUMNS };

typedef struct {
    int64_t n_bytes, n_trees;
    int32_t interface, type, n_features, n_targets;
} ImageHead;

typedef struct {
    int32_t n_nodes, width, has_targets, unused;
} Shape;

/* Find where a tree's arrays are if they begin at a place; return where they end. */
static int64_t place_arrays(const Shape *shape, int type, int64_t at, int64_t places[ARRAYS])
{
    const int64_t n = shape->n_nodes;
    at = (at + 63) / 64 * 64 + 16; /* the root; pairs of children, of 32 bytes each, then lie within lines of the cache */
    const int64_t sizes[ARRAYS] = {
        [NODES] = n * (int64_t)node_size(type),
        [VALUES] = n * shape->width * (int64_t)sum_size(type),
        [TARGETS] = shape->has_targets ? n * (int64_t)sizeof(int32_t) : 0,
        [MISSING_LEFT] = n,
        [COLUMNS] = shape->width * (int64_t)sizeof(int32_t),
    };
    for (int array = 0; array < ARRAYS; array++) {
        places[array] = at;
        at += (sizes[array] + 7) / 8 * 8;
    }
    return at;
}

static Shape shape_of(const Tree *tree) { return (Shape){tree->n_nodes, tree->width, tree->targets != NULL, 0}; }

static int64_t arrays_begin(int64_t n_trees) { return (int64_t)sizeof(ImageHead) + n_trees * (int64_t)sizeof(Shape); }

int64_t trees_image_bytes(const Ensemble *trees)
{
    int64_t at = arrays_begin(trees->n_trees), places[ARRAYS];
    for (int64_t number = 0; number < trees->n_trees; number++) {
        const Shape shape = shape_of(trees->trees + number);
        at = place_arrays(&shape, trees->type, at, places);
    }
    return at;
}

void trees_write_image(const Ensemble *trees, void *image)
{
    char *bytes = image;
    const ImageHead head = {
        trees_image_bytes(trees), trees->n_trees, TREES_INTERFACE, trees->type, trees->n_features, trees->n_targets,
    };
    memcpy(bytes, &head, sizeof head);
    int64_t at = arrays_begin(trees->n_trees), places[ARRAYS];
    for (int64_t number = 0; number < trees->n_trees; number++) {
        const Tree *tree = trees->trees + number;
        const Shape shape = shape_of(tree);
        const size_t n = (size_t)tree->n_nodes, width = (size_t)tree->width;
        memcpy(bytes + sizeof head + (size_t)number * sizeof shape, &shape, sizeof shape);
        at = place_arrays(&shape, trees->type, at, places);
        memcpy(bytes + places[NODES], tree->nodes, n * node_size(trees->type));
        memcpy(bytes + places[VALUES], tree->values, n * width * sum_size(trees->type));
        if (tree->targets)
            memcpy(bytes + places[TARGETS], tree->targets, n * sizeof(int32_t));
        memcpy(bytes + places[MISSING_LEFT], tree->missing_left, n);
        memcpy(bytes + places[COLUMNS], tree->columns, width * sizeof(int32_t));
    }
}

static int32_t feature_of(const Tree *tree, int type, int32_t node)
{
    return type == TREES_DOUBLE ? ((Node_double *)tree->nodes)[node].feature : ((Node_single *)tree->nodes)[node].feature;
}

static double threshold_of(const Tree *tree, int type, int32_t node)
{
    return type == TREES_DOUBLE ? ((Node_double *)tree->nodes)[node].split : (double)((Node_single *)tree->nodes)[node].split;
}

/* Whether the nodes are as fill_tree writes them: children behind their parents, each with one; leaves that keep every row. */
static int is_sound(const Ensemble *trees, const Tree *tree)
{
    int64_t next = 1;
    for (int32_t node = 0; node < tree->n_nodes; node++) {
        const int32_t feature = feature_of(tree, trees->type, node), left = left_of(tree, trees->type, node);
        if (feature < 0 || feature % LANES || feature / LANES >= trees->n_features)
            return 0;
        if (tree->targets && (tree->targets[node] < 0 || tree->targets[node] >= trees->n_targets))
            return 0;
        if (left != node) {
            if (left != next)
                return 0;
            next += 2;
        } else if (threshold_of(tree, trees->type, node) != INFINITY || !tree->missing_left[node])
            return 0;
    }
    for (int32_t column = 0; column < tree->width; column++)
        if (tree->columns[column] < 0 || tree->columns[column] >= trees->n_targets)
            return 0;
    return next == tree->n_nodes;
}

static int open_tree(const Ensemble *trees, char *bytes, const int64_t places[ARRAYS], const Shape *shape, Tree *tree)
{
    tree->n_nodes = shape->n_nodes;
    tree->width = shape->width;
    tree->nodes = bytes + places[NODES];
    tree->values = bytes + places[VALUES];
    tree->targets = shape->has_targets ? (int32_t *)(void *)(bytes + places[TARGETS]) : NULL;
    tree->missing_left = (uint8_t *)bytes + places[MISSING_LEFT];
    tree->columns = (int32_t *)(void *)(bytes + places[COLUMNS]);
    return is_sound(trees, tree) ? build_top(tree, trees->type) : TREES_REFUSED;
}

static int open_arrays(char *bytes, int64_t n_bytes, Ensemble *trees)
{
    ImageHead head;
    if (n_bytes < (int64_t)sizeof head || (uintptr_t)bytes % 8)
        return TREES_REFUSED;
    memcpy(&head, bytes, sizeof head);
    if (head.interface != TREES_INTERFACE || head.n_bytes != n_bytes || head.type != trees->type || head.n_trees < 1 ||
        head.n_features != trees->n_features || head.n_targets != trees->n_targets ||
        head.n_trees > (n_bytes - (int64_t)sizeof head) / (int64_t)sizeof(Shape))
        return TREES_REFUSED;
    trees->trees = calloc((size_t)head.n_trees, sizeof(Tree));
    if (!trees->trees)
        return TREES_NO_MEMORY;
    int64_t at = arrays_begin(head.n_trees), places[ARRAYS];
    for (; trees->n_trees < head.n_trees;) {
        Shape shape;
        memcpy(&shape, bytes + sizeof head + (size_t)trees->n_trees * sizeof shape, sizeof shape);
        if (shape.n_nodes < 1 || shape.width < 1 || shape.width > trees->n_targets)
            return TREES_REFUSED;
        at = place_arrays(&shape, trees->type, at, places);
        if (at > n_bytes)
            return TREES_REFUSED;
        const int status = open_tree(trees, bytes, places, &shape, trees->trees + trees->n_trees++);
        if (status != TREES_OK)
            return status;
    }
    return at == n_bytes ? TREES_OK : TREES_REFUSED;
}
