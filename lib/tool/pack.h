/* ruvm_pack(): sections of one flash in one file; deltas between two.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_PACK_H
#define RUVM_TOOL_PACK_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A section by name: "sett" settings (JSON), "MODL" model (a RUVM image), "know" knowledge,
 * "gate", "plug", or four letters or digits of your own. */
struct ruvm_pack_file {
    const char *name, *path;
};

struct ruvm_pack_options {
    const char *input;                  /* a RUVM image, "demo" or a pack; NULL: nothing */
    const struct ruvm_pack_file *files; /* sections that are added or replaced */
    uint32_t n_files;
    const char *const *removed; /* names of sections that are left out */
    uint32_t n_removed;
    const char *sign_key; /* file with an ed25519 private key (PEM or hex), or NULL */
    const char *output;   /* NULL: nothing is written */
};

struct ruvm_pack_entry {
    char name[5];
    const char *kind; /* "model", "settings", ...; static */
    uint32_t off_bytes, size_bytes, align_bytes, crc32;
    char sha256[65];
};

struct ruvm_pack_result {
    uint64_t bytes;
    uint32_t n_sections;
    struct ruvm_pack_entry sections[32];
    bool is_signed;
    char key[65];           /* of the signature, in hex */
    bool signature_dropped; /* the input had one, which changes made worthless */
};

/* Makes a pack, or another one of a pack. Its signature is that of sign_key or, when nothing
 * else changes, stays. */
int ruvm_pack(const struct ruvm_pack_options *o, struct ruvm_pack_result *r,
              struct ruvm_error *err);
/* What a pack holds; all its checksums, SHA-256 included, are checked. */
int ruvm_pack_list(const char *path, struct ruvm_pack_result *r, struct ruvm_error *err);
/* As list, and its signature must hold. key: file with the public key that must have made it
 * (PEM or hex), or NULL: any key. RUVM_ERR_MISMATCH: not signed, by another key, wrong. */
int ruvm_pack_verify(const char *path, const char *key, struct ruvm_pack_result *r,
                     struct ruvm_error *err);
/* Writes the bytes of a section; *bytes is how many. */
int ruvm_pack_extract(const char *path, const char *section, const char *output, uint64_t *bytes,
                      struct ruvm_error *err);
/* Writes a C header of *bytes with the pack as an array `name`. */
int ruvm_pack_emit_c(const char *path, const char *name, const char *output, uint64_t *bytes,
                     struct ruvm_error *err);
/* For transport: a gzip file of a pack or a delta, and the exact bytes again. */
int ruvm_pack_compress(const char *path, const char *output, uint64_t bytes[2],
                       struct ruvm_error *err);
int ruvm_pack_decompress(const char *path, const char *output, uint64_t bytes[2],
                         struct ruvm_error *err);

struct ruvm_pack_delta {
    uint64_t old_bytes, new_bytes, delta_bytes;
    uint32_t n_sectors, n_changed; /* of 4 KiB, of the new pack */
};

/* The sectors of flash in which the pack `path` differs from the pack `old`; and a pack from
 * its predecessor and these. RUVM_ERR_MISMATCH: the delta is not for this one. */
int ruvm_pack_delta_make(const char *path, const char *old, const char *output,
                         struct ruvm_pack_delta *d, struct ruvm_error *err);
int ruvm_pack_delta_apply(const char *delta, const char *old, const char *output,
                          struct ruvm_pack_delta *d, struct ruvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
