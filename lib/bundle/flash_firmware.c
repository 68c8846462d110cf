/* Which programs go into a flash: those that are given, or the firmware of ruvm that suits the
 * pack; and before a program that the ROM cannot load, the loader of ruvm.
 */
#include <stdio.h>
#include <string.h>

#include "formats/mlp_read.h"
#include "formats/pack_read.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/bundle/flash_parts.h"

/* At the beginning of an application: what it is. */
enum {
    DESCRIPTION_MAGIC_0 = 0x5432,
    DESCRIPTION_MAGIC_1 = 0xABCD,
    DESCRIPTION_PROJECT = 48,
    DESCRIPTION_BYTES = 256,
};

/* ---- where it is --------------------------------------------------------------------- */

/* Into path; NULL when it is not there. */
static const char *find(const struct ruvm_flash_job *j, char path[RUVM_FLASH_PATH],
                        const char *name)
{
    const char *dir = j->o->firmware_dir;
    if (!dir)
        return NULL;
    int n = snprintf(path, RUVM_FLASH_PATH, "%s/%s/%s", dir, j->device->name, name);
    FILE *f = n < RUVM_FLASH_PATH ? fopen(path, "rb") : NULL;
    if (!f)
        return NULL;
    fclose(f);
    return path;
}

static int is_missing(const struct ruvm_flash_job *j, const char *name, const char *instead)
{
    if (!j->device->has_firmware)
        return ruvm_fail(
            j->err, RUVM_ERR_UNSUPPORTED,
            "ruvm has no firmware for the %s: give a program (--firmware FILE), ELF or "
            "image",
            j->device->family);
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%s of the firmware for the %s is not there: build it (make firmware), or "
                     "give %s, ELF or image",
                     name, j->device->family, instead);
}

/* ---- which one suits ------------------------------------------------------------------- */

void ruvm_flash_firmware_look(struct ruvm_flash_job *j, const struct ruvm_pack *pack)
{
    struct ruvm_pack_section s = {.data = j->pack.data, .size = (uint32_t)j->pack.size};
    if (pack) {
        j->has_knowledge = ruvm_pack_find(pack, RUVM_PACK_KNOWLEDGE, &s);
        if (!ruvm_pack_find(pack, RUVM_PACK_MODEL, &s))
            return;
    }
    j->has_classifier = ruvm_mlp_image_probe(s.data, s.size);
}

static const char *suitable(const struct ruvm_flash_job *j)
{
    if (j->o->direct_boot)
        return "direct.elf";
    return j->has_knowledge ? "knowledge.elf" : "app.elf";
}

static int check_suits(const struct ruvm_flash_job *j)
{
    if (j->has_classifier)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is a classifier, which the firmware of ruvm cannot run: give a "
                         "program that links the library (--firmware FILE)",
                         j->o->pack);
    if (j->table_off != RUVM_DEVICES_TABLE_OFF)
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "the firmware of ruvm looks for the partition table at 0x%x only: leave "
                         "--table-offset away, or give a program (--firmware FILE)",
                         RUVM_DEVICES_TABLE_OFF);
    return RUVM_OK;
}

static bool is_ours(const struct ruvm_flash_program *p)
{
    for (unsigned i = 0; i < p->image.header.n_segments; i++) {
        const struct ruvm_esp_segment *s = &p->image.segments[i];
        if (s->bytes >= DESCRIPTION_BYTES && ruvm_load_u16(s->data) == DESCRIPTION_MAGIC_0 &&
            ruvm_load_u16(s->data + 2) == DESCRIPTION_MAGIC_1)
            return strcmp((const char *)s->data + DESCRIPTION_PROJECT, "ruvm") == 0;
    }
    return false;
}

static int open_firmware(struct ruvm_flash_job *j)
{
    const char *given = j->o->firmware;
    int rc = given ? RUVM_OK : check_suits(j);
    if (rc != RUVM_OK)
        return rc;
    j->firmware_path = given ? given : find(j, j->found[0], suitable(j));
    if (!j->firmware_path)
        return is_missing(j, suitable(j), "a program (--firmware FILE)");
    rc = ruvm_flash_program_open(&j->firmware, j, j->firmware_path);
    j->is_ours = !given || (rc == RUVM_OK && is_ours(&j->firmware));
    if (rc == RUVM_OK && given && j->is_ours)
        rc = check_suits(j);
    if (rc == RUVM_OK && j->o->direct_boot && !j->firmware.is_direct)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is no program for direct boot (which begins with 1d 04 db ae twice): "
                         "leave --direct-boot away, or link it for that",
                         j->firmware_path);
    return rc;
}

/* What is given as a second stage must be one. */
static int check_bootloader(const struct ruvm_flash_job *j)
{
    if (j->bootloader.is_direct)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is for direct boot and starts nothing else: give it as --firmware",
                         j->bootloader_path);
    if (j->bootloader.mapped_bytes)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: has segments in the window of mapped flash, so it is an application "
                         "and no second stage: give it as --firmware",
                         j->bootloader_path);
    return RUVM_OK;
}

/* A program that the ROM cannot load, or that has slots, needs a loader. */
static int open_bootloader(struct ruvm_flash_job *j)
{
    bool wanted = j->firmware.mapped_bytes > 0 || j->o->ota;
    j->bootloader_path = j->o->bootloader;
    if (!j->bootloader_path && wanted && !j->firmware.is_direct)
        j->bootloader_path = find(j, j->found[1], "boot.elf");
    if (j->bootloader_path) {
        int rc = ruvm_flash_program_open(&j->bootloader, j, j->bootloader_path);
        return rc == RUVM_OK ? check_bootloader(j) : rc;
    }
    if (wanted && !j->o->firmware && !j->firmware.is_direct)
        return is_missing(j, "boot.elf", "one (--bootloader FILE)");
    if (j->o->ota)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "slots (--ota) need a loader, and boot.elf of ruvm's firmware is not "
                         "there: build it (make firmware), or give one (--bootloader FILE)");
    return RUVM_OK;
}

int ruvm_flash_firmware_open(struct ruvm_flash_job *j)
{
    if (j->o->direct_boot && !j->device->direct_boot)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "the ROM of the %s has no direct boot: leave --direct-boot away",
                         j->device->family);
    int rc = open_firmware(j);
    return rc == RUVM_OK ? open_bootloader(j) : rc;
}
