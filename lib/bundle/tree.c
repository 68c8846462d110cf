/* Reading a taxonomy: names become nodes, rows become edges, and what is no tree is told.
 *
 * Nodes are first numbered as they come. A walk from the root gives them their places; those
 * that it does not reach stand in a cycle, or below one.
 */
#include "lib/bundle/tree.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/error.h"
#include "lib/base/problems.h"
#include "lib/bundle/csv.h"

/* A node as the file has it. */
struct entry {
    const char *name;
    uint32_t parent, line; /* line: that of its parent */
    uint32_t first, next;  /* children, in the file's order */
    uint32_t last;
};

struct reading {
    const char *file;
    struct ruvm_tree *tree;
    struct entry *entries;
    uint32_t n, cap;
    uint32_t *slots; /* [n_slots], a power of two: hash table of names, entry + 1 */
    uint32_t n_slots;
    struct ruvm_problems problems;
};

static uint32_t hash_of(const char *s)
{
    uint32_t h = 2166136261u;
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 16777619u;
    return h ^ h >> 15;
}

static uint32_t *slot_of(const struct reading *r, const char *name)
{
    uint32_t at = hash_of(name) & (r->n_slots - 1);
    while (r->slots[at] && strcmp(r->entries[r->slots[at] - 1].name, name) != 0)
        at = (at + 1) & (r->n_slots - 1);
    return &r->slots[at];
}

static bool grow(struct reading *r)
{
    uint32_t cap = r->cap ? 2 * r->cap : 256;
    struct entry *entries = realloc(r->entries, cap * sizeof *entries);
    if (!entries)
        return false;
    r->entries = entries;
    uint32_t *slots = calloc((size_t)2 * cap, sizeof *slots);
    if (!slots)
        return false;
    free(r->slots);
    r->slots = slots;
    r->cap = cap;
    r->n_slots = 2 * cap;
    for (uint32_t i = 0; i < r->n; i++)
        *slot_of(r, r->entries[i].name) = i + 1;
    return true;
}

/* The entry of a name, new or known; RUVM_TREE_NONE: memory is short. */
static uint32_t entry_of(struct reading *r, const char *name, size_t n)
{
    if (r->n == r->cap && !grow(r))
        return RUVM_TREE_NONE;
    uint32_t *slot = slot_of(r, name);
    if (*slot)
        return *slot - 1;
    const char *copy = ruvm_arena_text(&r->tree->arena, name, n);
    if (!copy)
        return RUVM_TREE_NONE;
    r->entries[r->n] =
        (struct entry){copy, RUVM_TREE_NONE, 0, RUVM_TREE_NONE, RUVM_TREE_NONE, RUVM_TREE_NONE};
    *slot = ++r->n;
    return r->n - 1;
}

/* ---- rows --------------------------------------------------------------------------- */

static void join(struct reading *r, uint32_t parent, uint32_t child, uint32_t line)
{
    struct entry *p = &r->entries[parent], *c = &r->entries[child];
    if (parent == child) {
        ruvm_problems_note(&r->problems, RUVM_ERR_CORRUPT, "line %u: %s is its own parent", line,
                           c->name);
        return;
    }
    if (c->parent != RUVM_TREE_NONE) {
        if (c->parent != parent)
            ruvm_problems_note(&r->problems, RUVM_ERR_CORRUPT,
                               "line %u: %s has two parents, %s and %s (line %u): keep one", line,
                               c->name, p->name, r->entries[c->parent].name, c->line);
        return;
    }
    c->parent = parent;
    c->line = line;
    if (p->last == RUVM_TREE_NONE)
        p->first = child;
    else
        r->entries[p->last].next = child;
    p->last = child;
}

/* A field without the blanks around it. */
static char *trim(struct ruvm_csv_row *row, unsigned i, size_t *n)
{
    char *s = (char *)row->text.data + row->field[i].off;
    *n = row->field[i].n;
    while (*n && (s[*n - 1] == ' ' || s[*n - 1] == '\t'))
        s[--*n] = '\0';
    for (; *s == ' ' || *s == '\t'; s++)
        --*n;
    return s;
}

static int check_name(const char *file, size_t line, const char *name, size_t n,
                      struct ruvm_error *err)
{
    if (strlen(name) != n)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: line %zu: holds a NUL byte", file, line);
    if (n > RUVM_TREE_MAX_NAME)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: line %zu: a name of %zu bytes: there are at most %d", file, line, n,
                         RUVM_TREE_MAX_NAME);
    return RUVM_OK;
}

static int read_row(struct reading *r, struct ruvm_csv_row *row, size_t line,
                    struct ruvm_error *err)
{
    size_t n_parent, n_child;
    if (row->n != 2)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: line %zu: has %u fields instead of two, parent and child", r->file,
                         line, row->n);
    const char *parent = trim(row, 0, &n_parent), *child = trim(row, 1, &n_child);
    if (line == 1 && strcasecmp(parent, "parent") == 0 && strcasecmp(child, "child") == 0)
        return RUVM_OK;
    int rc = check_name(r->file, line, parent, n_parent, err);
    if (rc == RUVM_OK)
        rc = check_name(r->file, line, child, n_child, err);
    if (rc != RUVM_OK)
        return rc;
    if (n_child == 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: line %zu: the child has no name", r->file,
                         line);
    uint32_t above = n_parent ? entry_of(r, parent, n_parent) : 0;
    uint32_t below = entry_of(r, child, n_child);
    if (above == RUVM_TREE_NONE || below == RUVM_TREE_NONE)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", r->file);
    if (r->n > RUVM_TREE_MAX_NODES)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: line %zu: more than %d nodes: divide the tree", r->file, line,
                         RUVM_TREE_MAX_NODES);
    if (n_parent)
        join(r, above, below, (uint32_t)line);
    return RUVM_OK;
}

static int read_rows(struct reading *r, const char *data, size_t size, struct ruvm_error *err)
{
    struct ruvm_csv csv = ruvm_csv_of(r->file, data, size);
    struct ruvm_csv_row row = {0};
    int rc = RUVM_OK;
    while (rc == RUVM_OK && ruvm_csv_more(&csv)) {
        size_t line = csv.line;
        rc = ruvm_csv_row(&csv, &row, err);
        if (rc == RUVM_OK && !ruvm_csv_is_empty(&row))
            rc = read_row(r, &row, line, err);
    }
    ruvm_csv_row_free(&row);
    return rc;
}

/* ---- is it a tree? ------------------------------------------------------------------- */

static uint32_t find_root(struct reading *r)
{
    uint32_t root = RUVM_TREE_NONE, n_roots = 0;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->entries[i].parent == RUVM_TREE_NONE && n_roots++ == 0)
            root = i;
    for (uint32_t i = 0; n_roots > 1 && i < r->n; i++)
        if (r->entries[i].parent == RUVM_TREE_NONE && i != root) {
            ruvm_problems_note(&r->problems, RUVM_ERR_CORRUPT,
                               "%u nodes have no parent, among them %s and %s: a tree has one "
                               "root, put a node above them",
                               n_roots, r->entries[root].name, r->entries[i].name);
            break;
        }
    return root;
}

/* Names of the nodes of the cycle that i leads up to: as many steps up as there are nodes
 * end in it. */
static void note_cycle(struct reading *r, uint32_t i)
{
    char text[RUVM_PROBLEM_BYTES / 2] = "";
    size_t used = 0;
    for (uint32_t step = 0; step < r->n; step++)
        i = r->entries[i].parent;
    uint32_t begin = i, n = 0;
    do {
        size_t size = strlen(r->entries[i].name);
        if (used + size + sizeof " < ..." < sizeof text) {
            memcpy(text + used, r->entries[i].name, size);
            memcpy(text + used + size, " < ", sizeof " < ");
            used += size + 3;
        }
        i = r->entries[i].parent;
        n++;
    } while (i != begin);
    ruvm_problems_note(&r->problems, RUVM_ERR_CORRUPT,
                       "a cycle of %u nodes, each below the next: %s%s", n, text,
                       used ? r->entries[begin].name : "...");
}

/* Children after children, level by level: places[entry] is its number. */
static void place_nodes(struct reading *r, uint32_t root, uint32_t *order, uint32_t *places)
{
    struct ruvm_tree *t = r->tree;
    order[0] = root;
    places[root] = 0;
    t->n = 1;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct entry *e = &r->entries[order[i]];
        uint32_t parent = e->parent == RUVM_TREE_NONE ? RUVM_TREE_NONE : places[e->parent];
        uint32_t level = parent == RUVM_TREE_NONE ? 0 : t->nodes[parent].level + 1;
        t->nodes[i] = (struct ruvm_tree_node){e->name, parent, t->n, 0, level};
        t->n_levels = level + 1;
        for (uint32_t c = e->first; c != RUVM_TREE_NONE; c = r->entries[c].next) {
            places[c] = t->n;
            order[t->n++] = c;
            t->nodes[i].n_children++;
        }
    }
}

static int make_tree(struct reading *r, struct ruvm_error *err)
{
    struct ruvm_tree *t = r->tree;
    if (r->n == 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "holds no row of parent and child");
    uint32_t root = find_root(r);
    t->nodes = ruvm_arena_alloc(&t->arena, r->n, sizeof *t->nodes);
    uint32_t *order = ruvm_arena_alloc(&t->arena, r->n, sizeof *order);
    uint32_t *places = ruvm_arena_alloc(&t->arena, r->n, sizeof *places);
    if (!t->nodes || !order || !places)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short");
    memset(places, 0xFF, r->n * sizeof *places);
    for (uint32_t i = 0; i < r->n; i++)
        if (r->entries[i].parent == RUVM_TREE_NONE)
            place_nodes(r, i, order, places);
    for (uint32_t i = 0; i < r->n; i++)
        if (places[i] == RUVM_TREE_NONE) {
            note_cycle(r, i);
            break;
        }
    if (r->problems.n == 0)
        place_nodes(r, root, order, places);
    return ruvm_problems_report(&r->problems, err);
}

int ruvm_tree_read(struct ruvm_tree *t, const char *name, const char *data, size_t size,
                   struct ruvm_error *err)
{
    struct ruvm_error inner = {0};
    struct reading r = {.file = name, .tree = t};
    *t = (struct ruvm_tree){0};
    int rc = read_rows(&r, data, size, err);
    if (rc == RUVM_OK)
        rc = make_tree(&r, &inner);
    free(r.entries);
    free(r.slots);
    if (rc != RUVM_OK) {
        ruvm_tree_free(t);
        return ruvm_fail(err, rc, "%s: %s", name, inner.text);
    }
    return rc;
}

void ruvm_tree_free(struct ruvm_tree *t)
{
    ruvm_arena_free(&t->arena);
    *t = (struct ruvm_tree){0};
}

uint32_t ruvm_tree_distance(const struct ruvm_tree *t, uint32_t a, uint32_t b)
{
    uint32_t n = 0;
    for (; a != b; n++) {
        if (a > b) /* the later one is no higher than the other */
            a = t->nodes[a].parent;
        else
            b = t->nodes[b].parent;
    }
    return n;
}
