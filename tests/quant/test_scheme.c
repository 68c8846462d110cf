/* Names to types, rules to tensors, and what they weigh. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lib/quant/scheme.h"
#include "tests/quant/numbers.h"

static bool same(struct ruvm_scheme a, struct ruvm_scheme b)
{
    return a.type == b.type && a.group == b.group;
}

Test(scheme, every_name)
{
    static const struct {
        const char *text, *written;
        struct ruvm_scheme s;
        uint8_t code;
    } table[] = {
        {"int8", "int8", {RUVM_TYPE_INT8, 0}, 0x00},
        {"int8:row", "int8", {RUVM_TYPE_INT8, 0}, 0x00},
        {"int4", "int4 g16", {RUVM_TYPE_INT4, 16}, 0x41},
        {"int4:16", "int4 g16", {RUVM_TYPE_INT4, 16}, 0x41},
        {"int4:32", "int4 g32", {RUVM_TYPE_INT4, 32}, 0x51},
        {"int4:64", "int4 g64", {RUVM_TYPE_INT4, 64}, 0x61},
        {"int4:row", "int4", {RUVM_TYPE_INT4, 0}, 0x01},
        {"int3", "int3 g16", {RUVM_TYPE_INT3, 16}, 0x42},
        {"int2:64", "int2 g64", {RUVM_TYPE_INT2, 64}, 0x63},
        {"binary", "binary g16", {RUVM_TYPE_BINARY, 16}, 0x44},
        {"binary:row", "binary", {RUVM_TYPE_BINARY, 0}, 0x04},
        {"ternary", "ternary", {RUVM_TYPE_TERNARY, 0}, 0x05},
        {"ternary:row", "ternary", {RUVM_TYPE_TERNARY, 0}, 0x05},
        {"xnor", "xnor", {RUVM_TYPE_XNOR, 0}, 0x06},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ruvm_scheme s;
        char text[24];
        cr_assert_eq(ruvm_scheme_parse(&s, table[i].text, NULL), RUVM_OK, "%s", table[i].text);
        cr_assert(same(s, table[i].s), "%s", table[i].text);
        ruvm_scheme_write(text, s);
        cr_assert_str_eq(text, table[i].written);
        cr_assert_eq(ruvm_scheme_code(s), table[i].code, "%s: %02x", text, ruvm_scheme_code(s));
    }
}

Test(scheme, what_is_no_type)
{
    static const struct {
        const char *text, *said;
    } table[] = {
        {"", "not known"},        {"int5", "not known"},    {"INT4", "not known"},
        {"int", "not known"},     {"int44", "not known"},   {":16", "not known"},
        {"int4:", "group"},       {"int4:8", "group"},      {"int4:016", "group"},
        {"int4:16 ", "group"},    {"int8:16", "leave out"}, {"ternary:32", "leave out"},
        {"xnor:64", "leave out"}, {"binary:rows", "group"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ruvm_scheme s;
        struct ruvm_error err = {0};
        cr_assert_eq(ruvm_scheme_parse(&s, table[i].text, &err), RUVM_ERR_ARG, "%s", table[i].text);
        cr_assert_not_null(strstr(err.text, table[i].said), "%s: %s", table[i].text, err.text);
    }
}

/* ---- rules ----------------------------------------------------------------- */

enum { N = 6 };
static const struct ruvm_scheme_tensor tensors[N] = {
    {"embed", RUVM_TENSOR_EMBED, 0, 100, 32},           {"layers.0.wq", RUVM_TENSOR_WQ, 0, 32, 32},
    {"layers.0.w_down", RUVM_TENSOR_W_DOWN, 0, 32, 48}, {"layers.1.wq", RUVM_TENSOR_WQ, 1, 32, 32},
    {"layers.1.w_down", RUVM_TENSOR_W_DOWN, 1, 32, 48}, {"head", RUVM_TENSOR_HEAD, 0, 100, 32},
};

/* The chosen schemes in words, "int8|int4 g16|..."; or the message of a refusal. */
static const char *choose(struct ruvm_scheme_rules rules, const char *const *types, uint32_t n)
{
    static char text[1024];
    struct ruvm_scheme schemes[N];
    struct ruvm_error err = {0};
    rules.tensor_types = types;
    rules.n_tensor_types = n;
    text[0] = '\0';
    uint32_t count = rules.tied ? N - 1 : N;
    if (ruvm_scheme_choose(schemes, tensors, count, &rules, &err) != RUVM_OK) {
        snprintf(text, sizeof text, "%s", err.text);
        return text;
    }
    for (uint32_t i = 0; i < count; i++) {
        char one[24];
        ruvm_scheme_write(one, schemes[i]);
        strcat(text, i ? "|" : "");
        strcat(text, one);
    }
    return text;
}

Test(scheme, types_by_kind)
{
    struct ruvm_scheme_rules nothing = {0}, body = {.type = "ternary"},
                             tied = {.type = "int4", .head_type = "int3", .tied = true},
                             all = {.type = "int2:row", .embed_type = "xnor", .head_type = "int4"},
                             both = {.embed_type = "int4", .head_type = "int4:16", .tied = true};
    cr_assert_str_eq(choose(nothing, NULL, 0), "int8|int8|int8|int8|int8|int8");
    cr_assert_str_eq(choose(body, NULL, 0), "int8|ternary|ternary|ternary|ternary|int8");
    cr_assert_str_eq(choose(tied, NULL, 0), "int3 g16|int4 g16|int4 g16|int4 g16|int4 g16");
    cr_assert_str_eq(choose(all, NULL, 0), "xnor|int2|int2|int2|int2|int4 g16");
    cr_assert_str_eq(choose(both, NULL, 0), "int4 g16|int8|int8|int8|int8");
}

Test(scheme, a_tied_head_is_the_embedding)
{
    struct ruvm_scheme_rules differ = {.embed_type = "int4", .head_type = "int8", .tied = true};
    struct ruvm_scheme_rules groups = {
        .embed_type = "int4:16", .head_type = "int4:32", .tied = true};
    cr_assert_not_null(strstr(choose(differ, NULL, 0), "same type"));
    cr_assert_not_null(strstr(choose(groups, NULL, 0), "same type"));
}

Test(scheme, expressions_a_later_one_wins)
{
    struct ruvm_scheme_rules body = {.type = "int4"};
    const char *const rules[] = {"w_down=int8", "^layers[.]1=ternary", "(wq|embed)$=int2:row"};
    cr_assert_str_eq(choose(body, rules, 1), "int8|int4 g16|int8|int4 g16|int8|int8");
    cr_assert_str_eq(choose(body, rules, 2), "int8|int4 g16|int8|ternary|ternary|int8");
    cr_assert_str_eq(choose(body, rules, 3), "int2|int2|int8|int2|ternary|int8");
    const char *const equals[] = {"wq|a=b=int8"};
    cr_assert_str_eq(choose(body, equals, 1), "int8|int8|int4 g16|int8|int4 g16|int8",
                     "the last = is the one");
}

Test(scheme, wrong_rules)
{
    static const struct {
        const char *rule, *said;
    } table[] = {
        {"wq", "REGEX=TYPE"},        {"=int8", "REGEX=TYPE"},         {"wq=int9", "not known"},
        {"(wq=int8", "regular"},     {"layers.2=int8", "matches no"}, {"wq=int8:32", "leave out"},
        {"^embed.=int8", "matches"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *text = choose((struct ruvm_scheme_rules){0}, &table[i].rule, 1);
        cr_assert_not_null(strstr(text, table[i].said), "%s: %s", table[i].rule, text);
    }
    char longest[300];
    memset(longest, 'a', sizeof longest);
    strcpy(longest + 290, "=int8");
    const char *rule = longest;
    cr_assert_not_null(strstr(choose((struct ruvm_scheme_rules){0}, &rule, 1), "REGEX=TYPE"));
}

/* ---- sizes ----------------------------------------------------------------- */

Test(scheme, sizes_worked_out_by_hand)
{
    static const struct {
        const char *text;
        uint32_t rows, cols;
        uint64_t data, scales;
    } table[] = {
        {"int8", 3, 17, 96, 6},
        {"int4", 3, 17, 48, 10}, /* 2 multipliers: a byte a row: 6 + 3, even */
        {"int4:row", 3, 17, 48, 6},
        {"int3", 5, 33, 128, 20},     /* 24 a row: 120, padded; 3 multipliers: 2 bytes a row */
        {"int2:64", 1, 65, 32, 4},    /* 20 a row; 2 multipliers: 1 byte: 3, even */
        {"binary:32", 2, 100, 32, 8}, /* 16 a row; 4 multipliers: 2 bytes a row */
        {"ternary", 7, 172, 256, 14}, /* 35 a row: 245, padded */
        {"xnor", 2, 33, 16, 4},
        {"int8", 200000, 65535, 13107200000, 400000}, /* no 32 bits */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ruvm_scheme s;
        cr_assert_eq(ruvm_scheme_parse(&s, table[i].text, NULL), RUVM_OK);
        cr_assert_eq(ruvm_scheme_data_bytes(s, table[i].rows, table[i].cols), table[i].data, "%s",
                     table[i].text);
        cr_assert_eq(ruvm_scheme_scale_bytes(s, table[i].rows, table[i].cols), table[i].scales,
                     "%s", table[i].text);
    }
}

Test(scheme, the_header_and_the_summary_of_a_mixture)
{
    struct ruvm_scheme one[] = {{RUVM_TYPE_INT4, 16}, {RUVM_TYPE_INT4, 32}};
    struct ruvm_scheme mixed[] = {{RUVM_TYPE_INT8, 0}, {RUVM_TYPE_TERNARY, 0}, {RUVM_TYPE_INT8, 0}};
    static const int quant[RUVM_N_TYPES] = {
        [RUVM_TYPE_INT8] = RUVM_QUANT_INT8,     [RUVM_TYPE_INT4] = RUVM_QUANT_INT4,
        [RUVM_TYPE_INT3] = RUVM_QUANT_MIXED,    [RUVM_TYPE_INT2] = RUVM_QUANT_MIXED,
        [RUVM_TYPE_BINARY] = RUVM_QUANT_BINARY, [RUVM_TYPE_TERNARY] = RUVM_QUANT_TERNARY,
        [RUVM_TYPE_XNOR] = RUVM_QUANT_MIXED};
    char text[64];
    for (uint8_t type = 0; type < RUVM_N_TYPES; type++)
        cr_assert_eq(ruvm_scheme_quant(&(struct ruvm_scheme){type, 0}, 1), quant[type]);
    cr_assert_eq(ruvm_scheme_quant(one, 2), RUVM_QUANT_INT4);
    cr_assert_eq(ruvm_scheme_quant(mixed, 3), RUVM_QUANT_MIXED);
    ruvm_scheme_summary(text, one, 2);
    cr_assert_str_eq(text, "int4 2");
    ruvm_scheme_summary(text, mixed, 3);
    cr_assert_not_null(strstr(text, "int8 2"), "%s", text);
    cr_assert_not_null(strstr(text, "ternary 1"), "%s", text);
}

/* All types with numbers of five digits: cut at the end, never past it. */
Test(scheme, a_long_summary_is_cut)
{
    enum { MANY = 70000 };
    static struct ruvm_scheme schemes[MANY];
    char text[80];
    memset(text, '#', sizeof text);
    for (uint32_t i = 0; i < MANY; i++)
        schemes[i].type = (uint8_t)(i % RUVM_N_TYPES);
    ruvm_scheme_summary(text, schemes, MANY);
    cr_assert_lt(strlen(text), 64);
    for (int i = 64; i < 80; i++)
        cr_assert_eq(text[i], '#');
}
