/* Six networks written as Hugging Face directories, config.json and safetensors, opened again:
 * the same logits as from the tensors themselves, so that no key and no value is lost. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/crc32.h"
#include "lib/convert/reference.h"
#include "lib/import/hub.h"
#include "lib/import/model.h"
#include "tests/support/container_files.h"
#include "tests/support/tiny_models.h"

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/ruvm-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static void leave(void)
{
    static const char *const names[] = {"config.json", "model.safetensors", "a.safetensors",
                                        "b.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        remove(names[i]);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(hub_networks, .init = enter, .fini = leave);

/* Of the logits of a fixed text as long as the context. */
static uint32_t logits_crc(const struct ruvm_tensors *t)
{
    struct ruvm_arena arena = {0};
    struct ruvm_error err = {0};
    struct ruvm_model m;
    struct ruvm_reference *r;
    uint32_t crc = 0;
    cr_assert_eq(ruvm_model_from_tensors(&m, &arena, t, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_reference_open(&r, &arena, &m, m.context, &err), RUVM_OK, "%s", err.text);
    for (uint32_t i = 0; i < m.context; i++)
        crc = ruvm_crc32(crc, ruvm_reference_step(r, (uint16_t)(i * 7 % m.vocab)),
                         m.vocab * sizeof(float));
    ruvm_arena_free(&arena);
    return crc;
}

static void check_network(int n, bool in_two_files)
{
    struct ruvm_arena arena = {0};
    struct ruvm_error err = {0};
    struct ruvm_hub hub;
    struct ruvm_tensors t = tiny_models_make(&arena, n, TINY_HUGGING_FACE, 1);
    container_text(".", "config.json", tiny_network_config(n));
    if (in_two_files)
        container_sharded(".", &t);
    else
        container_safetensors(".", "model.safetensors", t.views, t.n_views);
    cr_assert_eq(ruvm_hub_open(&hub, ".", &err), RUVM_OK, "%s", err.text);
    cr_expect_eq(hub.n_files, in_two_files ? 2 : 1);
    cr_expect_eq(logits_crc(&hub.tensors), logits_crc(&t), "%s", tiny_network_name(n));
    ruvm_hub_close(&hub);
    ruvm_arena_free(&arena);
}

Test(hub_networks, a_directory_gives_the_logits_of_its_tensors)
{
    for (int n = 0; n < TINY_NETWORKS; n++)
        check_network(n, false);
}

Test(hub_networks, so_do_several_files_with_an_index)
{
    for (int n = 0; n < TINY_NETWORKS; n++)
        check_network(n, true);
}
