/* Options of `generate` by name: what a line says goes before what the pack's settings say. */
#include "lib/device/request.h"

#include "lib/device/console.h"
#include "lib/device/settings.h"

enum { DEFAULT_LAST = 64, MAX_TEMPERATURE = 100 };

struct option {
    const char *name, *setting; /* setting: of the pack, or "" */
    bool is_fraction;
};
static const struct option options[] = {
    {"n", "max_tokens", false}, {"temp", "temperature", true}, {"top-k", "top_k", false},
    {"top-p", "top_p", true},   {"min-p", "min_p", true},      {"repeat", "repeat_penalty", true},
    {"last", "", false},        {"seed", "seed", false},       {"ids", "", false},
    {"ignore-end", "", false},
};
enum { N_OPTIONS = sizeof options / sizeof *options };

/* Option i; false: its value is no number. */
static bool set(struct ruvm_device_request *r, uint32_t i, const char *text)
{
    uint32_t seed = 1;
    uint32_t *const values[N_OPTIONS] = {&r->n_tokens,
                                         &r->sampler.temperature_q16,
                                         &r->sampler.top_k,
                                         &r->sampler.top_p_q16,
                                         &r->sampler.min_p_q16,
                                         &r->sampler.repeat_q16,
                                         &r->sampler.repeat_last,
                                         &seed,
                                         &r->shows_ids,
                                         &r->ignore_end};
    bool good = options[i].is_fraction ? ruvm_console_parse_q16(text, values[i])
                                       : ruvm_console_parse(text, values[i]);
    if (good && values[i] == &seed)
        ruvm_sampler_seed(&r->sampler, seed);
    return good;
}

static const char *take_settings(struct ruvm_device_request *r, const struct ruvm_device_model *m)
{
    char number[RUVM_DEVICE_NUMBER_CHARS];
    for (uint32_t i = 0; i < N_OPTIONS; i++) {
        const char *text =
            ruvm_device_setting(m->settings, m->settings_bytes, options[i].setting, number);
        if (text && !set(r, i, text))
            return "a setting of the pack is too large for a chip: pack with smaller ones";
    }
    return NULL;
}

static const char *take_option(struct ruvm_device_request *r, const char *word)
{
    for (uint32_t i = 0; i < N_OPTIONS; i++) {
        const char *text = ruvm_console_value(word, options[i].name);
        if (text)
            return set(r, i, text) ? NULL : "an option's value is no number: see help";
    }
    return "there is no such option: see help; a prompt begins with a quote";
}

static void skip_spaces(char **rest)
{
    while (**rest == ' ')
        ++*rest;
}

const char *ruvm_device_request(struct ruvm_device_request *r, const struct ruvm_device_model *m,
                                char **rest)
{
    *r = (struct ruvm_device_request){.n_tokens = UINT32_MAX,
                                      .sampler = {.repeat_last = DEFAULT_LAST}};
    ruvm_sampler_seed(&r->sampler, 1);
    const char *wrong = take_settings(r, m);
    for (skip_spaces(rest); !wrong && **rest && **rest != '"'; skip_spaces(rest))
        wrong = take_option(r, ruvm_console_word(rest));
    if (!wrong && r->sampler.temperature_q16 > MAX_TEMPERATURE << 16)
        return "the temperature is above 100";
    return wrong;
}
