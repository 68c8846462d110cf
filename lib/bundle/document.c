/* Documents: which format, and whether it is text at all. */
#include "lib/bundle/document.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lib/base/bytes.h"

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcasecmp(name + n - m, ending) == 0;
}

static enum ruvm_document_format format_of(const char *name)
{
    static const struct {
        const char *ending;
        enum ruvm_document_format format;
    } known[] = {
        {".md", RUVM_DOCUMENT_MARKDOWN}, {".markdown", RUVM_DOCUMENT_MARKDOWN},
        {".csv", RUVM_DOCUMENT_CSV},     {".tsv", RUVM_DOCUMENT_CSV},
        {".jsonl", RUVM_DOCUMENT_JSONL}, {".ndjson", RUVM_DOCUMENT_JSONL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (ends_with(name, known[i].ending))
            return known[i].format;
    return RUVM_DOCUMENT_TEXT;
}

static uint64_t count_bad_bytes(const char *data, size_t size)
{
    const uint8_t *p = (const uint8_t *)data, *end = p + size;
    uint64_t bad = 0;
    while (p < end) {
        uint32_t n = ruvm_utf8_bytes(p, end);
        bad += n == 0;
        p += n ? n : 1;
    }
    return bad;
}

/* No text has a NUL; UTF-16 has one in every second byte. */
static int check_text(const struct ruvm_document *d, struct ruvm_error *err)
{
    const char *nul = d->size ? memchr(d->data, '\0', d->size) : NULL;
    if (!nul)
        return RUVM_OK;
    bool wide = d->size >= 2 &&
                (memcmp(d->data, "\xFF\xFE", 2) == 0 || memcmp(d->data, "\xFE\xFF", 2) == 0);
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: byte %zu: is not text%s", d->name,
                     (size_t)(nul - d->data),
                     wide ? " in UTF-8 but in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)"
                          : ": give text, Markdown, CSV or JSONL");
}

static int read_text(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                     struct ruvm_error *err)
{
    const struct ruvm_passage p = {.text = d->data, .n_text = d->size};
    return sink->take(sink->context, &p, err);
}

int ruvm_document_read(struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                       struct ruvm_error *err)
{
    int rc = check_text(d, err);
    if (rc != RUVM_OK)
        return rc;
    struct ruvm_document text = *d; /* without a byte order mark */
    if (d->size >= 3 && memcmp(d->data, "\xEF\xBB\xBF", 3) == 0) {
        text.data += 3;
        text.size -= 3;
    }
    d->n_bad_bytes = count_bad_bytes(text.data, text.size);
    switch (d->format == RUVM_DOCUMENT_AUTO ? format_of(d->name) : d->format) {
    case RUVM_DOCUMENT_MARKDOWN: return ruvm_markdown_read(&text, sink, err);
    case RUVM_DOCUMENT_CSV: return ruvm_csv_read(&text, sink, err);
    case RUVM_DOCUMENT_JSONL: return ruvm_jsonl_read(&text, sink, err);
    default: return read_text(&text, sink, err);
    }
}
