/* The plan of a flash as a drawing: a bar from its first to its last byte, a box a region.
 *
 * Heights follow the bytes, but a region of few of them keeps room for its line of text.
 */
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/flash_parts.h"

enum { WIDTH = 720, BAR_X = 110, BAR_WIDTH = 250, TOP = 54, LEAST = 22, MAP_HEIGHT = 420 };

static const char *color_of(const struct ruvm_flash_region *r, const char *pack)
{
    if (strcmp(r->name, pack) == 0)
        return "#4c9f70";
    if (strcmp(r->name, "free") == 0)
        return "#f4f4f4";
    return r->used_bytes ? "#5b7fb5" : "#d9d9d9";
}

/* Names come from foreign tables. */
static void put_text(struct ruvm_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<' || *text == '&' || *text == '>' || (unsigned char)*text < ' ' ||
            (unsigned char)*text > '~')
            ruvm_buffer_printf(out, "&#%u;",
                               (unsigned char)*text < ' ' ? '?' : (unsigned char)*text);
        else
            ruvm_buffer_u8(out, (uint8_t)*text);
    }
}

static unsigned height_of(const struct ruvm_flash_region *r, uint32_t flash_bytes)
{
    return LEAST + (unsigned)((uint64_t)r->size_bytes * MAP_HEIGHT / flash_bytes);
}

static void put_region(struct ruvm_buffer *out, const struct ruvm_flash_result *r,
                       const struct ruvm_flash_region *g, unsigned y, unsigned height)
{
    unsigned used =
        g->size_bytes ? (unsigned)((uint64_t)g->used_bytes * height / g->size_bytes) : 0;
    ruvm_buffer_printf(out,
                       "<rect x=\"%d\" y=\"%u\" width=\"%d\" height=\"%u\" fill=\"%s\" "
                       "fill-opacity=\"0.35\" stroke=\"#333\"/>\n",
                       BAR_X, y, BAR_WIDTH, height, color_of(g, r->label));
    if (used)
        ruvm_buffer_printf(out,
                           "<rect x=\"%d\" y=\"%u\" width=\"%d\" height=\"%u\" fill=\"%s\"/>\n",
                           BAR_X, y, BAR_WIDTH, used, color_of(g, r->label));
    ruvm_buffer_printf(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">0x%06x</text>\n",
                       BAR_X - 8, y + 15, (unsigned)g->off_bytes);
    ruvm_buffer_printf(out, "<text x=\"%d\" y=\"%u\">", BAR_X + BAR_WIDTH + 10, y + 15);
    put_text(out, g->name);
    ruvm_buffer_printf(out, "%s", g->kind[0] ? " (" : "");
    put_text(out, g->kind);
    ruvm_buffer_printf(out, "%s: %u of %u bytes</text>\n", g->kind[0] ? ")" : "",
                       (unsigned)g->used_bytes, (unsigned)g->size_bytes);
}

int ruvm_flash_draw(const struct ruvm_flash_job *j, const char *path)
{
    const struct ruvm_flash_result *r = j->r;
    struct ruvm_buffer out = {0};
    unsigned y = TOP, height = TOP + 16;
    for (uint32_t i = 0; i < r->n_regions; i++)
        height += height_of(&r->regions[i], r->flash_bytes);
    ruvm_buffer_printf(&out,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%u\" "
                       "font-family=\"sans-serif\" font-size=\"12\">\n"
                       "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
                       "<text x=\"%d\" y=\"24\" font-size=\"15\">Flash of the %s, %u KiB</text>\n"
                       "<text x=\"%d\" y=\"42\">mapped as data: %llu of %llu bytes</text>\n",
                       WIDTH, height, BAR_X, r->family, (unsigned)(r->flash_bytes >> 10), BAR_X,
                       (unsigned long long)r->mapped_bytes, (unsigned long long)r->window_bytes);
    for (uint32_t i = 0; i < r->n_regions; i++) {
        unsigned h = height_of(&r->regions[i], r->flash_bytes);
        put_region(&out, r, &r->regions[i], y, h);
        y += h;
    }
    ruvm_buffer_printf(&out, "</svg>\n");
    int rc = ruvm_buffer_ok(&out) ? ruvm_file_write(path, out.data, out.size, j->err)
                                  : ruvm_fail(j->err, RUVM_ERR_MEMORY, "%s: memory is short", path);
    ruvm_buffer_free(&out);
    return rc;
}
