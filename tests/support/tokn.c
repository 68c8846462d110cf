/* A tokn section as an image would hold it. */
#include "tests/support/tokn.h"

#include <string.h>

#include "lib/convert/tokenizer_build.h"
#include "lib/core/tokenizer.h"

int tokn_check(const struct ruvm_buffer *section, uint16_t vocab, struct ruvm_image_fault *fault)
{
    struct ruvm_image img = {.data = section->data, .size = section->size, .vocab = vocab};
    struct ruvm_check c = {.img = &img, .fault = fault};
    c.part[RUVM_SECTION_TOKN] =
        (struct ruvm_section){.data = section->data, .size = (uint32_t)section->size};
    ruvm_tokn_check(&c);
    return c.rc;
}

int tokn_build(struct tokn *t, const struct ruvm_vocab *vocab, struct ruvm_error *err)
{
    struct ruvm_image_fault fault = {0};
    int rc = ruvm_tokenizer_build(&t->section, vocab, err);
    if (rc != RUVM_OK)
        return rc;
    rc = tokn_check(&t->section, (uint16_t)vocab->n_pieces, &fault);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "byte %u of tokn: %s", fault.off, fault.what);
    ruvm_tokenizer_over(&t->t, t->section.data);
    return RUVM_OK;
}

int tokn_open(struct tokn *t, const char *path, struct ruvm_error *err)
{
    memset(t, 0, sizeof *t);
    int rc = ruvm_file_map(&t->map, path, err);
    if (rc == RUVM_OK)
        rc = ruvm_vocab_read_any(&t->vocab, &t->arena, t->map.data, t->map.size, err);
    return rc == RUVM_OK ? tokn_build(t, &t->vocab, err) : rc;
}

void tokn_close(struct tokn *t)
{
    if (t->map.data)
        ruvm_file_unmap(&t->map);
    ruvm_buffer_free(&t->section);
    ruvm_arena_free(&t->arena);
    memset(t, 0, sizeof *t);
}
