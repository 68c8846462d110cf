/* flash: the contents of a chip's flash, from a pack and a program, as files or in the chip. */
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_flash.h"

static const struct ruvm_args_option options[] = {
    {"chip", 'c', RUVM_ARGS_CHOICE, "CHIP", .help = "the chip; required but with --port",
     .choices = "esp32 esp32s2 esp32s3 esp32c3 esp32c6"},
    {"out", 'o', RUVM_ARGS_FILE, "FILE", .help = "what is written; a folder with --to parts"},
    {"to", 0, RUVM_ARGS_CHOICE, "FORMAT", .help = "format of --out", .fallback = "raw",
     .choices = "raw parts uf2 hex"},
    {"trim", 0, RUVM_ARGS_FLAG, .help = "end a raw image with its last sector in use"},
    {"firmware", 0, RUVM_ARGS_FILE, "FILE",
     .help = "the application, ELF or image for the chip; default: that of ruvm for the pack"},
    {"bootloader", 0, RUVM_ARGS_FILE, "FILE",
     .help = "second stage that starts the application; default: that of ruvm where one is needed"},
    {"direct-boot", 0, RUVM_ARGS_FLAG,
     .help = "the ROM starts the application where it lies in flash (ESP32-C3)"},
    {"partitions", 0, RUVM_ARGS_FILE, "FILE",
     .help = "partition table, CSV or binary; default: one is made"},
    {"partition", 0, RUVM_ARGS_TEXT, "NAME", .help = "name of the pack's partition",
     .fallback = "ruvm"},
    {"dump", 0, RUVM_ARGS_FILE, "FILE",
     .help = "contents of a flash in which only the pack's partition is replaced"},
    {"ota", 0, RUVM_ARGS_FLAG, .help = "two slots for the application"},
    {"flash-size", 0, RUVM_ARGS_COUNT, "BYTES", .help = "size of the flash", .fallback = "4M",
     .min = 1048576, .max = 134217728},
    {"pack-size", 0, RUVM_ARGS_COUNT, "BYTES",
     .help = "room for the pack in a table that is made; default: what it takes", .min = 4096,
     .max = 134217728},
    {"table-offset", 0, RUVM_ARGS_COUNT, "OFFSET", .help = "where the partition table stands",
     .fallback = "0x8000", .min = 4096, .max = 16777216},
    {"flash-mode", 0, RUVM_ARGS_CHOICE, "MODE",
     .help = "mode in the images' headers; default: as they are, dio for ELF",
     .choices = "qio qout dio dout"},
    {"flash-freq", 0, RUVM_ARGS_CHOICE, "FREQ",
     .help = "speed in the images' headers; default: as they are, 40m for ELF",
     .choices = "80m 40m 26m 20m"},
    {"plan", 0, RUVM_ARGS_FLAG, .help = "show what stands where"},
    {"svg", 0, RUVM_ARGS_FILE, "FILE", .help = "draw what stands where"},
    {"emit", 0, RUVM_ARGS_CHOICE, "TOOL", .help = "print the command lines that write it",
     .choices = "esptool espflash idf"},
    {"manifest", 0, RUVM_ARGS_FILE, "FILE",
     .help = "write a manifest for ESP Web Tools, which flash from a browser"},
    {"name", 0, RUVM_ARGS_TEXT, "TEXT", .help = "name in the manifest", .fallback = "ruvm"},
    {"port", 'p', RUVM_ARGS_FILE, "DEVICE",
     .help =
         "serial port of a chip to write: all of it, or just the pack when no program is given"},
    {"whole", 0, RUVM_ARGS_FLAG, .help = "write all to --port, with the firmware of ruvm"},
    {"baud", 0, RUVM_ARGS_COUNT, "RATE", .help = "speed of --port; less when it does not carry it",
     .fallback = "460800", .min = 115200, .max = 4000000},
    {"rewrite", 0, RUVM_ARGS_FLAG, .help = "write also sectors that are right already"},
    {"monitor", 'm', RUVM_ARGS_FLAG,
     .help = "then show the chip's console; Ctrl-] ends it; without PACK only that"},
    {"monitor-baud", 0, RUVM_ARGS_COUNT, "RATE", .help = "speed of the console",
     .fallback = "115200", .min = 300, .max = 4000000},
    {"idle", 0, RUVM_ARGS_NUMBER, "SECONDS",
     .help = "silence after which the monitor goes on to a script's next line", .fallback = "2",
     .min = 0.05, .max = 86400},
    {"progress", 0, RUVM_ARGS_CHOICE, "WHEN", .help = "progress of --port on standard error",
     .choices = "auto plain none", .fallback = "auto"},
    RUVM_ARGS_JSON,
    RUVM_ARGS_HELP,
    {0},
};

/* ---- people ------------------------------------------------------------------------ */

static void print_bar(const struct ruvm_flash_region *g)
{
    enum { WIDTH = 16 };
    uint64_t n =
        g->size_bytes ? ((uint64_t)g->used_bytes * WIDTH + g->size_bytes - 1) / g->size_bytes : 0;
    char bar[WIDTH + 1];
    for (unsigned i = 0; i < WIDTH; i++)
        bar[i] = i < n ? '#' : '.';
    bar[WIDTH] = '\0';
    fputs(bar, stdout);
}

static void print_plan(const struct ruvm_flash_result *r)
{
    printf("%s, flash of %s bytes; mapped as data %s of %s bytes\n\n", r->family,
           ruvm_output_grouped(r->flash_bytes), ruvm_output_grouped(r->mapped_bytes),
           ruvm_output_grouped(r->window_bytes));
    puts("  offset    room        used        share             what");
    for (uint32_t i = 0; i < r->n_regions; i++) {
        const struct ruvm_flash_region *g = &r->regions[i];
        bool is_free = strcmp(g->name, "free") == 0 && !g->kind[0];
        char *name = ruvm_output_visible(g->name, strlen(g->name));
        printf("  0x%06x  %10s  %10s  ", g->off_bytes, ruvm_output_grouped(g->size_bytes),
               is_free ? "" : ruvm_output_grouped(g->used_bytes));
        print_bar(g);
        printf("  %s%s%s%s\n", name, g->kind[0] ? " (" : "", g->kind, g->kind[0] ? ")" : "");
        free(name);
    }
}

/* ---- command lines ------------------------------------------------------------------ */

static bool in_parts(const struct ruvm_flash_options *o)
{
    return strcmp(o->to, "parts") == 0;
}

static void print_path(const struct ruvm_flash_options *o, const char *file)
{
    char path[1024];
    if (file)
        snprintf(path, sizeof path, "%s/%s", o->output, file);
    ruvm_output_word(file ? path : o->output);
}

static void emit_esptool(const struct ruvm_flash_options *o, const struct ruvm_flash_result *r)
{
    printf("esptool.py --chip %s write_flash --flash_mode %s --flash_freq %s --flash_size %uMB",
           r->chip, r->mode[0] ? r->mode : "keep", r->speed[0] ? r->speed : "keep",
           r->flash_bytes >> 20);
    for (uint32_t i = 0; in_parts(o) && i < r->n_regions; i++)
        if (r->regions[i].file[0]) {
            printf(" 0x%x ", r->regions[i].off_bytes);
            print_path(o, r->regions[i].file);
        }
    if (!in_parts(o)) {
        fputs(" 0x0 ", stdout);
        print_path(o, NULL);
    }
    putchar('\n');
}

static void emit_espflash(const struct ruvm_flash_options *o, const struct ruvm_flash_result *r)
{
    for (uint32_t i = 0; in_parts(o) && i < r->n_regions; i++)
        if (r->regions[i].file[0]) {
            printf("espflash write-bin --chip %s 0x%x ", r->chip, r->regions[i].off_bytes);
            print_path(o, r->regions[i].file);
            putchar('\n');
        }
    if (!in_parts(o)) {
        printf("espflash write-bin --chip %s 0x0 ", r->chip);
        print_path(o, NULL);
        putchar('\n');
    }
}

/* In an ESP-IDF project only the pack is ours: its partition is written by name. */
static void emit_idf(const struct ruvm_flash_options *o, const struct ruvm_flash_result *r)
{
    printf("parttool.py --partition-table-offset 0x%x write_partition --partition-name ",
           r->table_off);
    ruvm_output_word(r->label);
    fputs(" --input ", stdout);
    ruvm_output_word(o->pack);
    putchar('\n');
}

static void emit(const struct ruvm_args *args, const struct ruvm_flash_options *o,
                 const struct ruvm_flash_result *r)
{
    const char *tool = ruvm_args_text(args, "emit");
    if (strcmp(tool, "esptool") == 0)
        emit_esptool(o, r);
    else if (strcmp(tool, "espflash") == 0)
        emit_espflash(o, r);
    else
        emit_idf(o, r);
}

/* ---- JSON --------------------------------------------------------------------------- */

static void print_json(const struct ruvm_flash_options *o, const struct ruvm_flash_result *r)
{
    struct cJSON *object = ruvm_json_start("flash");
    ruvm_json_text(object, "chip", r->chip);
    ruvm_json_text(object, "pack", o->pack);
    if (o->output)
        ruvm_json_text(object, "file", o->output);
    ruvm_json_text(object, "format", o->to);
    ruvm_json_count(object, "bytes", r->bytes);
    ruvm_json_count(object, "flash_bytes", r->flash_bytes);
    ruvm_json_count(object, "table_off_bytes", r->table_off);
    ruvm_json_count(object, "window_bytes", r->window_bytes);
    ruvm_json_count(object, "mapped_bytes", r->mapped_bytes);
    struct cJSON *list = ruvm_json_array(object, "regions");
    for (uint32_t i = 0; i < r->n_regions; i++) {
        const struct ruvm_flash_region *g = &r->regions[i];
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "name", g->name);
        ruvm_json_text(x, "kind", g->kind);
        ruvm_json_count(x, "off_bytes", g->off_bytes);
        ruvm_json_count(x, "size_bytes", g->size_bytes);
        ruvm_json_count(x, "used_bytes", g->used_bytes);
        if (g->file[0])
            ruvm_json_text(x, "file", g->file);
    }
    if (r->firmware[0])
        ruvm_json_text(object, "firmware", r->firmware);
    if (r->bootloader[0])
        ruvm_json_text(object, "bootloader", r->bootloader);
    if (o->port)
        ruvm_cmd_flash_json(object, o, r);
    ruvm_json_finish(object);
}

/* ---- the verb ----------------------------------------------------------------------- */

static bool writes_pack_alone(const struct ruvm_flash_options *o)
{
    return o->port && !o->firmware && !o->whole && !o->direct_boot;
}

static int check_port(const struct ruvm_args *args, const struct ruvm_flash_options *o)
{
    bool monitor = ruvm_args_given(args, "monitor");
    if (!o->port && (monitor || ruvm_args_given(args, "baud") || o->rewrite || o->whole))
        return ruvm_args_usage(args, "--monitor, --baud, --rewrite and --whole need --port");
    if (monitor && (ruvm_args_given(args, "json") || (o->output && strcmp(o->output, "-") == 0)))
        return ruvm_args_usage(args, "standard output cannot take both");
    if (o->port && o->dump)
        return ruvm_args_usage(args,
                               "with --port the chip itself says what it has: leave --dump "
                               "away");
    if (writes_pack_alone(o) && (o->bootloader || o->partitions || o->ota))
        return ruvm_args_usage(
            args, "--bootloader, --partitions and --ota go with --firmware or --whole");
    return RUVM_EXIT_DONE;
}

/* Each combination that means nothing, and why. */
static const char *wrong_combination(const struct ruvm_args *args,
                                     const struct ruvm_flash_options *o)
{
    bool raw = strcmp(o->to, "raw") == 0;
    bool shows = ruvm_args_given(args, "plan") || o->svg || ruvm_args_given(args, "json");
    if (!o->chip && !o->port)
        return "--chip is missing";
    if (!o->output && !shows && !o->port)
        return "--out FILE is missing (or --plan, which writes nothing)";
    if (!o->output && (o->manifest || ruvm_args_given(args, "emit")))
        return "--manifest and --emit need --out";
    if (o->output && writes_pack_alone(o))
        return "--out with --port needs --firmware or --whole: the pack alone is no flash";
    if (o->manifest && !raw && !in_parts(o))
        return "--manifest goes with --to raw and --to parts";
    if (o->dump &&
        (o->firmware || o->bootloader || o->partitions || o->ota || o->direct_boot || !raw))
        return "--dump keeps all but the pack: of the options that make a flash none goes with it";
    if (o->ota && o->partitions)
        return "--ota makes the table itself: leave --partitions away, or write the slots into it";
    if (o->direct_boot && (o->bootloader || o->ota))
        return "with --direct-boot there is no loader, and so no slots";
    if (o->output && strcmp(o->output, "-") == 0 && (in_parts(o) || shows))
        return "standard output cannot take both";
    return NULL;
}

static int check(const struct ruvm_args *args, const struct ruvm_flash_options *o)
{
    int rc = check_port(args, o);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    const char *wrong = wrong_combination(args, o);
    return wrong ? ruvm_args_usage(args, "%s", wrong) : RUVM_EXIT_DONE;
}

/* What nobody named was chosen: which it is. */
static void print_programs(const struct ruvm_flash_options *o, const struct ruvm_flash_result *r)
{
    if (r->firmware[0] && !o->firmware)
        printf("firmware: %s%s\n", r->firmware,
               r->has_knowledge ? ", as the pack has knowledge" : "");
    if (r->bootloader[0] && !o->bootloader)
        printf("loader: %s\n", r->bootloader);
}

static void report(const struct ruvm_args *args, const struct ruvm_flash_options *o,
                   const struct ruvm_flash_result *r)
{
    if (ruvm_args_given(args, "json")) {
        print_json(o, r);
        return;
    }
    if (!o->output || strcmp(o->output, "-") != 0)
        print_programs(o, r);
    if (ruvm_args_given(args, "plan"))
        print_plan(r);
    if (o->output && ruvm_args_given(args, "emit"))
        emit(args, o, r);
    else if (o->output && strcmp(o->output, "-") != 0)
        printf("%s%s: %s bytes for the %s\n", ruvm_args_given(args, "plan") ? "\n" : "", o->output,
               ruvm_output_grouped(r->bytes), r->family);
    if (o->port)
        ruvm_cmd_flash_print(o, r);
}

/* What a monitor calls when all is written, before the console is heard. */
static void begin_monitor(void *user, const struct ruvm_flash_result *r)
{
    const struct ruvm_cmd_flash_call *call = user;
    ruvm_output_progress_end();
    if (r)
        report(call->args, call->options, r);
    ruvm_cmd_flash_greet(call);
}

static int run(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_flash_result r;
    struct ruvm_cmd_flash_call call = {.args = args};
    const struct ruvm_monitor monitor = ruvm_cmd_flash_monitor(&call, begin_monitor);
    bool monitors = ruvm_args_given(args, "monitor");
    char firmware_dir[RUVM_CMD_FLASH_PATH];
    const struct ruvm_flash_options o = {
        .pack = ruvm_args_operand(args, 0),
        .chip = ruvm_args_text(args, "chip"),
        .firmware = ruvm_args_text(args, "firmware"),
        .bootloader = ruvm_args_text(args, "bootloader"),
        .firmware_dir = ruvm_cmd_flash_firmware_dir(firmware_dir),
        .direct_boot = ruvm_args_given(args, "direct-boot"),
        .whole = ruvm_args_given(args, "whole"),
        .partitions = ruvm_args_text(args, "partitions"),
        .label = ruvm_args_text(args, "partition"),
        .dump = ruvm_args_text(args, "dump"),
        .ota = ruvm_args_given(args, "ota"),
        .flash_bytes = ruvm_args_given(args, "flash-size") ? ruvm_args_u32(args, "flash-size") : 0,
        .table_off = ruvm_args_u32(args, "table-offset"),
        .pack_bytes = ruvm_args_u32(args, "pack-size"),
        .mode = ruvm_args_text(args, "flash-mode"),
        .speed = ruvm_args_text(args, "flash-freq"),
        .to = ruvm_args_text(args, "to"),
        .trim = ruvm_args_given(args, "trim"),
        .output = ruvm_args_text(args, "out"),
        .svg = ruvm_args_text(args, "svg"),
        .manifest = ruvm_args_text(args, "manifest"),
        .name = ruvm_args_text(args, "name"),
        .port = ruvm_args_text(args, "port"),
        .baud = ruvm_args_u32(args, "baud"),
        .rewrite = ruvm_args_given(args, "rewrite"),
        .monitor = monitors ? &monitor : NULL,
        .progress = ruvm_output_progress(ruvm_args_text(args, "progress")),
    };
    call.options = &o;
    if (!o.pack && !(monitors && o.port))
        return ruvm_args_usage(args, "PACK is missing");
    int rc = check(args, &o);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    rc = o.pack ? ruvm_flash(&o, &r, &err) : ruvm_flash_monitor(o.port, &monitor, &err);
    ruvm_cmd_flash_end(&call);
    if (rc != RUVM_OK)
        return ruvm_output_failure("flash", &err);
    if (!monitors)
        report(args, &o, &r);
    return ruvm_output_signal() ? 128 + ruvm_output_signal() : RUVM_EXIT_DONE;
}

const struct ruvm_args_command ruvm_cmd_flash = {
    .name = "flash",
    .summary =
        "Lay out the flash of a chip from a pack and a program; write it as a file or to a chip.",
    .usage = "[PACK] [--chip CHIP] [--port DEVICE] [OPTION ...]",
    .examples =
        "  ruvm flash app.rpak --chip esp32c3 -o flash.bin\n"
        "  ruvm flash app.rpak --chip esp32c3 --direct-boot --plan\n"
        "  ruvm flash app.rpak --chip esp32s3 --firmware app.elf --bootloader boot.elf -o "
        "flash.bin\n"
        "  ruvm flash app.rpak --chip esp32c3 --dump old.bin -o new.bin\n"
        "  ruvm flash app.rpak --port /dev/ttyUSB0 --monitor\n",
    .options = options,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
