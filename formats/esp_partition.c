/* Partition tables: bytes, text, and the rules that both must obey. */
#include "formats/esp_partition.h"

#include <nettle/md5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/problems.h"

enum {
    AT_MAGIC = 0,
    AT_TYPE = 2,
    AT_SUBTYPE = 3,
    AT_OFF = 4,
    AT_BYTES = 8,
    AT_LABEL = 12,
    AT_FLAGS = 28,
    ENTRY_MAGIC = 0x50AA,
    MD5_MAGIC = 0xEBEB,
    END_MAGIC = 0xFFFF,
    MD5_AT = 16,
    APP_ALIGN = 0x10000,
    DATA_ALIGN = 0x1000,
    OTA_DATA_BYTES = 0x2000,
    NVS_MIN_BYTES = 0x3000,
};

/* ---- names --------------------------------------------------------------------- */

static const struct named {
    int type, number; /* type -1: a type */
    const char *name;
} names[] = {
    {-1, 0, "app"},         {-1, 1, "data"},
    {-1, 2, "bootloader"},  {-1, 3, "partition_table"},
    {0, 0x00, "factory"},   {0, 0x20, "test"},
    {1, 0x00, "ota"},       {1, 0x01, "phy"},
    {1, 0x02, "nvs"},       {1, 0x03, "coredump"},
    {1, 0x04, "nvs_keys"},  {1, 0x05, "efuse"},
    {1, 0x06, "undefined"}, {1, 0x80, "esphttpd"},
    {1, 0x81, "fat"},       {1, 0x82, "spiffs"},
    {1, 0x83, "littlefs"},  {1, RUVM_ESP_PACK, "0x40"},
};
enum { N_NAMES = sizeof names / sizeof *names };

static void name_of(char text[16], int type, uint8_t number)
{
    snprintf(text, 16, "0x%02x", number);
    if (type == RUVM_ESP_APP && number >= RUVM_ESP_OTA_0 && number < RUVM_ESP_OTA_0 + 16)
        snprintf(text, 16, "ota_%d", number - RUVM_ESP_OTA_0);
    for (size_t i = 0; i < N_NAMES; i++)
        if (names[i].type == type && names[i].number == number)
            snprintf(text, 16, "%s", names[i].name);
}

void ruvm_esp_type_name(char text[16], uint8_t type)
{
    name_of(text, -1, type);
}

void ruvm_esp_subtype_name(char text[16], uint8_t type, uint8_t subtype)
{
    name_of(text, type, subtype);
}

const struct ruvm_esp_partition *ruvm_esp_table_find(const struct ruvm_esp_table *t,
                                                     const char *label)
{
    for (unsigned i = 0; i < t->n; i++)
        if (strcmp(t->p[i].label, label) == 0)
            return &t->p[i];
    return NULL;
}

/* ---- binary -------------------------------------------------------------------- */

static void md5_of(uint8_t *digest, const uint8_t *data, size_t n)
{
    struct md5_ctx md5;
    md5_init(&md5);
    md5_update(&md5, n, data);
    md5_digest(&md5, MD5_DIGEST_SIZE, digest);
}

static void put_entry(uint8_t *e, const struct ruvm_esp_partition *p)
{
    memset(e, 0, RUVM_ESP_PARTITION_BYTES);
    ruvm_store_u16(e + AT_MAGIC, ENTRY_MAGIC);
    e[AT_TYPE] = p->type;
    e[AT_SUBTYPE] = p->subtype;
    ruvm_store_u32(e + AT_OFF, p->off);
    ruvm_store_u32(e + AT_BYTES, p->bytes);
    memcpy(e + AT_LABEL, p->label, strlen(p->label));
    ruvm_store_u32(e + AT_FLAGS, p->flags);
}

void ruvm_esp_table_write(struct ruvm_buffer *out, const struct ruvm_esp_table *t)
{
    uint8_t *e = ruvm_buffer_zeros(out, RUVM_ESP_TABLE_SECTOR);
    if (!e)
        return;
    memset(e, 0xFF, RUVM_ESP_TABLE_SECTOR);
    size_t n = (size_t)t->n * RUVM_ESP_PARTITION_BYTES;
    for (unsigned i = 0; i < t->n; i++)
        put_entry(e + (size_t)i * RUVM_ESP_PARTITION_BYTES, &t->p[i]);
    ruvm_store_u16(e + n, MD5_MAGIC);
    md5_of(e + n + MD5_AT, e, n);
}

static void get_entry(struct ruvm_esp_partition *p, const uint8_t *e)
{
    *p = (struct ruvm_esp_partition){
        .type = e[AT_TYPE],
        .subtype = e[AT_SUBTYPE],
        .off = ruvm_load_u32(e + AT_OFF),
        .bytes = ruvm_load_u32(e + AT_BYTES),
        .flags = ruvm_load_u32(e + AT_FLAGS),
    };
    memcpy(p->label, e + AT_LABEL, RUVM_ESP_LABEL_BYTES);
}

static int fail_entry(struct ruvm_error *err, const char *name, size_t at, const char *what)
{
    return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: partition table, byte 0x%zx: %s", name, at, what);
}

int ruvm_esp_table_read(struct ruvm_esp_table *t, const char *name, const void *data, size_t size,
                        struct ruvm_error *err)
{
    const uint8_t *e = data;
    uint8_t digest[MD5_DIGEST_SIZE];
    bool has_md5 = false;
    *t = (struct ruvm_esp_table){0};
    for (size_t at = 0; at + RUVM_ESP_PARTITION_BYTES <= size && at < RUVM_ESP_TABLE_BYTES;
         at += RUVM_ESP_PARTITION_BYTES) {
        uint16_t magic = ruvm_load_u16(e + at);
        if (magic == END_MAGIC)
            return t->n ? RUVM_OK
                        : fail_entry(err, name, at,
                                     "there is none here: give its offset, or a "
                                     "dump that has one");
        if (magic == MD5_MAGIC && !has_md5) {
            md5_of(digest, e, at);
            has_md5 = true;
            if (memcmp(digest, e + at + MD5_AT, sizeof digest) != 0)
                return fail_entry(err, name, at, "its MD5 is not that of the entries before it");
        } else if (magic != ENTRY_MAGIC || has_md5 || t->n == RUVM_ESP_MAX_PARTITIONS) {
            return fail_entry(err, name, at,
                              "is neither an entry, nor an MD5, nor the end of a table");
        } else {
            get_entry(&t->p[t->n++], e + at);
        }
    }
    return fail_entry(err, name, size, "the table does not end");
}

/* ---- text ---------------------------------------------------------------------- */

/* A field cut out of a line, without spaces around it. */
static void take_field(char field[64], const char **p, const char *end)
{
    const char *from = *p, *comma = memchr(from, ',', (size_t)(end - from));
    const char *to = comma ? comma : end;
    *p = comma ? comma + 1 : end;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
        to--;
    size_t n = (size_t)(to - from) < 63 ? (size_t)(to - from) : 63;
    memcpy(field, from, n);
    field[n] = '\0';
}

/* "0x10000", "64K", "1M". */
static bool parse_number(uint32_t *value, const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long v = strtoull(text, &end, 0);
    unsigned shift = *end == 'k' || *end == 'K' ? 10 : *end == 'm' || *end == 'M' ? 20 : 0;
    end += shift != 0;
    if (*end || v > UINT32_MAX || (v << shift) > UINT32_MAX)
        return false;
    *value = (uint32_t)(v << shift);
    return true;
}

static bool parse_name(uint8_t *value, int type, const char *text)
{
    uint32_t number;
    if (type == RUVM_ESP_APP && strncmp(text, "ota_", 4) == 0 && parse_number(&number, text + 4) &&
        number < 16) {
        *value = (uint8_t)(RUVM_ESP_OTA_0 + number);
        return true;
    }
    for (size_t i = 0; i < N_NAMES; i++)
        if (names[i].type == type && strcmp(names[i].name, text) == 0) {
            *value = (uint8_t)names[i].number;
            return true;
        }
    if (!parse_number(&number, text) || number > 0xFF)
        return false;
    *value = (uint8_t)number;
    return true;
}

static bool parse_flags(uint32_t *flags, char *text)
{
    *flags = 0;
    for (char *word = strtok(text, ": "); word; word = strtok(NULL, ": ")) {
        if (strcmp(word, "encrypted") == 0)
            *flags |= 1;
        else if (strcmp(word, "readonly") == 0)
            *flags |= 2;
        else
            return false;
    }
    return true;
}

/* What is wrong with a line, or NULL. */
static const char *parse_line(struct ruvm_esp_partition *p, const char *line, const char *end,
                              uint32_t next)
{
    char field[64];
    *p = (struct ruvm_esp_partition){0};
    take_field(field, &line, end);
    if (!*field || strlen(field) >= RUVM_ESP_LABEL_BYTES)
        return "the name should have 1 to 15 characters";
    memcpy(p->label, field, strlen(field));
    take_field(field, &line, end);
    if (!parse_name(&p->type, -1, field))
        return "the type should be app, data or a number up to 0xff";
    take_field(field, &line, end);
    if (!parse_name(&p->subtype, p->type, *field ? field : "0"))
        return "the subtype is not known, and no number up to 0xff";
    take_field(field, &line, end);
    uint32_t align = p->type == RUVM_ESP_APP ? APP_ALIGN : DATA_ALIGN;
    p->off = (next + align - 1) & ~(align - 1);
    if (*field && !parse_number(&p->off, field))
        return "the offset should be a number such as 0x10000 or 64K";
    take_field(field, &line, end);
    if (!parse_number(&p->bytes, field))
        return "the size should be a number such as 0x6000 or 1M";
    take_field(field, &line, end);
    return parse_flags(&p->flags, field) ? NULL : "the flags should be encrypted or readonly";
}

int ruvm_esp_table_parse(struct ruvm_esp_table *t, const char *name, const void *text, size_t size,
                         uint32_t first_off, struct ruvm_error *err)
{
    const char *p = text, *stop = p + size;
    struct ruvm_problems problems = {0};
    uint32_t next = first_off;
    *t = (struct ruvm_esp_table){0};
    if (size && memchr(text, 0, size))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is neither text nor a partition table: give lines of "
                         "Name, Type, SubType, Offset, Size",
                         name);
    for (unsigned number = 1; p < stop; number++) {
        const char *end = memchr(p, '\n', (size_t)(stop - p));
        const char *line = p, *what;
        end = end ? end : stop;
        while (line < end && (*line == ' ' || *line == '\t'))
            line++;
        p = end < stop ? end + 1 : stop;
        if (line >= end || *line == '#' || *line == '\r')
            continue;
        struct ruvm_esp_partition one;
        what = t->n == RUVM_ESP_MAX_PARTITIONS ? "a table has at most 94 partitions"
                                               : parse_line(&one, line, end, next);
        if (what) {
            ruvm_problems_note(&problems, RUVM_ERR_UNSUPPORTED, "line %u: %s", number, what);
            continue;
        }
        next = one.off + one.bytes;
        t->p[t->n++] = one;
    }
    if (t->n == 0 && problems.n == 0)
        ruvm_problems_note(&problems, RUVM_ERR_UNSUPPORTED, "there is no partition in it");
    int rc = ruvm_problems_report(&problems, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, name);
    return rc;
}

void ruvm_esp_table_print(struct ruvm_buffer *out, const struct ruvm_esp_table *t)
{
    char type[16], subtype[16];
    ruvm_buffer_printf(out, "# Name, Type, SubType, Offset, Size, Flags\n");
    for (unsigned i = 0; i < t->n; i++) {
        const struct ruvm_esp_partition *p = &t->p[i];
        ruvm_esp_type_name(type, p->type);
        ruvm_esp_subtype_name(subtype, p->type, p->subtype);
        ruvm_buffer_printf(out, "%s,%s,%s,0x%x,0x%x,%s%s%s\n", p->label, type, subtype,
                           (unsigned)p->off, (unsigned)p->bytes, p->flags & 1 ? "encrypted" : "",
                           (p->flags & 3) == 3 ? ":" : "", p->flags & 2 ? "readonly" : "");
    }
}

/* ---- rules --------------------------------------------------------------------- */

static void check_one(struct ruvm_problems *all, const struct ruvm_esp_partition *p,
                      const struct ruvm_esp_limits *l)
{
    uint32_t align = p->type == RUVM_ESP_APP ? APP_ALIGN : DATA_ALIGN;
    uint64_t end = (uint64_t)p->off + p->bytes;
    bool is_data = p->type == RUVM_ESP_DATA;
    if (p->off % align)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" begins at 0x%x, which is no multiple of 0x%x", p->label,
                           (unsigned)p->off, (unsigned)align);
    if (p->bytes == 0 || p->bytes % DATA_ALIGN)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" has 0x%x bytes, which is no multiple of a sector (0x1000)",
                           p->label, (unsigned)p->bytes);
    if (end > l->flash_bytes)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" ends at 0x%llx, the flash at 0x%x: make it smaller, or choose "
                           "a larger flash",
                           p->label, (unsigned long long)end, (unsigned)l->flash_bytes);
    if (p->off < l->table_off + RUVM_ESP_TABLE_SECTOR && end > l->table_off)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" lies over the partition table at 0x%x", p->label,
                           (unsigned)l->table_off);
    if (is_data && p->subtype == RUVM_ESP_DATA_OTA && p->bytes != OTA_DATA_BYTES)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" (which slot is started) should have 0x2000 bytes", p->label);
    if (is_data && p->subtype == RUVM_ESP_NVS && p->bytes < NVS_MIN_BYTES)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED, "\"%s\" (nvs) needs at least 0x3000 bytes",
                           p->label);
    if (p->type > 3 && p->type < 0x40)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" has the type 0x%02x, which is reserved; use 0x40 to 0xfe",
                           p->label, p->type);
}

static void check_pair(struct ruvm_problems *all, const struct ruvm_esp_partition *a,
                       const struct ruvm_esp_partition *b)
{
    if (strcmp(a->label, b->label) == 0)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED, "two partitions are named \"%s\"", a->label);
    if ((uint64_t)a->off + a->bytes > b->off && (uint64_t)b->off + b->bytes > a->off)
        ruvm_problems_note(all, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" (0x%x to 0x%llx) and \"%s\" (0x%x to 0x%llx) overlap", a->label,
                           (unsigned)a->off, (unsigned long long)a->off + a->bytes, b->label,
                           (unsigned)b->off, (unsigned long long)b->off + b->bytes);
}

int ruvm_esp_table_check(const struct ruvm_esp_table *t, const char *name,
                         const struct ruvm_esp_limits *limits, struct ruvm_error *err)
{
    struct ruvm_problems all = {0};
    for (unsigned i = 0; i < t->n; i++) {
        check_one(&all, &t->p[i], limits);
        for (unsigned j = 0; j < i; j++)
            check_pair(&all, &t->p[j], &t->p[i]);
    }
    int rc = ruvm_problems_report(&all, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, name);
    return rc;
}
