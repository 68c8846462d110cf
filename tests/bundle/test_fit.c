/* What fits a chip: the regions add up, the largest context is the largest, and the bound of
 * speed is above everything that was published. */
#include <criterion/criterion.h>

#include "lib/base/bytes.h"
#include "lib/core/engine.h"
#include "lib/measure/devices.h"
#include "lib/ruvm_tool.h"

Test(fit, regions_add_up_on_every_chip)
{
    struct ruvm_fit_result r;
    const struct ruvm_fit_options o = {.input = "demo", .chip = "all", .context = 100};
    cr_assert_eq(ruvm_fit(&o, &r, NULL), RUVM_OK);
    cr_assert_eq(r.n_chips, 5);
    for (unsigned i = 0; i < r.n_chips; i++) {
        const struct ruvm_fit_chip *c = &r.chips[i];
        uint64_t sum = c->kv_cache_bytes + c->state_bytes + c->index_bytes + c->static_bytes +
                       c->stack_bytes + c->buffer_bytes;
        cr_assert_eq((int64_t)sum + c->memory_left_bytes, (int64_t)c->memory_bytes);
        uint64_t flash = c->model_bytes + c->knowledge_bytes + c->firmware_bytes;
        cr_assert_eq((int64_t)flash + c->flash_left_bytes, (int64_t)c->flash_bytes);
        double slower = c->compute_s > c->memory_s ? c->compute_s : c->memory_s;
        cr_assert_float_eq(c->tokens_per_s * slower, 1, 1e-9);
    }
}

static size_t own(size_t engine, size_t row)
{
    return ruvm_align_up(engine, 16) + ruvm_align_up(RUVM_DEVICES_BLOCK * row, 16);
}

/* The bytes of the engine are those that it asks for, with the firmware's block; but for its
 * structs, as they are on 32 bits. tests/device/firmware.sh compares with the chip. */
Test(fit, engine_is_the_engine)
{
    struct ruvm_fit_result r;
    struct ruvm_file file;
    size_t bytes;
    const struct ruvm_fit_options o = {.input = "demo", .chip = "esp32c3", .context = 77};
    const struct ruvm_engine_options e = {.context = 77, .block = RUVM_DEVICES_BLOCK};
    cr_assert_eq(ruvm_fit(&o, &r, NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_open(&file, "demo", NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_bytes(file.data, file.size, &e, &bytes), RUVM_OK);
    cr_assert_eq(r.chips[0].kv_cache_bytes + r.chips[0].state_bytes,
                 bytes - own(sizeof(struct ruvm_engine), sizeof(struct ruvm_block_row)) +
                     own(RUVM_ENGINE_BYTES_32, RUVM_BLOCK_ROW_BYTES_32));
    ruvm_file_close(&file);
}

Test(fit, bound_is_above_what_was_published)
{
    struct ruvm_fit_result r;
    const struct ruvm_fit_options o = {.input = "demo", .chip = "all"};
    cr_assert_eq(ruvm_fit(&o, &r, NULL), RUVM_OK);
    cr_assert_geq(r.n_published, 5);
    for (unsigned i = 0; i < r.n_published; i++) {
        double ratio = r.published[i].modelled_tokens_per_s / r.published[i].tokens_per_s;
        cr_assert(ratio >= 1 && ratio < 3, "%s: %g", r.published[i].system, ratio);
    }
}

Test(fit, every_number_of_a_chip_has_a_source)
{
    const struct ruvm_device *d;
    for (unsigned i = 0; (d = ruvm_devices_at(i)); i++) {
        const struct ruvm_fact facts[] = {d->clock_mhz,        d->cores,      d->flash_mb_s,
                                          d->instructions_mac, d->wifi_bytes, d->psram_mb_s,
                                          d->awake_ma,         d->sleep_ua};
        for (unsigned k = 0; k < sizeof facts / sizeof *facts; k++) {
            cr_assert_eq(facts[k].value > 0, facts[k].source != RUVM_SOURCE_NONE, "%s %u", d->name,
                         k);
            cr_assert_not_null(ruvm_devices_source(facts[k].source));
        }
        cr_assert_eq(ruvm_devices_by_id(d->chip_id), d);
        cr_assert_eq(d->psram == NULL, d->psram_mb_s.value <= 0);
    }
    cr_assert_null(ruvm_devices_by_id(77));
}
