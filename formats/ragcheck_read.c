/* The long check of a knowledge blob: everything the page ruvm-rag(5) promises, but that the
 * graph is connected. Freestanding, so that a chip can do it after an update, too. */
#define RUVM_RAGCHECK_DEFINED_HERE 1
#include "formats/ragcheck_read.h"

#include "formats/ragtext_layout.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

/* ---- rules ----------------------------------------------------------------- */

bool ruvm_ragcheck_fail(struct ruvm_ragcheck *c, const uint8_t *at, const char *what)
{
    c->rc = RUVM_ERR_CORRUPT;
    *c->fault = (struct ruvm_rag_fault){.off = (uint32_t)(at - c->rag->data), .what = what};
    for (int i = 0; i < 4 && c->section[i]; i++)
        c->fault->section[i] = c->section[i];
    return false;
}

bool ruvm_ragcheck_range(struct ruvm_ragcheck *c, const uint8_t *at, const char *what,
                         uint64_t least, uint64_t most, uint64_t found)
{
    if (found >= least && found <= most)
        return true;
    ruvm_ragcheck_fail(c, at, what);
    c->fault->expected = found < least ? least : most;
    c->fault->found = found;
    return false;
}

bool ruvm_ragcheck_equal(struct ruvm_ragcheck *c, const uint8_t *at, const char *what,
                         uint64_t expected, uint64_t found)
{
    return ruvm_ragcheck_range(c, at, what, expected, expected, found);
}

bool ruvm_ragcheck_known(struct ruvm_ragcheck *c, const uint8_t *at, const char *what,
                         uint64_t most, uint64_t found)
{
    if (ruvm_ragcheck_range(c, at, what, 0, most, found))
        return true;
    c->rc = RUVM_ERR_UNSUPPORTED;
    return false;
}

bool ruvm_ragcheck_holds(struct ruvm_ragcheck *c, const uint8_t *at, const char *what, bool ok)
{
    return ok || ruvm_ragcheck_fail(c, at, what);
}

bool ruvm_ragcheck_zeros(struct ruvm_ragcheck *c, const uint8_t *from, const uint8_t *to,
                         const char *what)
{
    while (from < to && *from == 0)
        from++;
    return from == to || ruvm_ragcheck_fail(c, from, what);
}

/* ---- sums and gaps --------------------------------------------------------- */

static bool check_sums(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    const uint8_t *end = rag->data + RUVM_RAG_HDR_BYTES + (size_t)rag->n_sections * RUVM_RSEC_BYTES;
    for (unsigned i = 0; i < rag->n_sections; i++) {
        const uint8_t *entry = rag->data + RUVM_RAG_HDR_BYTES + (size_t)i * RUVM_RSEC_BYTES;
        char name[5];
        struct ruvm_rag_part s = ruvm_rag_section(rag, i, name);
        c->section = (const char *)entry;
        if (!ruvm_ragcheck_zeros(c, end, s.data, "gap before the section is not 0") ||
            !ruvm_ragcheck_equal(c, s.data, "CRC-32", ruvm_load_u32(entry + RUVM_RSEC_CRC),
                                 ruvm_crc32(0, s.data, s.bytes)))
            return false;
        end = s.data + s.bytes;
    }
    return true;
}

/* ---- vectors --------------------------------------------------------------- */

/* The bits of a binary row, or of DEAD, behind the first n. */
static bool check_bit_padding(struct ruvm_ragcheck *c, const uint8_t *bits, uint32_t n,
                              uint32_t bytes)
{
    bool clean = n % 8 == 0 || bits[n / 8] >> n % 8 == 0;
    return ruvm_ragcheck_holds(c, bits + n / 8, "bit behind the last one is not 0", clean) &&
           ruvm_ragcheck_zeros(c, bits + (n + 7) / 8, bits + bytes,
                               "byte behind the last one is not 0");
}

static bool check_codes(struct ruvm_ragcheck *c, const uint8_t *row)
{
    for (uint32_t i = 0; i < c->rag->dims; i++)
        if (row[i] == 0x80)
            return ruvm_ragcheck_fail(c, row + i, "code is -128");
    return ruvm_ragcheck_zeros(c, row + c->rag->dims, row + c->rag->row_bytes,
                               "padding of a row is not 0");
}

static bool check_book(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag_part *book = &c->rag->part[RUVM_RAG_BOOK];
    c->section = RUVM_RSEC_BOOK;
    for (uint32_t i = 0; i < book->bytes; i++)
        if (book->data[i] == 0x80)
            return ruvm_ragcheck_fail(c, book->data + i, "code is -128");
    return true;
}

/* Hashes ascend, so that a word is found by halving. */
static bool check_words(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag_part *p = &c->rag->part[RUVM_RAG_WORD];
    c->section = RUVM_RSEC_WORD;
    if (!p->data)
        return true;
    if (!ruvm_ragcheck_range(c, p->data, "size of the section", RUVM_WORD_HASHES, UINT32_MAX,
                             p->bytes))
        return false;
    uint32_t n = ruvm_load_u32(p->data + RUVM_WORD_N), dims = c->rag->dims;
    const uint8_t *hashes = p->data + RUVM_WORD_HASHES;
    if (!ruvm_ragcheck_equal(c, p->data + RUVM_WORD_DIMS, "dimensions", dims,
                             ruvm_load_u16(p->data + RUVM_WORD_DIMS)) ||
        !ruvm_ragcheck_zeros(c, p->data + RUVM_WORD_RESERVED, hashes, "reserved byte is not 0") ||
        !ruvm_ragcheck_equal(c, p->data, "size of the section",
                             RUVM_WORD_HASHES + n * (uint64_t)(4 + 2 + dims), p->bytes))
        return false;
    for (uint32_t i = 1; i < n; i++)
        if (ruvm_load_u32(hashes + (size_t)i * 4 - 4) >= ruvm_load_u32(hashes + (size_t)i * 4))
            return ruvm_ragcheck_fail(c, hashes + (size_t)i * 4, "hashes of words do not ascend");
    for (const uint8_t *code = hashes + (size_t)n * (4 + 2); code < p->data + p->bytes; code++)
        if (*code == 0x80)
            return ruvm_ragcheck_fail(c, code, "code is -128");
    return true;
}

static bool check_row(struct ruvm_ragcheck *c, const uint8_t *row)
{
    const struct ruvm_rag *rag = c->rag;
    switch (rag->type) {
    case RUVM_VECTOR_BINARY: return check_bit_padding(c, row, rag->dims, rag->row_bytes);
    case RUVM_VECTOR_PQ:
        return ruvm_ragcheck_zeros(c, row + rag->dims / RUVM_RAG_BOOK_DIMS, row + rag->row_bytes,
                                   "padding of a row is not 0");
    default: return check_codes(c, row);
    }
}

static bool check_vectors(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    uint32_t sign_bytes = ruvm_rag_row_bytes(RUVM_VECTOR_BINARY, rag->dims);
    const uint8_t *signs = rag->part[RUVM_RAG_BITS].data;
    for (uint32_t i = 0; i < rag->n; i++) {
        const uint8_t *row = ruvm_rag_row(rag, i);
        c->section = RUVM_RSEC_VECT;
        if (!check_row(c, row))
            return false;
        c->section = RUVM_RSEC_BITS;
        if (signs && !check_bit_padding(c, signs + (size_t)i * sign_bytes, rag->dims, sign_bytes))
            return false;
    }
    return check_book(c) && check_words(c);
}

static bool check_dead(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    const struct ruvm_rag_part *dead = &rag->part[RUVM_RAG_DEAD];
    uint32_t n = 0;
    c->section = RUVM_RSEC_DEAD;
    for (uint32_t i = 0; i < dead->bytes; i++)
        n += (uint32_t)__builtin_popcount(dead->data[i]);
    return !dead->data || (ruvm_ragcheck_equal(c, dead->data, "bits set", rag->n_deleted, n) &&
                           check_bit_padding(c, dead->data, rag->n, dead->bytes));
}

/* ---- text ------------------------------------------------------------------ */

static bool check_string(struct ruvm_ragcheck *c, const uint8_t *at, bool may_be_none,
                         struct ruvm_rag_text found)
{
    bool none = may_be_none && ruvm_load_u32(at) == RUVM_RAG_NONE;
    return ruvm_ragcheck_holds(c, at, "offset of a string is not in STRS",
                               none || found.text != NULL);
}

static bool check_chunks(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    c->section = RUVM_RSEC_CHNK;
    for (uint32_t i = 0; i < rag->n; i++) {
        const uint8_t *p = rag->part[RUVM_RAG_CHNK].data + (size_t)i * RUVM_CHNK_RECORD;
        struct ruvm_chunk chunk = ruvm_rag_chunk(rag, i);
        if (!ruvm_ragcheck_holds(c, p + RUVM_CHNK_OFF, "chunk is not in TEXT",
                                 chunk.text.text != NULL) ||
            !ruvm_ragcheck_range(c, p + RUVM_CHNK_SOURCE, "source of a chunk plus 1", 0,
                                 rag->n_sources, (uint64_t)chunk.source + 1) ||
            !check_string(c, p + RUVM_CHNK_META, true, chunk.meta))
            return false;
    }
    return true;
}

static bool check_sources(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    c->section = RUVM_RSEC_SRCE;
    for (uint32_t i = 0; i < rag->n_sources; i++) {
        const uint8_t *p = rag->part[RUVM_RAG_SRCE].data + (size_t)i * RUVM_SRCE_RECORD;
        struct ruvm_source source = ruvm_rag_source(rag, i);
        if (!check_string(c, p + RUVM_SRCE_NAME, false, source.name) ||
            !check_string(c, p + RUVM_SRCE_META, true, source.meta))
            return false;
    }
    return true;
}

static bool check_strings(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag_part *s = &c->rag->part[RUVM_RAG_STRS];
    struct ruvm_reader r = ruvm_reader_over(s->data, s->bytes);
    c->section = RUVM_RSEC_STRS;
    while (!r.failed && r.off < r.size)
        ruvm_reader_take(&r, ruvm_reader_u16(&r));
    return ruvm_ragcheck_holds(c, s->data, "the last string is cut", !r.failed);
}

/* ---- graph ----------------------------------------------------------------- */

static uint32_t raw_link(const struct ruvm_rag *rag, const uint8_t *list, uint32_t i)
{
    uint32_t bit = i * rag->id_bits;
    uint64_t mask = ((uint64_t)1 << rag->id_bits) - 1;
    return (uint32_t)(ruvm_load_u64(list + bit / 8) >> bit % 8 & mask);
}

static uint32_t id_of(const struct ruvm_rag_level *l, uint32_t place)
{
    return l->ids ? ruvm_load_u32(l->ids + (size_t)place * 4) : place;
}

static bool is_repeated(const struct ruvm_rag *rag, const uint8_t *list, uint32_t i)
{
    for (uint32_t j = 0; j < i; j++)
        if (raw_link(rag, list, j) == raw_link(rag, list, i))
            return true;
    return false;
}

static bool check_list(struct ruvm_ragcheck *c, const struct ruvm_rag_level *l, uint32_t place)
{
    const struct ruvm_rag *rag = c->rag;
    const uint8_t *list = l->lists + (size_t)place * l->list_bytes;
    uint32_t used = l->degree * rag->id_bits, i = 0;
    for (; i < l->degree && raw_link(rag, list, i) != place; i++) {
        uint32_t link = raw_link(rag, list, i);
        if (!ruvm_ragcheck_range(c, list, "link", 0, l->n - 1, link) ||
            !ruvm_ragcheck_holds(c, list, "link is there twice", !is_repeated(rag, list, i)) ||
            !ruvm_ragcheck_holds(c, list, "link to a deleted vector",
                                 !ruvm_rag_is_deleted(rag, id_of(l, link))))
            return false;
    }
    for (; i < l->degree; i++)
        if (!ruvm_ragcheck_equal(c, list, "link behind the end of a list", place,
                                 raw_link(rag, list, i)))
            return false;
    return ruvm_ragcheck_holds(c, list + used / 8, "bit behind the last link is not 0",
                               used % 8 == 0 || list[used / 8] >> used % 8 == 0);
}

/* Ascending, and each one a node of the level below. */
static bool check_ids(struct ruvm_ragcheck *c, const struct ruvm_rag_level *l,
                      const struct ruvm_rag_level *below)
{
    for (uint32_t i = 0, at = 0; i < l->n; i++, at++) {
        uint32_t id = id_of(l, i);
        while (at < below->n && id_of(below, at) != id)
            at++;
        if (at == below->n)
            return ruvm_ragcheck_fail(c, l->ids + (size_t)i * 4,
                                      "vectors of a level are not ascending, or not below");
    }
    return true;
}

static bool check_graph(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    const struct ruvm_rag_part *g = &rag->part[RUVM_RAG_GRPH];
    c->section = RUVM_RSEC_GRPH;
    for (unsigned i = 1; i < rag->n_levels; i++)
        if (!check_ids(c, &rag->level[i], &rag->level[i - 1]))
            return false;
    for (unsigned i = 0; i < rag->n_levels; i++)
        for (uint32_t place = 0; place < rag->level[i].n; place++)
            if (!check_list(c, &rag->level[i], place))
                return false;
    return !g->data || ruvm_ragcheck_zeros(c, g->data + g->bytes - RUVM_GRPH_TAIL,
                                           g->data + g->bytes, "end of the section is not 0");
}

int ruvm_rag_check(const struct ruvm_rag *rag, struct ruvm_rag_fault *fault)
{
    struct ruvm_rag_fault unwanted;
    struct ruvm_ragcheck c = {.rag = rag, .fault = fault ? fault : &unwanted, .section = ""};
    *c.fault = (struct ruvm_rag_fault){.what = ""};
    if (check_sums(&c) && check_vectors(&c) && check_dead(&c) && check_strings(&c) &&
        check_chunks(&c) && check_sources(&c))
        check_graph(&c);
    return c.rc;
}
