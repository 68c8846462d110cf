/* Reader of the RUVM image: looks at every byte once, then trusts it.
 *
 * The order is that of a person's questions: is it a RUVM file at all, is it whole,
 * is each part undamaged, does it make sense? Each check returns whether it holds
 * and notes the first one that does not, so that checks chain with && and the
 * code reads like the rules of ruvm-image(5). What the sections mean inside is
 * first checked here, then read in place.
 */
#include "formats/ruvm_read.h"

#include "formats/arch_read.h"
#include "formats/frame_read.h"
#include "formats/optional_read.h"
#include "formats/tokn_read.h"
#include "formats/weights_read.h"

/* ---- header -------------------------------------------------------------- */

static bool check_shape(struct ruvm_check *c)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *h = img->data;
    return ruvm_check_at_least(c, h + RUVM_HDR_VOCAB, "vocabulary", 1, img->vocab) &&
           ruvm_check_at_least(c, h + RUVM_HDR_DIM, "embedding dimension", 1, img->dim) &&
           ruvm_check_at_least(c, h + RUVM_HDR_HIDDEN, "feed-forward dimension", 1, img->hidden) &&
           ruvm_check_at_least(c, h + RUVM_HDR_LAYERS, "number of layers", 1, img->n_layers) &&
           ruvm_check_at_least(c, h + RUVM_HDR_HEADS, "number of heads", 1, img->n_heads);
}

static bool check_v0(struct ruvm_check *c)
{
    const uint8_t *h = c->img->data;
    return ruvm_check_zeros(c, h + RUVM_HDR_VERSION, h + RUVM_HDR_BYTES,
                            "reserved byte of version 0") &&
           check_shape(c) &&
           ruvm_check_known(c, h + RUVM_HDR_QUANT, "quantization of version 0", RUVM_QUANT_INT8,
                            c->img->quant) &&
           ruvm_frame_size(c, "its shape in the bare layout (v0) makes",
                           ruvm_image_v0_bytes(c->img));
}

/* A network without heads is a classifier: not damage, but nothing for the engine. */
static bool check_decoder(struct ruvm_check *c)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *h = img->data;
    return ruvm_check_supported(c, h + RUVM_HDR_HEADS, "a classifier, not a language model",
                                img->n_heads > 0) &&
           check_shape(c) &&
           ruvm_check_at_least(c, h + RUVM_HDR_CONTEXT, "context", 1, img->context) &&
           ruvm_check_equal(c, h + RUVM_HDR_MAX_SEQ, "max_seq_len",
                            img->context < 255 ? img->context : 255, h[RUVM_HDR_MAX_SEQ]) &&
           ruvm_check_at_least(c, h + RUVM_HDR_KV_HEADS, "number of key heads", 1,
                               img->n_kv_heads) &&
           ruvm_check_multiple(c, h + RUVM_HDR_HEADS, "number of heads", img->n_kv_heads,
                               img->n_heads);
}

static bool check_required(struct ruvm_check *c)
{
    for (int k = 0; k < RUVM_N_REQUIRED; k++)
        if (!ruvm_check_present(c, (enum ruvm_section_index)k))
            return false;
    return ruvm_frame_foreign(c, RUVM_SECTION_MLP);
}

/* ---- the whole ----------------------------------------------------------- */

static bool check_image(struct ruvm_check *c)
{
    struct ruvm_image *img = c->img;
    if (!ruvm_frame_begin(c))
        return false;
    if (img->version == RUVM_VERSION_V0)
        return check_v0(c);
    return ruvm_check_known(c, img->data + RUVM_HDR_VERSION, "version", RUVM_VERSION_V1,
                            img->version) &&
           ruvm_frame_header(c) && check_decoder(c) && ruvm_frame_sections(c) &&
           check_required(c) && ruvm_arch_check(c) && ruvm_weights_check(c) && ruvm_tokn_check(c) &&
           ruvm_optional_gold(c) && ruvm_optional_meta(c);
}

int ruvm_image_open(struct ruvm_image *img, const void *data, size_t size,
                    struct ruvm_image_fault *fault)
{
    struct ruvm_image_fault unwanted;
    struct ruvm_check c = {.img = img, .fault = fault ? fault : &unwanted, .section = ""};
    if (ruvm_frame_over(&c, data, size))
        check_image(&c);
    return c.rc;
}

uint64_t ruvm_image_v0_bytes(const struct ruvm_image *img)
{
    uint64_t dim = img->dim;
    uint64_t layer = 4 * dim * dim + 3 * dim * img->hidden;
    return RUVM_HDR_BYTES + 2 * img->vocab * dim + img->n_layers * layer;
}
