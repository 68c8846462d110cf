/* Any bytes as rows of parent and child: a tree, whose nodes lead to the root, or a message. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_tree t;
    struct ruvm_error err = {0};
    int rc = ruvm_tree_read(&t, "f", (const char *)data, size, &err);
    if (rc != RUVM_OK) {
        check(strlen(err.text) > 3);
        return 0;
    }
    check(t.n > 0 && t.nodes[0].parent == RUVM_TREE_NONE);
    for (uint32_t i = 1; i < t.n; i++) {
        check(t.nodes[i].parent < i);
        check(ruvm_tree_distance(&t, i, 0) == t.nodes[i].level);
    }
    ruvm_tree_free(&t);
    return 0;
}
