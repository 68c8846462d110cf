/* quantize --report: every tensor, the worst ones, and what could be done about them.
 *
 * Bytes and signal-to-noise ratios are measured; a tensor's share of the loss is
 * modelled: nobody measured the model with this tensor alone quantized.
 */
#include "cli/cmd_quantize.h"

#include <stdlib.h>
#include <string.h>

enum { N_WORST = 3 };

/* ---- all tensors ----------------------------------------------------------- */

static void size_row(struct ruvm_table *t, const struct ruvm_quantize_tensor *x)
{
    ruvm_table_cell(t, "%s", x->name);
    ruvm_table_cell(t, "%s", x->type);
    ruvm_table_cell(t, "%u x %u", x->rows, x->cols);
    ruvm_table_cell(t, "%s", ruvm_output_grouped(x->source_bytes));
    ruvm_table_cell(t, "%s", ruvm_output_grouped(x->bytes));
    ruvm_table_cell(t, "%.3f", x->bits_per_weight);
}

static void loss_row(struct ruvm_table *t, const struct ruvm_quantize_tensor *x, bool estimated)
{
    ruvm_table_cell(t, "%.1f", x->snr_db);
    if (estimated)
        ruvm_table_cell(t, "%.1f", 100 * x->loss_share);
    else
        ruvm_table_cell(t, "-");
    ruvm_table_cell(t, "%u", x->worst_row);
    ruvm_table_cell(t, "%.1f", x->worst_row_snr_db);
}

/* A dry run knows no loss. */
static void print_tensors(const struct ruvm_quantize_result *r, bool dry_run)
{
    static const char *const heads[] = {"tensor",    "type",        "shape",  "source",
                                        "bytes",     "bits/weight", "SNR dB", "loss %",
                                        "worst row", "its SNR dB"};
    struct ruvm_table t = {.heads = heads, .align = "llrrrrrrrr", .n_cols = dry_run ? 6 : 10};
    bool estimated = ruvm_cmd_quantize_estimated(r);
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        size_row(&t, &r->tensors[i]);
        if (!dry_run)
            loss_row(&t, &r->tensors[i], estimated);
    }
    puts(dry_run     ? "\nTensors:"
         : estimated ? "\nTensors: bytes and SNR measured, share of the loss modelled"
                     : "\nTensors: bytes and SNR measured");
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    if (r->losses_left_out)
        puts("(no shares of the loss: to estimate them would take too long, or too much memory)");
    ruvm_table_free(&t);
}

/* ---- the worst --------------------------------------------------------------- */

static bool is_int8(const struct ruvm_quantize_tensor *x)
{
    return strncmp(x->type, "int8", 4) == 0;
}

/* Whether groups of 16 columns would be new to this tensor. */
static bool may_have_finer_groups(const struct ruvm_quantize_tensor *x)
{
    static const char *const grouped[] = {"int4", "int3", "int2", "binary"};
    size_t length = strcspn(x->type, " ");
    const char *group = strstr(x->type, " g");
    if (x->cols <= 16 || (group && strtoul(group + 2, NULL, 10) == 16))
        return false;
    for (size_t i = 0; i < sizeof grouped / sizeof *grouped; i++)
        if (strlen(grouped[i]) == length && memcmp(grouped[i], x->type, length) == 0)
            return true;
    return false;
}

static void print_advice(const struct ruvm_quantize_tensor *x)
{
    if (is_int8(x))
        puts("    has 8 bits already: no other type loses less");
    else
        printf("    --tensor-type '%s=int8' would cost %s bytes more\n", x->name,
               ruvm_output_grouped(x->bytes_int8 > x->bytes ? x->bytes_int8 - x->bytes : 0));
    if (may_have_finer_groups(x))
        printf("    --tensor-type '%s=%.*s:16', smaller groups, costs less than that\n", x->name,
               (int)strcspn(x->type, " "), x->type);
}

/* The tensor that comes after `last` (NULL: the first) by loss, or by noise where no loss
 * was estimated; ties in the order of the image. */
static const struct ruvm_quantize_tensor *next_worst(const struct ruvm_quantize_result *r,
                                                     const struct ruvm_quantize_tensor *last,
                                                     bool estimated)
{
    const struct ruvm_quantize_tensor *worst = NULL;
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_quantize_tensor *x = &r->tensors[i];
        double badness = estimated ? x->loss_share : -x->snr_db;
        double bound = !last ? 0 : estimated ? last->loss_share : -last->snr_db;
        double found = !worst ? 0 : estimated ? worst->loss_share : -worst->snr_db;
        bool left = !last || badness < bound || (badness <= bound && x > last);
        if (left && (!worst || badness > found))
            worst = x;
    }
    return worst;
}

static void print_worst(const struct ruvm_quantize_result *r)
{
    bool estimated = ruvm_cmd_quantize_estimated(r);
    const struct ruvm_quantize_tensor *x = NULL;
    printf("\nWorst tensors, by %s:\n",
           estimated ? "share of the loss (modelled)" : "SNR (measured)");
    for (unsigned i = 0; i < N_WORST && (x = next_worst(r, x, estimated)); i++) {
        printf("  %s  %s, SNR %.1f dB", x->name, x->type, x->snr_db);
        if (estimated)
            printf(", %.1f %% of the loss, %.5f nats modelled", 100 * x->loss_share,
                   x->kl_estimate);
        putchar('\n');
        print_advice(x);
    }
    if (strcmp(r->method, "rtn") == 0 || strcmp(r->method, "mse") == 0)
        puts("  All of them: --method gptq costs no byte, only time.");
    if (!r->has_distill)
        puts("  All of them: --distill STEPS costs no byte, only minutes.");
}

/* ---- rows without weights ------------------------------------------------------ */

static void print_zero_rows(const struct ruvm_quantize_result *r)
{
    bool first = true;
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_quantize_tensor *x = &r->tensors[i];
        if (!x->zero_rows)
            continue;
        if (first)
            puts("\nRows that are all zero in the source:");
        printf("  %s  %s of %s, the first is row %u\n", x->name, ruvm_output_grouped(x->zero_rows),
               ruvm_output_grouped(x->rows), x->first_zero_row);
        first = false;
    }
}

void ruvm_cmd_quantize_report(const struct ruvm_quantize_call *call)
{
    print_tensors(&call->r, call->o.dry_run);
    if (!call->o.dry_run)
        print_worst(&call->r);
    print_zero_rows(&call->r);
}
