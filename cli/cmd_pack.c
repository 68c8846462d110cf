/* pack: one file of what a chip needs: model, settings, knowledge; made, changed, looked at.
 *
 * At most one of the actions (--list, --extract, ...) is given; without one a pack is made.
 */
#include "cli/cmd_pack.h"

#include <stdlib.h>
#include <string.h>

static const struct ruvm_args_option options[] = {
    {"out", 'o', RUVM_ARGS_FILE, "FILE", .help = "what is written; - is standard output"},
    {"settings", 0, RUVM_ARGS_FILE, "FILE", .help = "JSON object of settings (section sett)"},
    {"knowledge", 0, RUVM_ARGS_FILE, "FILE", .help = "knowledge blob (section know)"},
    {"gate", 0, RUVM_ARGS_FILE, "FILE", .help = "settings of a gate, carried as they are (section gate)"},
    {"plugin", 0, RUVM_ARGS_FILE, "FILE", .help = "plugin, carried as it is (section plug)"},
    {"replace", 0, RUVM_ARGS_TEXT, "SECTION=FILE",
     .help = "put a file in the place of a section, or add it under that name", .repeats = true},
    {"remove", 0, RUVM_ARGS_TEXT, "SECTION", .help = "leave a section out", .repeats = true},
    {"sign", 0, RUVM_ARGS_FILE, "KEY",
     .help = "sign with this ed25519 private key; PEM, or 64 hexadecimal digits"},
    {"list", 'l', RUVM_ARGS_FLAG, .help = "list the sections; all checksums are checked"},
    {"verify", 0, RUVM_ARGS_FLAG, .help = "check the signature; exit code 4: it does not hold"},
    {"key", 0, RUVM_ARGS_FILE, "KEY",
     .help = "with --verify: the ed25519 public key that must have signed"},
    {"extract", 'x', RUVM_ARGS_TEXT, "SECTION", .help = "write a section's bytes to --out"},
    {"compress", 0, RUVM_ARGS_FLAG, .help = "write a gzip file of the pack to --out"},
    {"decompress", 0, RUVM_ARGS_FLAG, .help = "write the pack that --compress was given"},
    {"against", 0, RUVM_ARGS_FILE, "OLD",
     .help = "write a delta to --out; the 4 KiB sectors in which the pack differs from this one"},
    {"apply", 0, RUVM_ARGS_FILE, "DELTA", .help = "write the pack that a delta makes of this one"},
    {"emit-c", 0, RUVM_ARGS_TEXT, "NAME", .help = "write a C header with the pack as this array"},
    RUVM_ARGS_JSON,
    RUVM_ARGS_HELP,
    {0},
};

/* Options that name what is done, and those that say how a pack is made. */
static const char *const actions[] = {"list",       "verify",  "extract", "compress",
                                      "decompress", "against", "apply",   "emit-c"};
static const char *const makers[] = {"settings", "knowledge", "gate", "plugin",
                                     "replace",  "remove",    "sign"};
enum { N_ACTIONS = sizeof actions / sizeof *actions, N_MAKERS = sizeof makers / sizeof *makers };

/* ---- output ---------------------------------------------------------------------- */

void ruvm_cmd_pack_print(const char *path, const struct ruvm_pack_result *r)
{
    static const char *const heads[] = {"section", "kind", "offset", "bytes", "CRC-32", "SHA-256"};
    struct ruvm_table t = {.heads = heads, .align = "llrrll", .n_cols = 6};
    printf("%s: RUVM pack v1, %s bytes\n", path, ruvm_output_grouped(r->bytes));
    printf("  signature   %s%s\n", r->is_signed ? "by the key " : "none", r->key);
    for (uint32_t i = 0; i < r->n_sections; i++) {
        const struct ruvm_pack_entry *e = &r->sections[i];
        ruvm_table_cell(&t, "%s", e->name);
        ruvm_table_cell(&t, "%s", e->kind);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(e->off_bytes));
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(e->size_bytes));
        ruvm_table_cell(&t, "%08x", e->crc32);
        ruvm_table_cell(&t, "%.16s...", e->sha256);
    }
    putchar('\n');
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

static bool is_json(const struct ruvm_args *args)
{
    return ruvm_args_given(args, "json");
}

static struct cJSON *start_json(const char *action)
{
    struct cJSON *object = ruvm_json_start("pack");
    ruvm_json_text(object, "action", action);
    return object;
}

/* Standard output takes what is written, or the report of it. */
static bool out_is_taken(const struct ruvm_args *args)
{
    const char *out = ruvm_args_text(args, "out");
    return out && strcmp(out, "-") == 0;
}

static void print_pack(const struct ruvm_args *args, const char *action, const char *path,
                       const struct ruvm_pack_result *r)
{
    if (!is_json(args)) {
        ruvm_cmd_pack_print(path, r);
        return;
    }
    struct cJSON *object = start_json(action);
    ruvm_json_text(object, "file", path);
    ruvm_json_pack(object, r);
    ruvm_json_finish(object);
}

/* ---- actions --------------------------------------------------------------------- */

static int finish(int rc, const struct ruvm_error *err)
{
    if (rc == RUVM_OK)
        return RUVM_EXIT_DONE;
    int code = ruvm_output_failure("pack", err);
    return rc == RUVM_ERR_MISMATCH ? RUVM_EXIT_VERIFY : code;
}

static int list(const struct ruvm_args *args, const char *path)
{
    struct ruvm_error err = {0};
    struct ruvm_pack_result r;
    int rc = ruvm_pack_list(path, &r, &err);
    if (rc == RUVM_OK)
        print_pack(args, "list", path, &r);
    return finish(rc, &err);
}

static int verify(const struct ruvm_args *args, const char *path)
{
    struct ruvm_error err = {0};
    struct ruvm_pack_result r;
    const char *key = ruvm_args_text(args, "key");
    int rc = ruvm_pack_verify(path, key, &r, &err);
    if (rc != RUVM_OK)
        return finish(rc, &err);
    if (is_json(args))
        print_pack(args, "verify", path, &r);
    else
        printf("%s: sound, and signed by %s%s\n", path, key ? key : "the key ", key ? "" : r.key);
    return RUVM_EXIT_DONE;
}

/* --extract and --emit-c: one thing taken out, which has a name and a size. */
static int take_out(const struct ruvm_args *args, const char *action, const char *path)
{
    struct ruvm_error err = {0};
    const char *name = ruvm_args_text(args, action), *out = ruvm_args_text(args, "out");
    bool section = strcmp(action, "extract") == 0;
    uint64_t bytes;
    int rc = section ? ruvm_pack_extract(path, name, out, &bytes, &err)
                     : ruvm_pack_emit_c(path, name, out, &bytes, &err);
    if (rc != RUVM_OK)
        return finish(rc, &err);
    if (!is_json(args) || out_is_taken(args))
        return RUVM_EXIT_DONE;
    struct cJSON *object = start_json(action);
    ruvm_json_text(object, "file", out);
    ruvm_json_text(object, section ? "section" : "array", name);
    ruvm_json_count(object, "bytes", bytes);
    ruvm_json_finish(object);
    return RUVM_EXIT_DONE;
}

static int squeeze(const struct ruvm_args *args, const char *path)
{
    struct ruvm_error err = {0};
    bool smaller = ruvm_args_given(args, "compress");
    const char *action = smaller ? "compress" : "decompress", *out = ruvm_args_text(args, "out");
    uint64_t bytes[2];
    int rc = smaller ? ruvm_pack_compress(path, out, bytes, &err)
                     : ruvm_pack_decompress(path, out, bytes, &err);
    if (rc != RUVM_OK)
        return finish(rc, &err);
    if (out_is_taken(args))
        return RUVM_EXIT_DONE;
    if (is_json(args)) {
        struct cJSON *object = start_json(action);
        ruvm_json_count(object, "input_bytes", bytes[0]);
        ruvm_json_count(object, "bytes", bytes[1]);
        ruvm_json_finish(object);
    } else {
        printf("%s: %s bytes, from %s\n", out, ruvm_output_grouped(bytes[1]),
               ruvm_output_grouped(bytes[0]));
    }
    return RUVM_EXIT_DONE;
}

static int delta(const struct ruvm_args *args, const char *path)
{
    struct ruvm_error err = {0};
    struct ruvm_pack_delta d;
    const char *old = ruvm_args_text(args, "against"), *out = ruvm_args_text(args, "out");
    int rc = old ? ruvm_pack_delta_make(path, old, out, &d, &err)
                 : ruvm_pack_delta_apply(ruvm_args_text(args, "apply"), path, out, &d, &err);
    if (rc != RUVM_OK)
        return finish(rc, &err);
    if (out_is_taken(args))
        return RUVM_EXIT_DONE;
    if (is_json(args)) {
        struct cJSON *object = start_json(old ? "against" : "apply");
        ruvm_json_count(object, "old_bytes", d.old_bytes);
        ruvm_json_count(object, "bytes", d.new_bytes);
        ruvm_json_count(object, "delta_bytes", d.delta_bytes);
        ruvm_json_count(object, "sectors", d.n_sectors);
        ruvm_json_count(object, "sectors_changed", d.n_changed);
        ruvm_json_finish(object);
    } else {
        printf("%s: %u of %u sectors of 4 KiB change: a delta of %s bytes\n", out, d.n_changed,
               d.n_sectors, ruvm_output_grouped(d.delta_bytes));
    }
    return RUVM_EXIT_DONE;
}

/* ---- making ---------------------------------------------------------------------- */

enum { MAX_FILES = 64 };

/* "SECTION=FILE" taken apart; the name is copied, since the word is not ours. */
static bool split(struct ruvm_pack_file *file, char name[8], const char *word)
{
    const char *equals = strchr(word, '=');
    if (!equals || equals == word || equals - word > 7 || !equals[1])
        return false;
    memcpy(name, word, (size_t)(equals - word));
    name[equals - word] = '\0';
    *file = (struct ruvm_pack_file){.name = name, .path = equals + 1};
    return true;
}

static const struct {
    const char *option, *section;
} named[] = {{"settings", "sett"}, {"knowledge", "know"}, {"gate", "gate"}, {"plugin", "plug"}};
enum { N_NAMED = sizeof named / sizeof *named };

static int collect(const struct ruvm_args *args, struct ruvm_pack_options *o,
                   struct ruvm_pack_file *files, char names[][8])
{
    unsigned n;
    const char *const *words = ruvm_args_texts(args, "replace", &n);
    o->files = files;
    if (n + N_NAMED > MAX_FILES)
        return ruvm_args_usage(args, "--replace is given too often");
    for (unsigned i = 0; i < N_NAMED; i++)
        if (ruvm_args_text(args, named[i].option))
            files[o->n_files++] = (struct ruvm_pack_file){
                .name = named[i].section, .path = ruvm_args_input(args, named[i].option)};
    for (unsigned i = 0; i < n; i++) {
        if (!split(&files[o->n_files], names[i], words[i]))
            return ruvm_args_usage(args, "--replace '%s': write SECTION=FILE, as MODL=new.ruvm",
                                   words[i]);
        o->n_files++;
    }
    o->removed = ruvm_args_texts(args, "remove", &n);
    o->n_removed = n;
    return RUVM_EXIT_DONE;
}

static void report(const struct ruvm_args *args, const char *out, const struct ruvm_pack_result *r)
{
    if (r->signature_dropped)
        ruvm_output_error("pack",
                          "note: the signature was of other contents and is left out; "
                          "--sign makes a new one");
    if (out_is_taken(args))
        return;
    if (is_json(args))
        print_pack(args, "make", out, r);
    else
        printf("%s: %s bytes, %u section%s%s\n", out, ruvm_output_grouped(r->bytes), r->n_sections,
               r->n_sections == 1 ? "" : "s", r->is_signed ? ", signed" : "");
}

static int make(const struct ruvm_args *args, const char *path)
{
    struct ruvm_error err = {0};
    struct ruvm_pack_result r;
    struct ruvm_pack_file files[MAX_FILES];
    char names[MAX_FILES][8];
    struct ruvm_pack_options o = {.input = path,
                                  .sign_key = ruvm_args_text(args, "sign"),
                                  .output = ruvm_args_text(args, "out")};
    int rc = collect(args, &o, files, names);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    rc = ruvm_pack(&o, &r, &err);
    if (rc == RUVM_OK)
        report(args, o.output, &r);
    return finish(rc, &err);
}

/* ---- the verb -------------------------------------------------------------------- */

static const char *first_given(const struct ruvm_args *args, const char *const *names, unsigned n,
                               const char *except)
{
    for (unsigned i = 0; i < n; i++)
        if (ruvm_args_given(args, names[i]) && (!except || strcmp(names[i], except) != 0))
            return names[i];
    return NULL;
}

static bool is(const char *action, const char *name)
{
    return action && strcmp(action, name) == 0;
}

static int check(const struct ruvm_args *args, const char *action)
{
    const char *other = action ? first_given(args, actions, N_ACTIONS, action) : NULL;
    const char *maker = action ? first_given(args, makers, N_MAKERS, NULL) : NULL;
    bool shows = is(action, "list") || is(action, "verify");
    if (other || maker)
        return ruvm_args_usage(args, "--%s and --%s do not go together", action,
                               other ? other : maker);
    if (ruvm_args_given(args, "key") && !is(action, "verify"))
        return ruvm_args_usage(args, "--key goes with --verify");
    if (shows && ruvm_args_text(args, "out"))
        return ruvm_args_usage(args, "--%s writes no file: --out does not go with it", action);
    if (!shows && !ruvm_args_text(args, "out"))
        return ruvm_args_usage(args, "--out FILE is missing");
    if (action && ruvm_args_n_operands(args) == 0)
        return ruvm_args_usage(args, "--%s needs a file", action);
    if (ruvm_args_n_operands(args) == 0 && !first_given(args, makers, N_MAKERS, NULL))
        return ruvm_args_usage(args, "give a model, a pack, or a section");
    return RUVM_EXIT_DONE;
}

static int run(const struct ruvm_args *args)
{
    const char *action = first_given(args, actions, N_ACTIONS, NULL);
    const char *path = ruvm_args_operand(args, 0);
    int rc = check(args, action);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    if (is(action, "list"))
        return list(args, path);
    if (is(action, "verify"))
        return verify(args, path);
    if (is(action, "extract") || is(action, "emit-c"))
        return take_out(args, action, path);
    if (is(action, "against") || is(action, "apply"))
        return delta(args, path);
    return action ? squeeze(args, path) : make(args, path);
}

const struct ruvm_args_command ruvm_cmd_pack = {
    .name = "pack",
    .summary =
        "Put a model and what belongs to it into one file for a chip, or change such a "
        "file.",
    .usage = "[FILE] [OPTION ...]",
    .examples =
        "  ruvm pack stories.ruvm --settings settings.json -o app.rpak\n"
        "  ruvm pack app.rpak --list\n"
        "  ruvm pack app.rpak --replace MODL=better.ruvm --sign key.pem -o new.rpak\n"
        "  ruvm pack new.rpak --against app.rpak -o update.rpkd\n",
    .options = options,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
