/* The processor of tests/device/xtensa.h, from the manual of the instruction set: fields of an
 * instruction are named as there. */
#include "tests/device/xtensa.h"

#include <string.h>

struct fields {
    uint32_t w, op0, t, s, r, op1, op2, imm8;
};

static void stop_for(struct xtensa *x, const char *what, uint32_t address)
{
    x->fault(x, what, address);
    x->stopped = true;
}

static int32_t extended(uint32_t v, unsigned bits)
{
    return (int32_t)(v << (32 - bits)) >> (32 - bits);
}

/* ---- memory ------------------------------------------------------------------------ */

static bool may(struct xtensa *x, uint32_t address, uint32_t bytes, bool is_write)
{
    uint8_t kind = x->kind[address >> XTENSA_PAGE_BITS];
    bool words_only = kind == XTENSA_CODE || kind == XTENSA_CODE_FLASH;
    bool read_only = kind == XTENSA_DATA_FLASH || kind == XTENSA_CODE_FLASH;
    const char *what = kind == XTENSA_NOTHING    ? "there is no memory at"
                       : kind == XTENSA_UNMAPPED ? "flash is not mapped at"
                       : address % bytes         ? "not aligned:"
                       : words_only && bytes < 4 ? "less than a word of the memory of code:"
                       : read_only && is_write   ? "flash is written at"
                                                 : NULL;
    if (what)
        stop_for(x, what, address);
    return !what;
}

static uint8_t *host(struct xtensa *x, uint32_t address)
{
    return x->page[address >> XTENSA_PAGE_BITS] + (address & ((1 << XTENSA_PAGE_BITS) - 1));
}

static uint32_t load(struct xtensa *x, uint32_t address, uint32_t bytes)
{
    uint32_t v = 0;
    if (bytes == 4 && !x->kind[address >> XTENSA_PAGE_BITS] && address % 4 == 0 &&
        x->device(x, address, &v, false))
        return v;
    if (may(x, address, bytes, false))
        memcpy(&v, host(x, address), bytes);
    return v;
}

static void store(struct xtensa *x, uint32_t address, uint32_t bytes, uint32_t v)
{
    if (bytes == 4 && !x->kind[address >> XTENSA_PAGE_BITS] && address % 4 == 0 &&
        x->device(x, address, &v, true))
        return;
    if (may(x, address, bytes, true))
        memcpy(host(x, address), &v, bytes);
}

/* ---- instructions ---------------------------------------------------------------------- */

static void unknown(struct xtensa *x, const struct fields *f)
{
    x->pc -= f->op0 >= 8 ? 2 : 3;
    stop_for(x, "no such instruction is known:", f->w);
}

/* Jumps are relative to the instruction, which pc is behind. */
static void branch(struct xtensa *x, uint32_t bytes, int32_t by)
{
    x->pc = x->pc - bytes + 4 + (uint32_t)by;
}

static uint32_t leading_zeros(uint32_t v)
{
    return v ? (uint32_t)__builtin_clz(v) : 32;
}

static void st0(struct xtensa *x, const struct fields *f)
{
    uint32_t *a = x->a, target = a[f->s];
    if (f->r == 2)
        return; /* barriers */
    if (f->r == 5 && f->s == 1)
        x->simcall(x);
    else if (f->r == 0 && (f->t == 8 || f->t == 10)) /* ret, jx */
        x->pc = f->t == 8 ? a[0] : target;
    else if (f->r == 0 && f->t == 12) { /* callx0 */
        a[0] = x->pc;
        x->pc = target;
    } else
        unknown(x, f);
}

static void st1(struct xtensa *x, const struct fields *f)
{
    uint32_t *sar = &x->special[XTENSA_SAR], v = x->a[f->s];
    switch (f->r) {
    case 0: *sar = v & 31; break;
    case 1: *sar = 32 - (v & 31); break;
    case 2: *sar = (v & 3) * 8; break;
    case 3: *sar = 32 - (v & 3) * 8; break;
    case 4: *sar = f->s | (f->t & 1) << 4; break;
    case 15: x->a[f->t] = leading_zeros(v); break;
    default: unknown(x, f);
    }
}

static void rst0(struct xtensa *x, const struct fields *f)
{
    uint32_t *a = x->a, s = a[f->s], t = a[f->t], *r = &a[f->r];
    switch (f->op2) {
    case 0: st0(x, f); break;
    case 1: *r = s & t; break;
    case 2: *r = s | t; break;
    case 3: *r = s ^ t; break;
    case 4: st1(x, f); break;
    case 6:
        if (f->s > 1)
            unknown(x, f);
        else
            *r = f->s == 0 || (int32_t)t < 0 ? 0 - t : t;
        break;
    case 8:
    case 9:
    case 10:
    case 11: *r = (s << (f->op2 - 8)) + t; break;
    case 12:
    case 13:
    case 14:
    case 15: *r = (s << (f->op2 - 12)) - t; break;
    default: unknown(x, f);
    }
}

static void rst1(struct xtensa *x, const struct fields *f)
{
    uint32_t *a = x->a, s = a[f->s], t = a[f->t], *r = &a[f->r], sar = x->special[XTENSA_SAR];
    uint32_t high = (f->op2 & 1) << 4;
    switch (f->op2) {
    case 0:
    case 1: *r = s << (32 - (high | f->t)); break;
    case 2:
    case 3: *r = (uint32_t)((int32_t)t >> (high | f->s)); break;
    case 4: *r = t >> f->s; break;
    case 8: *r = (uint32_t)(((uint64_t)s << 32 | t) >> sar); break;
    case 9: *r = (uint32_t)((uint64_t)t >> sar); break;
    case 10: *r = (uint32_t)(((uint64_t)s << 32) >> sar); break;
    case 11: *r = (uint32_t)((int64_t)(int32_t)t >> sar); break;
    case 12: *r = (s & 0xffff) * (t & 0xffff); break;
    case 13: *r = (uint32_t)(extended(s, 16) * extended(t, 16)); break;
    default: unknown(x, f);
    }
}

static void rst3(struct xtensa *x, const struct fields *f)
{
    uint32_t *a = x->a, s = a[f->s], *r = &a[f->r], number = f->r << 4 | f->s;
    int32_t t = (int32_t)a[f->t];
    switch (f->op2) {
    case 0: a[f->t] = number == XTENSA_CCOUNT ? (uint32_t)x->n : x->special[number]; break;
    case 1: x->special[number] = a[f->t]; break;
    case 8: *r = t == 0 ? s : *r; break;
    case 9: *r = t != 0 ? s : *r; break;
    case 10: *r = t < 0 ? s : *r; break;
    case 11: *r = t >= 0 ? s : *r; break;
    default: unknown(x, f);
    }
}

static void qrst(struct xtensa *x, const struct fields *f)
{
    uint32_t *a = x->a;
    switch (f->op1) {
    case 0: rst0(x, f); break;
    case 1: rst1(x, f); break;
    case 2:
        if (f->op2 == 8)
            a[f->r] = a[f->s] * a[f->t];
        else
            unknown(x, f);
        break;
    case 3: rst3(x, f); break;
    case 4:
    case 5: {
        uint32_t mask = (2u << f->op2) - 1;
        a[f->r] = a[f->t] >> ((f->op1 & 1) << 4 | f->s) & mask;
        break;
    }
    default: unknown(x, f);
    }
}

static void lsai(struct xtensa *x, const struct fields *f)
{
    uint32_t s = x->a[f->s], *t = &x->a[f->t], i = f->imm8;
    switch (f->r) {
    case 0: *t = load(x, s + i, 1); break;
    case 1: *t = load(x, s + 2 * i, 2); break;
    case 2: *t = load(x, s + 4 * i, 4); break;
    case 4: store(x, s + i, 1, *t); break;
    case 5: store(x, s + 2 * i, 2, *t); break;
    case 6: store(x, s + 4 * i, 4, *t); break;
    case 9: *t = (uint32_t)extended(load(x, s + 2 * i, 2), 16); break;
    case 10: *t = (uint32_t)extended(f->s << 8 | i, 12); break;
    case 12: *t = s + (uint32_t)extended(i, 8); break;
    case 13: *t = s + ((uint32_t)extended(i, 8) << 8); break;
    default: unknown(x, f);
    }
}

static bool compare_zero(uint32_t m, int32_t s)
{
    return m == 0 ? s == 0 : m == 1 ? s != 0 : m == 2 ? s < 0 : s >= 0;
}

static bool compare_constant(uint32_t m, int32_t s, uint32_t r)
{
    static const int16_t b4const[16] = {-1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32, 64, 128, 256};
    int32_t c = b4const[r];
    return m == 0 ? s == c : m == 1 ? s != c : m == 2 ? s < c : s >= c;
}

static bool compare_unsigned(uint32_t m, uint32_t s, uint32_t r)
{
    static const uint32_t b4constu[16] = {32768, 65536, 2,  3,  4,  5,  6,   7,
                                          8,     10,    12, 16, 32, 64, 128, 256};
    return m == 2 ? s < b4constu[r] : s >= b4constu[r];
}

static void si(struct xtensa *x, const struct fields *f)
{
    uint32_t n = f->t & 3, m = f->t >> 2, s = x->a[f->s];
    bool taken;
    if (n == 0) {
        branch(x, 3, extended(f->w >> 6, 18));
        return;
    }
    if (n == 1) {
        if (compare_zero(m, (int32_t)s))
            branch(x, 3, extended(f->w >> 12, 12));
        return;
    }
    if (n == 3 && m < 2) {
        unknown(x, f);
        return;
    }
    taken = n == 2 ? compare_constant(m, (int32_t)s, f->r) : compare_unsigned(m, s, f->r);
    if (taken)
        branch(x, 3, extended(f->imm8, 8));
}

static void b(struct xtensa *x, const struct fields *f)
{
    uint32_t s = x->a[f->s], t = x->a[f->t], bit = (f->r & 1) << 4 | f->t;
    bool holds;
    switch (f->r & 7) {
    case 0: holds = (s & t) == 0; break;
    case 1: holds = s == t; break;
    case 2: holds = (int32_t)s < (int32_t)t; break;
    case 3: holds = s < t; break;
    case 4: holds = (~s & t) == 0; break;
    case 5: holds = !(s >> (t & 31) & 1); break;
    default: holds = !(s >> bit & 1);
    }
    if (holds != (f->r >> 3 & 1)) /* those from 8 on are the opposites */
        branch(x, 3, extended(f->imm8, 8));
}

static void st2(struct xtensa *x, const struct fields *f)
{
    uint32_t imm7 = (f->t & 7) << 4 | f->r;
    if (f->t < 8)
        x->a[f->s] = imm7 < 96 ? imm7 : imm7 - 128;
    else if ((x->a[f->s] == 0) == (f->t < 12)) /* beqz.n, bnez.n */
        branch(x, 2, (int32_t)((f->t & 3) << 4 | f->r));
}

static void st3(struct xtensa *x, const struct fields *f)
{
    if (f->r == 0)
        x->a[f->t] = x->a[f->s];
    else if (f->r == 15 && f->t == 0)
        x->pc = x->a[0];
    else if (f->r != 15 || f->t != 3)
        unknown(x, f);
}

static void call(struct xtensa *x, const struct fields *f)
{
    if (f->t & 3) {
        unknown(x, f);
        return;
    }
    x->a[0] = x->pc;
    x->pc = ((x->pc - 3) & ~3u) + ((uint32_t)extended(f->w >> 6, 18) << 2) + 4;
}

static void narrow(struct xtensa *x, const struct fields *f)
{
    uint32_t *a = x->a;
    switch (f->op0) {
    case 8: a[f->t] = load(x, a[f->s] + 4 * f->r, 4); break;
    case 9: store(x, a[f->s] + 4 * f->r, 4, a[f->t]); break;
    case 10: a[f->r] = a[f->s] + a[f->t]; break;
    case 11: a[f->r] = a[f->s] + (f->t ? f->t : UINT32_MAX); break;
    case 12: st2(x, f); break;
    case 13: st3(x, f); break;
    default: unknown(x, f);
    }
}

static void execute(struct xtensa *x, const struct fields *f)
{
    switch (f->op0) {
    case 0: qrst(x, f); break;
    case 1: /* l32r; a literal may lie where only words can be read */
        x->a[f->t] = load(x, (x->pc & ~3u) + (0xFFFC0000u | (f->w >> 8) << 2), 4);
        break;
    case 2: lsai(x, f); break;
    case 5: call(x, f); break;
    case 6: si(x, f); break;
    case 7: b(x, f); break;
    default: narrow(x, f);
    }
}

/* The instruction at pc; it may reach into the next page. */
static bool fetch(struct xtensa *x, uint32_t *w)
{
    uint32_t at = x->pc;
    *w = 0;
    for (uint32_t i = 0; i < 3; i++, at++) {
        uint8_t kind = x->kind[at >> XTENSA_PAGE_BITS];
        if (kind != XTENSA_CODE && kind != XTENSA_CODE_FLASH) {
            stop_for(x, "no code can be at", at);
            return false;
        }
        *w |= (uint32_t)*host(x, at) << 8 * i;
        if (i == 1 && (*w & 15) >= 8)
            break; /* a narrow one */
    }
    return true;
}

void xtensa_run(struct xtensa *x, uint64_t limit)
{
    uint32_t w;
    while (!x->stopped && fetch(x, &w)) {
        const struct fields f = {.w = w,
                                 .op0 = w & 15,
                                 .t = w >> 4 & 15,
                                 .s = w >> 8 & 15,
                                 .r = w >> 12 & 15,
                                 .op1 = w >> 16 & 15,
                                 .op2 = w >> 20,
                                 .imm8 = w >> 16};
        x->pc += f.op0 >= 8 ? 2 : 3;
        execute(x, &f);
        if (++x->n >= limit)
            stop_for(x, "too many instructions; the last was at", x->pc);
    }
}
