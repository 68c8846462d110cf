/* The knowledge blob: what the writer makes the reader reads, the golden file is what it was,
 * and no damage goes unnoticed.
 *
 * After a change of the format make the golden file and its dump in ruvm-rag(5) again:
 *
 *     RUVM_REGENERATE_GOLDEN=1 build/release/tests/formats/test --filter 'rag/golden*'
 *     bash tests/check_rag.sh --update
 */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/rag_write.h"
#include "lib/base/bytes.h"
#include "lib/base/file.h"
#include "lib/vector/vectors.h"
#include "tests/support/rag_draft.h"
#include "tests/support/repair_rag.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char golden_path[] = "tests/golden/golden.rag";

/* ---- a small blob, written by hand -------------------------------------------------- */

/* Three vectors of 8 codes, the third one deleted; a graph of two levels. */
static void add_vectors(struct ruvm_buffer *part)
{
    static const int8_t codes[3][16] = {
        {127, 0, 0, -64}, {0, 127, 3, -127, 1, 2, 3, 4}, {-127, -127, 0, 0, 0, 0, 0, 1}};
    static const uint8_t graph[] = {2, 2, 2, 2, 0, 0, 0,          0,          1,          0,
                                    0, 0, 0, 0, 0, 0, 1 | 0 << 2, 0 | 1 << 2, 2 | 2 << 2, 0,
                                    0, 0, 0, 0, 0, 0, 0,          0};
    ruvm_buffer_bytes(&part[RUVM_RAG_VECT], codes, sizeof codes);
    for (int i = 0; i < 3; i++)
        ruvm_buffer_u16(&part[RUVM_RAG_SIDE],
                        ruvm_vectors_inverse(ruvm_vectors_norm2(codes[i], 16)));
    ruvm_buffer_bytes(&part[RUVM_RAG_GRPH], graph, sizeof graph);
    ruvm_buffer_u8(&part[RUVM_RAG_DEAD], 4);
    for (int i = 0; i < 3; i++) {
        uint8_t *signs = ruvm_buffer_zeros(&part[RUVM_RAG_BITS], 8);
        for (int k = 0; k < 8; k++)
            signs[0] = (uint8_t)(signs[0] | (codes[i][k] >= 0) << k);
    }
}

static void add_texts(struct ruvm_buffer *part)
{
    static const char text[] = "The pump starts at 5 bar.The valve is blue.Old news.";
    struct ruvm_buffer *strs = &part[RUVM_RAG_STRS];
    uint32_t pump = ruvm_rag_write_string(strs, "pump.md", 7);
    uint32_t heading = ruvm_rag_write_string(strs, "heading=Pump", 12);
    const struct ruvm_rag_write_source source = {pump, RUVM_RAG_NONE, 52, 0xCAFE};
    const struct ruvm_rag_write_chunk chunks[] = {{0, 25, 0, heading, 0},
                                                  {25, 18, 0, RUVM_RAG_NONE, 2000000000},
                                                  {43, 9, 0, RUVM_RAG_NONE, 1}};
    ruvm_rag_write_source(&part[RUVM_RAG_SRCE], &source);
    for (size_t i = 0; i < COUNT(chunks); i++)
        ruvm_rag_write_chunk(&part[RUVM_RAG_CHNK], &chunks[i]);
    ruvm_buffer_bytes(&part[RUVM_RAG_TEXT], text, sizeof text - 1);
    ruvm_buffer_bytes(&part[RUVM_RAG_RCPE], "recipe", 6);
    ruvm_buffer_bytes(&part[RUVM_RAG_BM25], "words", 5);
}

static uint8_t *make(size_t *size)
{
    struct ruvm_buffer part[RUVM_RAG_N_PARTS] = {0}, file = {0};
    struct ruvm_rag_draft d = {.metric = RUVM_METRIC_COSINE,
                               .type = RUVM_VECTOR_INT8,
                               .dims = 8,
                               .n = 3,
                               .n_deleted = 1,
                               .n_sources = 1,
                               .generation = 2,
                               .unit = 1,
                               .ef = 16,
                               .ef_build = 100,
                               .query_bytes = 144,
                               .figures = {10, 1, 65535, 65000, 2, 3}};
    void *data;
    add_vectors(part);
    add_texts(part);
    for (int i = 0; i < RUVM_RAG_N_PARTS; i++)
        d.part[i] = (struct ruvm_rag_part){part[i].data, (uint32_t)part[i].size};
    cr_assert_eq(ruvm_rag_write(&file, &d), RUVM_OK);
    cr_assert_eq(posix_memalign(&data, 64, file.size), 0);
    memcpy(data, file.data, *size = file.size);
    for (int i = 0; i < RUVM_RAG_N_PARTS; i++)
        ruvm_buffer_free(&part[i]);
    ruvm_buffer_free(&file);
    return data;
}

/* Opens and checks a copy of its exact size; the status of the first that refuses. */
static int refused(const uint8_t *data, size_t size, struct ruvm_rag_fault *fault)
{
    struct ruvm_rag rag;
    void *copy;
    cr_assert_eq(posix_memalign(&copy, 64, size + !size), 0);
    if (size)
        memcpy(copy, data, size);
    int rc = ruvm_rag_open(&rag, copy, size, fault);
    if (rc == RUVM_OK)
        rc = ruvm_rag_check(&rag, fault);
    if (rc != RUVM_OK)
        cr_assert(strlen(fault->what) > 3 && fault->off <= size);
    free(copy);
    return rc;
}

/* ---- whole ---------------------------------------------------------------------- */

Test(rag, golden_file_is_what_the_writer_makes)
{
    size_t size;
    struct ruvm_map map;
    struct ruvm_error err = {0};
    uint8_t *blob = make(&size);
    if (getenv("RUVM_REGENERATE_GOLDEN"))
        cr_assert_eq(ruvm_file_write(golden_path, blob, size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_file_map(&map, golden_path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(map.size, size);
    cr_assert_eq(memcmp(map.data, blob, size), 0);
    ruvm_file_unmap(&map);
    free(blob);
}

static void expect_text(struct ruvm_rag_text t, const char *want)
{
    cr_expect(t.text && t.bytes == strlen(want) && memcmp(t.text, want, t.bytes) == 0,
              "\"%.*s\" instead of \"%s\"", (int)t.bytes, t.text ? t.text : "", want);
}

Test(rag, reads_what_was_written)
{
    size_t size;
    uint32_t links[RUVM_GRPH_MAX_DEGREE];
    struct ruvm_rag rag;
    uint8_t *blob = make(&size);
    cr_assert_eq(ruvm_rag_open(&rag, blob, size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_rag_check(&rag, NULL), RUVM_OK);
    cr_expect(rag.n == 3 && rag.dims == 8 && rag.row_bytes == 16 && rag.side_bytes == 2);
    cr_expect(rag.ef == 16 && rag.ef_build == 100 && rag.query_bytes == 144 && rag.generation == 2);
    cr_expect(rag.figures.recall_graph == 65000 && rag.figures.distances_max == 3);
    cr_expect_eq((int8_t)ruvm_rag_row(&rag, 2)[7], 1);
    cr_expect_eq(ruvm_load_u16(rag.part[RUVM_RAG_SIDE].data), 58524);
    cr_expect(ruvm_rag_is_deleted(&rag, 2) && !ruvm_rag_is_deleted(&rag, 1));
    expect_text(ruvm_rag_chunk(&rag, 0).text, "The pump starts at 5 bar.");
    expect_text(ruvm_rag_chunk(&rag, 0).meta, "heading=Pump");
    expect_text(ruvm_rag_chunk(&rag, 1).text, "The valve is blue.");
    cr_expect(ruvm_rag_chunk(&rag, 1).expires == 2000000000 && !ruvm_rag_chunk(&rag, 1).meta.text);
    expect_text(ruvm_rag_source(&rag, 0).name, "pump.md");
    cr_expect(ruvm_rag_source(&rag, 0).crc == 0xCAFE && ruvm_rag_source(&rag, 0).bytes == 52);
    cr_expect(rag.n_levels == 2 && rag.id_bits == 2 && rag.level[1].n == 1);
    cr_expect(ruvm_rag_links(&rag, 0, 0, links) == 1 && links[0] == 1);
    cr_expect(ruvm_rag_links(&rag, 0, 2, links) == 0);
    cr_expect(ruvm_rag_links(&rag, 1, 0, links) == 0);
    free(blob);
}

Test(rag, a_draft_of_a_blob_makes_the_blob)
{
    size_t size;
    struct ruvm_rag rag;
    struct ruvm_buffer again = {0};
    uint8_t *blob = make(&size);
    cr_assert_eq(ruvm_rag_open(&rag, blob, size, NULL), RUVM_OK);
    const struct ruvm_rag_draft d = rag_draft_of(&rag);
    cr_assert_eq(ruvm_rag_write(&again, &d), RUVM_OK);
    cr_assert(again.size == size && memcmp(again.data, blob, size) == 0);
    ruvm_buffer_free(&again);
    free(blob);
}

Test(rag, bits_of_a_link)
{
    static const uint32_t n[] = {0, 1, 2, 3, 256, 257, 65536, 65537, 1 << 24};
    static const uint32_t bits[] = {1, 1, 1, 2, 8, 9, 16, 17, 24};
    for (size_t i = 0; i < COUNT(n); i++)
        cr_expect_eq(ruvm_rag_id_bits(n[i]), bits[i], "%u", n[i]);
}

Test(rag, too_large_is_refused)
{
    struct ruvm_buffer out = {0};
    struct ruvm_rag_draft d = {.dims = 8, .n = RUVM_RAG_MAX_VECTORS + 1};
    cr_expect_eq(ruvm_rag_write(&out, &d), RUVM_ERR_UNSUPPORTED);
    d.n = 0;
    d.part[RUVM_RAG_TEXT].bytes = UINT32_MAX;
    d.part[RUVM_RAG_VECT].bytes = UINT32_MAX;
    cr_expect_eq(ruvm_rag_write(&out, &d), RUVM_ERR_UNSUPPORTED);
    cr_expect_eq(out.size, 0);
}

/* ---- damage ----------------------------------------------------------------------- */

Test(rag, every_bit_matters)
{
    size_t size;
    struct ruvm_rag_fault fault;
    uint8_t *blob = make(&size);
    cr_assert_eq(refused(blob, size, &fault), RUVM_OK, "%s: %s", fault.section, fault.what);
    for (size_t bit = 0; bit < size * 8; bit++) {
        blob[bit / 8] = (uint8_t)(blob[bit / 8] ^ 1 << bit % 8);
        cr_assert_neq(refused(blob, size, &fault), RUVM_OK, "bit %zu of byte %zu", bit % 8,
                      bit / 8);
        blob[bit / 8] = (uint8_t)(blob[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t n = 0; n < size; n++)
        cr_assert_neq(refused(blob, n, &fault), RUVM_OK, "the first %zu bytes", n);
    free(blob);
}

enum { HEADER = -1 };
struct breach {
    int part;
    uint32_t off;
    uint8_t n_bytes;
    uint32_t value;
    int rc;
    const char *what;
};

static const struct breach breaches[] = {
    {HEADER, 0, 1, 'X', RUVM_ERR_CORRUPT, "not a knowledge blob"},
    {HEADER, 4, 1, 2, RUVM_ERR_UNSUPPORTED, "version"},
    {HEADER, 4, 1, 0, RUVM_ERR_CORRUPT, "version"},
    {HEADER, 5, 1, 7, RUVM_ERR_UNSUPPORTED, "metric"},
    {HEADER, 5, 1, 4, RUVM_ERR_CORRUPT, "this metric is not one of such vectors"},
    {HEADER, 6, 1, 3, RUVM_ERR_UNSUPPORTED, "type of the vectors"},
    {HEADER, 6, 1, 2, RUVM_ERR_CORRUPT, "bytes of a row"},
    {HEADER, 7, 1, 1, RUVM_ERR_UNSUPPORTED, "flags"},
    {HEADER, 8, 4, 4, RUVM_ERR_CORRUPT, "size of the section"},
    {HEADER, 8, 4, 0x1000001, RUVM_ERR_CORRUPT, "number of vectors"},
    {HEADER, 12, 2, 7, RUVM_ERR_CORRUPT, "dimensions"},
    {HEADER, 12, 2, 1025, RUVM_ERR_CORRUPT, "dimensions"},
    {HEADER, 14, 2, 33, RUVM_ERR_CORRUPT, "number of sections"},
    {HEADER, 16, 4, 32, RUVM_ERR_CORRUPT, "bytes of a row"},
    {HEADER, 20, 4, 99, RUVM_ERR_CORRUPT, "size of the file"},
    {HEADER, 24, 4, 4, RUVM_ERR_CORRUPT, "number of deleted vectors"},
    {HEADER, 24, 4, 2, RUVM_ERR_CORRUPT, "bits set"},
    {HEADER, 32, 1, 31, RUVM_ERR_CORRUPT, "exponent of the unit is out of range"},
    {HEADER, 56, 4, 2, RUVM_ERR_CORRUPT, "size of the section"},
    {HEADER, 56, 4, 65536, RUVM_ERR_CORRUPT, "number of sources"},
    {HEADER, 64, 1, 1, RUVM_ERR_CORRUPT, "reserved byte is not 0"},
    {HEADER, 96, 1, '_', RUVM_ERR_CORRUPT, "name of a section is not four letters"},
    {HEADER, 96, 4, 0x58585858, RUVM_ERR_UNSUPPORTED, "does not know the section"},
    {HEADER, 96, 4, 0x58585878, RUVM_ERR_CORRUPT, "section is missing"},
    {HEADER, 112, 4, 0x54434556, RUVM_ERR_CORRUPT, "section is there twice"},
    {HEADER, 100, 4, 1, RUVM_ERR_CORRUPT, "offset modulo the alignment"},
    {HEADER, 100, 4, 4096, RUVM_ERR_CORRUPT, "offset"},
    {HEADER, 104, 4, 0x7fffffff, RUVM_ERR_CORRUPT, "end of the section"},
    {RUVM_RAG_VECT, 3, 1, 0x80, RUVM_ERR_CORRUPT, "code is -128"},
    {RUVM_RAG_VECT, 8, 1, 1, RUVM_ERR_CORRUPT, "padding of a row is not 0"},
    {RUVM_RAG_BITS, 1, 1, 1, RUVM_ERR_CORRUPT, "byte behind the last one is not 0"},
    {RUVM_RAG_DEAD, 0, 1, 12, RUVM_ERR_CORRUPT, "bits set"},
    {RUVM_RAG_DEAD, 0, 1, 8, RUVM_ERR_CORRUPT, "bit behind the last one is not 0"},
    {RUVM_RAG_CHNK, 0, 4, 28, RUVM_ERR_CORRUPT, "chunk is not in TEXT"},
    {RUVM_RAG_CHNK, 4, 2, 53, RUVM_ERR_CORRUPT, "chunk is not in TEXT"},
    {RUVM_RAG_CHNK, 6, 2, 1, RUVM_ERR_CORRUPT, "source of a chunk"},
    {RUVM_RAG_CHNK, 8, 4, 22, RUVM_ERR_CORRUPT, "offset of a string is not in STRS"},
    {RUVM_RAG_SRCE, 0, 4, RUVM_RAG_NONE, RUVM_ERR_CORRUPT, "offset of a string is not in STRS"},
    {RUVM_RAG_STRS, 9, 2, 13, RUVM_ERR_CORRUPT, "the last string is cut"},
    {RUVM_RAG_GRPH, 0, 1, 3, RUVM_ERR_CORRUPT, "bits of a link"},
    {RUVM_RAG_GRPH, 1, 1, 1, RUVM_ERR_CORRUPT, "links of a vector"},
    {RUVM_RAG_GRPH, 2, 1, 65, RUVM_ERR_CORRUPT, "links of a node above"},
    {RUVM_RAG_GRPH, 3, 1, 9, RUVM_ERR_CORRUPT, "number of levels"},
    {RUVM_RAG_GRPH, 4, 4, 1, RUVM_ERR_CORRUPT, "entry"},
    {RUVM_RAG_GRPH, 8, 4, 4, RUVM_ERR_CORRUPT, "nodes of a level"},
    {RUVM_RAG_GRPH, 8, 4, 2, RUVM_ERR_CORRUPT, "size of the section"},
    {RUVM_RAG_GRPH, 12, 4, 3, RUVM_ERR_CORRUPT, "not ascending, or not below"},
    {RUVM_RAG_GRPH, 16, 1, 1 | 1 << 2, RUVM_ERR_CORRUPT, "link is there twice"},
    {RUVM_RAG_GRPH, 16, 1, 3, RUVM_ERR_CORRUPT, "link"},
    {RUVM_RAG_GRPH, 16, 1, 2, RUVM_ERR_CORRUPT, "link to a deleted vector"},
    {RUVM_RAG_GRPH, 18, 1, 2 | 1 << 2, RUVM_ERR_CORRUPT, "link behind the end of a list"},
    {RUVM_RAG_GRPH, 16, 1, 1 | 1 << 4, RUVM_ERR_CORRUPT, "bit behind the last link is not 0"},
    {RUVM_RAG_GRPH, 27, 1, 1, RUVM_ERR_CORRUPT, "end of the section is not 0"},
};

/* With the checksums made right again, each rule is seen by itself. */
Test(rag, every_rule_is_kept)
{
    size_t size;
    uint8_t *sound = make(&size);
    for (size_t i = 0; i < COUNT(breaches); i++) {
        const struct breach *b = &breaches[i];
        struct ruvm_rag rag;
        struct ruvm_rag_fault fault;
        uint8_t *blob = make(&size);
        cr_assert_eq(ruvm_rag_open(&rag, blob, size, NULL), RUVM_OK);
        size_t at = b->off;
        if (b->part != HEADER)
            at += (size_t)(rag.part[b->part].data - blob);
        for (int k = 0; k < b->n_bytes; k++)
            blob[at + (size_t)k] = (uint8_t)(b->value >> 8 * k);
        repair_rag(blob, size);
        int rc = refused(blob, size, &fault);
        cr_expect(rc == b->rc && strstr(fault.what, b->what), "breach %zu: %d, \"%s\" not \"%s\"",
                  i, rc, fault.what, b->what);
        free(blob);
    }
    free(sound);
}

Test(rag, unaligned_is_an_argument_error)
{
    static uint8_t room[64] __attribute__((aligned(64)));
    struct ruvm_rag rag;
    cr_expect_eq(ruvm_rag_open(&rag, room + 8, 32, NULL), RUVM_ERR_ARG);
}
