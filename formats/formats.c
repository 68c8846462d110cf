/* The table of importers, and what foreign bytes look like to someone who must tell a
 * person why they cannot be imported.
 *
 * What to do to add a format:
 *   1. write formats/<name>.h and .c: a probe that looks at content only and
 *      never fails, and a reader that fills struct ruvm_tensors with views in
 *      place; check every count against the bytes before allocating;
 *   2. add a line to `importers`, the strongest magic first (a format that is
 *      known by plausible numbers alone comes last), and take its line out
 *      of `magics` if it stood there as "not supported yet";
 *   3. if it names tensors in a new way, add the dialect to lib/import/names.c;
 *   4. add tests/formats/test_<name>.c, tests/fuzz/fuzz_<name>.c and a corpus.
 */
#include "formats/formats.h"

#include <string.h>

#include "formats/gguf.h"
#include "formats/llama2c.h"
#include "formats/onnx.h"
#include "formats/ruvm_v0.h"
#include "formats/safetensors.h"
#include "lib/base/bytes.h"

static const struct ruvm_format importers[] = {
    {"GGUF model", ruvm_gguf_probe, ruvm_gguf_read},
    {"RUVM v0 (bare layout)", ruvm_v0_probe, ruvm_v0_read},
    {"ONNX model", ruvm_onnx_probe, ruvm_onnx_read},
    {"safetensors model", ruvm_safetensors_probe, ruvm_safetensors_read},
    {"llama2.c checkpoint", ruvm_llama2c_probe, ruvm_llama2c_read},
};

const struct ruvm_format *ruvm_formats_probe(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof importers / sizeof *importers; i++)
        if (importers[i].probe(data, size))
            return &importers[i];
    return NULL;
}

/* ---- guesses --------------------------------------------------------------- */

struct magic {
    const char *bytes;
    uint8_t n_bytes;
    const char *what;
};

static const struct magic magics[] = {
    {"RUVM", 4, "a RUVM image"},
    {"RRAG", 4, "a knowledge blob (ruvm rag-add --list shows it)"},
    {"GGUF", 4, "a GGUF model"},
    {"PK\3\4", 4,
     "a zip archive (a PyTorch file? ruvm-quantize(1) shows how to save it otherwise)"},
    {"\x80\2", 2, "a Python pickle (an old PyTorch file?)"},
    {"\x93NUMPY", 6, "a NumPy array"},
    {"version https://git-lfs", 23,
     "a git-lfs pointer, not the file itself (git lfs pull gets it)"},
    {"\x1f\x8b", 2, "gzip-compressed data (unpack it first)"},
    {"BZh", 3, "bzip2-compressed data (unpack it first)"},
    {"\3757zXZ", 5, "xz-compressed data (unpack it first)"},
    {"\x28\xb5\x2f\xfd", 4, "zstd-compressed data (unpack it first)"},
    {"\x89PNG", 4, "a PNG picture"},
    {"\xff\xd8\xff", 3, "a JPEG picture"},
    {"%PDF", 4, "a PDF document"},
    {"\177ELF", 4, "an ELF program"},
    {"#!", 2, "a script"},
};

static const char *guess_magic(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (size >= magics[i].n_bytes && memcmp(data, magics[i].bytes, magics[i].n_bytes) == 0)
            return magics[i].what;
    return NULL;
}

/* A protobuf whose first piece is the unknown token. */
static bool is_sentencepiece(const uint8_t *data, size_t size)
{
    return size > 9 && data[0] == 0x0a && memcmp(data + 2, "\x0a\x05<unk>", 7) == 0;
}

static bool is_llama2c_tokenizer(const uint8_t *data, size_t size)
{
    return size > 17 && ruvm_load_u32(data + 8) == 5 && memcmp(data + 12, "<unk>", 5) == 0;
}

static bool is_zeros(const uint8_t *data, size_t size)
{
    size_t n = size < 4096 ? size : 4096;
    for (size_t i = 0; i < n; i++)
        if (data[i] != 0)
            return false;
    return true;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* No control bytes but white space among the first ones; UTF-8 passes. */
static bool is_text(const uint8_t *data, size_t size)
{
    size_t n = size < 512 ? size : 512;
    for (size_t i = 0; i < n; i++)
        if ((data[i] < ' ' && !is_space(data[i])) || data[i] == 0x7f)
            return false;
    return true;
}

static bool begins_with(const uint8_t *data, size_t size, const char *lower_case)
{
    size_t n = strlen(lower_case);
    for (size_t i = 0; i < n; i++) {
        uint8_t c = i < size ? data[i] : 0;
        if ((c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c) != (uint8_t)lower_case[i])
            return false;
    }
    return true;
}

static const char *guess_text(const uint8_t *data, size_t size)
{
    if (begins_with(data, size, "\xef\xbb\xbf")) {
        data += 3;
        size -= 3;
    }
    while (size > 0 && is_space(data[0])) {
        data++;
        size--;
    }
    if (begins_with(data, size, "<!doctype html") || begins_with(data, size, "<html"))
        return "an HTML page (a failed download?)";
    if (begins_with(data, size, "<?xml"))
        return "an XML document";
    if (begins_with(data, size, "{") || begins_with(data, size, "["))
        return "JSON text";
    return "a text file";
}

const char *ruvm_formats_guess(const uint8_t *data, size_t size)
{
    if (size == 0)
        return "an empty file";
    const char *what = guess_magic(data, size);
    if (what)
        return what;
    if (is_zeros(data, size))
        return "nothing but zero bytes (an unfinished download?)";
    if (ruvm_safetensors_probe(data, size))
        return "a safetensors model";
    if (is_llama2c_tokenizer(data, size))
        return "a llama2.c tokenizer.bin";
    if (ruvm_llama2c_probe(data, size))
        return "a llama2.c checkpoint";
    if (is_sentencepiece(data, size))
        return "a SentencePiece tokenizer.model";
    if (ruvm_onnx_probe(data, size))
        return "an ONNX model";
    return is_text(data, size) ? guess_text(data, size) : "data of an unknown kind";
}
