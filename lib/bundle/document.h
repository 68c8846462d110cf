/* Documents: files of text, as the passages that chunks are cut from.
 *
 *     rc = ruvm_document_read(&document, &sink, &err);
 *
 * A passage is text that belongs together: a text file, what stands under one heading of a
 * Markdown file, a row of a CSV file, a line of a JSONL file. Its context, a heading, is said
 * again in each of its chunks. Bytes that are no UTF-8 are kept and counted.
 */
#ifndef RUVM_BUNDLE_DOCUMENT_H
#define RUVM_BUNDLE_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

enum ruvm_document_format {
    RUVM_DOCUMENT_AUTO, /* by the name's ending; text when it says nothing */
    RUVM_DOCUMENT_TEXT,
    RUVM_DOCUMENT_MARKDOWN,
    RUVM_DOCUMENT_CSV,
    RUVM_DOCUMENT_JSONL,
};

struct ruvm_passage {
    const char *context; /* "Manual > Errors"; not NULL when n_context > 0 */
    size_t n_context;
    const char *text;
    size_t n_text;
    const char *meta; /* a JSON object, or NULL */
    uint32_t expires; /* seconds since 1970; 0: never */
};

/* Takes passages in order; they live until it returns. Not RUVM_OK: stop and pass it on. */
struct ruvm_passage_sink {
    int (*take)(void *context, const struct ruvm_passage *p, struct ruvm_error *err);
    void *context;
};

struct ruvm_document {
    const char *name; /* for the format and for messages */
    const char *data;
    size_t size;
    enum ruvm_document_format format;
    uint32_t now;         /* seconds since 1970, for "ttl" of a line */
    uint64_t n_bad_bytes; /* out: bytes that are no UTF-8 */
};

/* RUVM_ERR_CORRUPT with the line; RUVM_ERR_UNSUPPORTED: not text at all. */
int ruvm_document_read(struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                       struct ruvm_error *err);

/* The readers of one format each; data is text. */
int ruvm_markdown_read(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                       struct ruvm_error *err);
int ruvm_csv_read(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                  struct ruvm_error *err);
int ruvm_jsonl_read(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                    struct ruvm_error *err);

#endif
