/* The frame that every RUVM file has, whatever network it holds: header, section table,
 * checksums. Private to the readers of images; check_read.h.
 *
 *     if (ruvm_frame_over(&c, data, size))
 *         ruvm_frame_begin(&c) && ruvm_frame_header(&c) && ... && ruvm_frame_sections(&c);
 */
#ifndef RUVM_FORMATS_FRAME_READ_H
#define RUVM_FORMATS_FRAME_READ_H

#include "formats/check_read.h"

/* Begins: c->img and c->fault point to what is to be filled. false: RUVM_ERR_ARG, the data
 * is not aligned. */
bool ruvm_frame_over(struct ruvm_check *c, const void *data, size_t size);
/* It is a RUVM file and has a header, whose numbers are in c->img now. */
bool ruvm_frame_begin(struct ruvm_check *c);
/* Version 1: the header is undamaged, the file whole. */
bool ruvm_frame_header(struct ruvm_check *c);
/* Every section is undamaged and in its place, and known if it is required. */
bool ruvm_frame_sections(struct ruvm_check *c);
/* The file has the size that `who`, e.g. "its header says", expects. */
bool ruvm_frame_size(struct ruvm_check *c, const char *who, uint64_t expected);
/* A section of another kind of network is not there. */
bool ruvm_frame_foreign(struct ruvm_check *c, enum ruvm_section_index part);

#endif
