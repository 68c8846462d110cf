/* Rules to types: the defaults by kind first, then each expression in the order given. */
#define _POSIX_C_SOURCE 200809L /* regcomp */
#include "lib/quant/scheme.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

/* ---- names ----------------------------------------------------------------- */

static int find_type(const char *text, size_t n)
{
    for (int type = 0; type < RUVM_N_TYPES; type++) {
        const char *name = ruvm_codes_name(type);
        if (strlen(name) == n && memcmp(name, text, n) == 0)
            return type;
    }
    return -1;
}

/* Columns of a group by its name; -1 for another text. */
static int find_group(const char *text)
{
    static const struct {
        const char *name;
        int columns;
    } groups[] = {{"row", 0}, {"16", 16}, {"32", 32}, {"64", 64}};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (strcmp(groups[i].name, text) == 0)
            return groups[i].columns;
    return -1;
}

int ruvm_scheme_parse(struct ruvm_scheme *s, const char *text, struct ruvm_error *err)
{
    const char *colon = strchr(text, ':');
    int type = find_type(text, colon ? (size_t)(colon - text) : strlen(text));
    if (type < 0)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "type \"%s\" is not known; use int8, int4, int3, int2, ternary, binary or "
                         "xnor",
                         text);
    bool grouped = ruvm_codes_has_groups(type);
    int group = colon ? find_group(colon + 1) : grouped ? RUVM_DEFAULT_GROUP : 0;
    if (group < 0)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "type \"%s\": the group is not known; use :16, :32, :64 or :row", text);
    if (group > 0 && !grouped)
        return ruvm_fail(err, RUVM_ERR_ARG, "type \"%s\": %s has one scale a row; leave out %s",
                         text, ruvm_codes_name(type), colon);
    *s = (struct ruvm_scheme){(uint8_t)type, (uint8_t)group};
    return RUVM_OK;
}

void ruvm_scheme_write(char *text, struct ruvm_scheme s)
{
    enum { CALLERS_BYTES = 24 };
    if (s.group)
        snprintf(text, CALLERS_BYTES, "%s g%u", ruvm_codes_name(s.type), s.group);
    else
        snprintf(text, CALLERS_BYTES, "%s", ruvm_codes_name(s.type));
}

/* ---- rules ----------------------------------------------------------------- */

static int parse_or_int8(struct ruvm_scheme *s, const char *text, struct ruvm_error *err)
{
    return ruvm_scheme_parse(s, text ? text : ruvm_codes_name(RUVM_TYPE_INT8), err);
}

static int choose_by_kind(struct ruvm_scheme *schemes, const struct ruvm_scheme_tensor *tensors,
                          uint32_t n, const struct ruvm_scheme_rules *rules, struct ruvm_error *err)
{
    struct ruvm_scheme body, embed, head;
    int rc = parse_or_int8(&body, rules->type, err);
    if (rc == RUVM_OK)
        rc = parse_or_int8(&embed, rules->embed_type, err);
    if (rc == RUVM_OK)
        rc = parse_or_int8(&head, rules->head_type, err);
    if (rc != RUVM_OK)
        return rc;
    struct ruvm_scheme position = embed; /* a table that is looked up, too */
    if (rules->tied && !rules->embed_type)
        embed = head;
    if (rules->tied && rules->head_type && (head.type != embed.type || head.group != embed.group))
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "the head of this model is its embedding: give both the same type");
    for (uint32_t i = 0; i < n; i++)
        schemes[i] = tensors[i].kind == RUVM_TENSOR_EMBED      ? embed
                     : tensors[i].kind == RUVM_TENSOR_POSITION ? position
                     : tensors[i].kind == RUVM_TENSOR_HEAD     ? head
                                                               : body;
    return RUVM_OK;
}

/* Gives the type to all tensors whose name the expression finds. */
static int apply(struct ruvm_scheme *schemes, const struct ruvm_scheme_tensor *tensors, uint32_t n,
                 const char *rule, regex_t *regex, struct ruvm_scheme s, struct ruvm_error *err)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        if (regexec(regex, tensors[i].name, 0, NULL, 0) == 0) {
            schemes[i] = s;
            found++;
        }
    if (found == 0)
        return ruvm_fail(
            err, RUVM_ERR_ARG,
            "\"%s\" matches no tensor; names are like %s and %s, see --dry-run --report", rule,
            tensors[0].name, n > 1 ? tensors[1].name : tensors[0].name);
    return RUVM_OK;
}

static int apply_rule(struct ruvm_scheme *schemes, const struct ruvm_scheme_tensor *tensors,
                      uint32_t n, const char *rule, struct ruvm_error *err)
{
    char pattern[256];
    struct ruvm_scheme s;
    regex_t regex;
    const char *equals = strrchr(rule, '=');
    if (!equals || equals == rule || (size_t)(equals - rule) >= sizeof pattern)
        return ruvm_fail(err, RUVM_ERR_ARG, "\"%s\" is not like REGEX=TYPE", rule);
    memcpy(pattern, rule, (size_t)(equals - rule));
    pattern[equals - rule] = '\0';
    int rc = ruvm_scheme_parse(&s, equals + 1, err);
    if (rc != RUVM_OK)
        return rc;
    int wrong = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (wrong != 0) {
        char why[128];
        regerror(wrong, &regex, why, sizeof why);
        return ruvm_fail(err, RUVM_ERR_ARG, "\"%s\" is no regular expression: %s", pattern, why);
    }
    rc = apply(schemes, tensors, n, rule, &regex, s, err);
    regfree(&regex);
    return rc;
}

int ruvm_scheme_choose(struct ruvm_scheme *schemes, const struct ruvm_scheme_tensor *tensors,
                       uint32_t n, const struct ruvm_scheme_rules *rules, struct ruvm_error *err)
{
    int rc = choose_by_kind(schemes, tensors, n, rules, err);
    for (uint32_t i = 0; i < rules->n_tensor_types && rc == RUVM_OK; i++)
        rc = apply_rule(schemes, tensors, n, rules->tensor_types[i], err);
    return rc;
}

/* ---- sizes ----------------------------------------------------------------- */

uint8_t ruvm_scheme_code(struct ruvm_scheme s)
{
    unsigned log2 = s.group ? (unsigned)__builtin_ctz(s.group) : 0;
    return (uint8_t)(s.type | log2 << RUVM_TYPE_GROUP_SHIFT);
}

uint64_t ruvm_scheme_data_bytes(struct ruvm_scheme s, uint64_t rows, uint32_t cols)
{
    uint64_t bytes = rows * ruvm_codes_row_bytes(s.type, cols);
    return (bytes + RUVM_ROW_ALIGN - 1) / RUVM_ROW_ALIGN * RUVM_ROW_ALIGN;
}

uint64_t ruvm_scheme_scale_bytes(struct ruvm_scheme s, uint64_t rows, uint32_t cols)
{
    uint64_t bytes = 2 * rows + rows * ruvm_codes_mult_bytes(cols, s.group);
    return (bytes + 1) / 2 * 2;
}

int ruvm_scheme_quant(const struct ruvm_scheme *schemes, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (schemes[i].type != schemes[0].type)
            return RUVM_QUANT_MIXED;
    switch (schemes[0].type) {
    case RUVM_TYPE_INT8: return RUVM_QUANT_INT8;
    case RUVM_TYPE_INT4: return RUVM_QUANT_INT4;
    case RUVM_TYPE_BINARY: return RUVM_QUANT_BINARY;
    case RUVM_TYPE_TERNARY: return RUVM_QUANT_TERNARY;
    default: return RUVM_QUANT_MIXED;
    }
}

void ruvm_scheme_summary(char *text, const struct ruvm_scheme *schemes, uint32_t n)
{
    enum { CALLERS_BYTES = 64 };
    size_t used = 0;
    text[0] = '\0';
    for (int type = RUVM_N_TYPES - 1; type >= 0; type--) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < n; i++)
            count += schemes[i].type == type;
        if (count && used < CALLERS_BYTES)
            used += (size_t)snprintf(text + used, CALLERS_BYTES - used, "%s%s %u", used ? ", " : "",
                                     ruvm_codes_name(type), count);
    }
}
