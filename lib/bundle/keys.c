/* Keys of ed25519 in files.
 *
 * The DER inside a PEM file is for this algorithm a constant followed by the 32 bytes, so it
 * is compared, not parsed. `openssl genpkey -algorithm ed25519` writes such files.
 */
#include "lib/bundle/keys.h"

#include <nettle/base64.h>
#include <stdbool.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

enum { MAX_FILE_BYTES = 4096, MAX_DER_BYTES = BASE64_DECODE_LENGTH(MAX_FILE_BYTES) };

/* What stands around the 32 bytes. */
struct kind {
    const char *label; /* of the PEM file */
    const char *what;  /* for messages */
    uint8_t prefix[16];
    size_t prefix_bytes;
};
static const struct kind private_key = {"PRIVATE KEY",
                                        "private key",
                                        {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b,
                                         0x65, 0x70, 0x04, 0x22, 0x04, 0x20},
                                        16};
static const struct kind public_key = {
    "PUBLIC KEY",
    "public key",
    {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00},
    12};

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool from_hex(uint8_t *key, const char *text)
{
    for (int i = 0; i < RUVM_KEYS_BYTES; i++) {
        int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        key[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * RUVM_KEYS_BYTES + strspn(text + 2 * RUVM_KEYS_BYTES, " \r\n")] == '\0';
}

/* What stands between the two lines, or false. */
static bool pem_body(char **body, char *text, const char *label)
{
    char begin[64] = "-----BEGIN ", end[64] = "-----END ";
    strcat(strcat(begin, label), "-----");
    strcat(strcat(end, label), "-----");
    char *from = strstr(text, begin), *to = from ? strstr(from, end) : NULL;
    if (!to)
        return false;
    *to = '\0';
    *body = from + strlen(begin);
    return true;
}

static bool from_pem(uint8_t *key, char *text, const struct kind *kind)
{
    char *body;
    uint8_t der[MAX_DER_BYTES];
    size_t n = sizeof der;
    struct base64_decode_ctx base64;
    if (!pem_body(&body, text, kind->label))
        return false;
    base64_decode_init(&base64);
    if (!base64_decode_update(&base64, &n, der, strlen(body), body) ||
        !base64_decode_final(&base64) || n != kind->prefix_bytes + RUVM_KEYS_BYTES ||
        memcmp(der, kind->prefix, kind->prefix_bytes) != 0)
        return false;
    memcpy(key, der + kind->prefix_bytes, RUVM_KEYS_BYTES);
    return true;
}

static int read_key(uint8_t *key, const char *path, const struct kind *kind, struct ruvm_error *err)
{
    struct ruvm_map map;
    char text[MAX_FILE_BYTES + 1] = "";
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    bool ok = map.size <= MAX_FILE_BYTES;
    if (ok)
        memcpy(text, map.data, map.size);
    ruvm_file_unmap(&map);
    ok = ok && ((strlen(text) >= 2 * RUVM_KEYS_BYTES && from_hex(key, text)) ||
                from_pem(key, text, kind));
    memset(text, 0, sizeof text);
    return ok ? RUVM_OK
              : ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                          "%s: is not an ed25519 %s: neither PEM (openssl genpkey -algorithm "
                          "ed25519) nor 64 hexadecimal digits",
                          path, kind->what);
}

int ruvm_keys_private(uint8_t seed[RUVM_KEYS_BYTES], const char *path, struct ruvm_error *err)
{
    return read_key(seed, path, &private_key, err);
}

int ruvm_keys_public(uint8_t key[RUVM_KEYS_BYTES], const char *path, struct ruvm_error *err)
{
    return read_key(key, path, &public_key, err);
}
