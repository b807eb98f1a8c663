// The part of the C library that a procedure needs. No WASI: a component imports nothing but the contract.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Blocks are of powers of two, each behind 16 bytes that say which; those that were freed wait in a list by size. Not for a program that
// runs for months: a procedure's memory goes with its run.
typedef struct block {
    uint32_t power;
    uint32_t mark;
    struct block *next;
    uint32_t unused;
} block;

enum { LEAST = 5, MOST = 31, MARK = 0x726f7461, PAGE = 65536 };
_Static_assert(sizeof(block) == 16, "what malloc gives is aligned to 16 bytes");

extern unsigned char __heap_base;
static block *waiting[MOST + 1];
static uintptr_t heap, heap_end;

_Noreturn void abort(void) { __builtin_trap(); }

static bool grow(uintptr_t end) {
    if (end <= heap_end) return true;
    uintptr_t pages = (end - heap_end + PAGE - 1) / PAGE;
    // The host's limit of memory ends the run, and says which limit it was.
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return false;
    heap_end += pages * PAGE;
    return true;
}

void *malloc(size_t size) {
    if (heap == 0) {
        heap = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
        heap_end = __builtin_wasm_memory_size(0) * PAGE;
    }
    if (size > ((size_t)1 << MOST) - sizeof(block)) return NULL;
    uint32_t power = LEAST;
    while (((size_t)1 << power) < size + sizeof(block)) power++;
    block *found = waiting[power];
    if (found) {
        waiting[power] = found->next;
    } else {
        size_t length = (size_t)1 << power;
        if (length > UINTPTR_MAX - heap || !grow(heap + length)) return NULL;
        found = (block *)heap;
        heap += length;
    }
    *found = (block){.power = power, .mark = MARK};
    return found + 1;
}

static block *block_of(void *pointer) {
    uintptr_t at = (uintptr_t)pointer;
    if (at < (uintptr_t)&__heap_base + sizeof(block) || at >= heap || at % 16 != 0) return NULL;
    block *found = (block *)pointer - 1;
    return found->mark == MARK ? found : NULL;
}

void free(void *pointer) {
    block *found = block_of(pointer);
    if (!found) return;
    found->mark = 0;
    found->next = waiting[found->power];
    waiting[found->power] = found;
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    void *made = malloc(bytes);
    return made ? memset(made, 0, bytes) : NULL;
}

void *realloc(void *pointer, size_t size) {
    if (!pointer) return malloc(size);
    block *old = block_of(pointer);
    if (!old) abort();
    size_t room = ((size_t)1 << old->power) - sizeof(block);
    if (size <= room) return pointer;
    void *made = malloc(size);
    if (!made) return NULL;
    memcpy(made, pointer, room);
    free(pointer);
    return made;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    return __builtin_memcpy(to, from, count);
}

void *memmove(void *to, const void *from, size_t count) { return __builtin_memmove(to, from, count); }

void *memset(void *to, int byte, size_t count) { return __builtin_memset(to, byte, count); }

int memcmp(const void *a, const void *b, size_t count) {
    const unsigned char *left = a, *right = b;
    for (size_t i = 0; i < count; i++)
        if (left[i] != right[i]) return left[i] - right[i];
    return 0;
}

void *memchr(const void *in, int byte, size_t count) {
    const unsigned char *at = in;
    for (size_t i = 0; i < count; i++)
        if (at[i] == (unsigned char)byte) return (void *)(at + i);
    return NULL;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) length++;
    return length;
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t count) {
    for (; count > 0; count--, a++, b++)
        if (*a != *b || !*a) return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

char *strchr(const char *text, int byte) {
    for (;; text++) {
        if (*text == (char)byte) return (char *)text;
        if (!*text) return NULL;
    }
}

char *strstr(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++)
        if (strncmp(text, part, length) == 0) return (char *)text;
    return length == 0 ? (char *)text : NULL;
}

static void swap(unsigned char *a, unsigned char *b, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char held = a[i];
        a[i] = b[i];
        b[i] = held;
    }
}

static void sift(unsigned char *base, size_t root, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count) return;
        if (child + 1 < count && compare(base + child * size, base + (child + 1) * size) < 0) child++;
        if (compare(base + root * size, base + child * size) >= 0) return;
        swap(base + root * size, base + child * size, size);
        root = child;
    }
}

// A heap sort: no memory of its own, no bad case.
void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    for (size_t i = count / 2; i-- > 0;) sift(base, i, count, size, compare);
    for (size_t i = count; i-- > 1;) {
        swap(base, (unsigned char *)base + i * size, size);
        sift(base, 0, i, size, compare);
    }
}

typedef struct {
    char *to;
    size_t room, length;
} output;

static void put(output *out, char byte) {
    if (out->length + 1 < out->room) out->to[out->length] = byte;
    out->length++;
}

static size_t digits(char *end, uint64_t value, unsigned base, bool capital) {
    const char *shapes = capital ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t count = 0;
    do *--end = shapes[value % base], count++;
    while (value /= base);
    return count;
}

static void fraction(double value, int precision, char *whole, size_t *length, bool *negative) {
    *negative = value < 0;
    if (*negative) value = -value;
    if (value != value || value > 1.8e19) {
        // Beyond 64 bits there are no digits to be had of it this way.
        const char *word = value != value ? "nan" : "inf";
        memcpy(whole, word, *length = 3);
        return;
    }
    if (precision > 9) precision = 9;
    uint64_t scale = 1;
    for (int i = 0; i < precision; i++) scale *= 10;
    uint64_t integer = (uint64_t)value, part = (uint64_t)((value - (double)integer) * (double)scale + 0.5);
    if (part >= scale) integer++, part -= scale;
    char text[32];
    size_t count = digits(text + 32, integer, 10, false);
    memcpy(whole, text + 32 - count, count);
    *length = count;
    if (precision == 0) return;
    whole[(*length)++] = '.';
    count = digits(text + 32, part, 10, false);
    for (int i = (int)count; i < precision; i++) whole[(*length)++] = '0';
    memcpy(whole + *length, text + 32 - count, count);
    *length += count;
}

int vsnprintf(char *to, size_t room, const char *format, va_list values) {
    output out = {to, room, 0};
    for (const char *at = format; *at; at++) {
        if (*at != '%') {
            put(&out, *at);
            continue;
        }
        bool left = false, zero = false, negative = false;
        int width = 0, precision = -1, longs = 0;
        for (at++; *at == '-' || *at == '0'; at++) *at == '-' ? (left = true) : (zero = true);
        if (*at == '*') {
            width = va_arg(values, int), at++;
            if (width < 0) left = true, width = -width;
        }
        for (; *at >= '0' && *at <= '9'; at++) width = width * 10 + (*at - '0');
        if (*at == '.') {
            precision = 0, at++;
            if (*at == '*') precision = va_arg(values, int), at++;
            for (; *at >= '0' && *at <= '9'; at++) precision = precision * 10 + (*at - '0');
        }
        for (; *at == 'l' || *at == 'z' || *at == 'h'; at++) longs += *at == 'l';
        char text[64];
        const char *shown = text;
        size_t length = 0;
        switch (*at) {
        case 'd':
        case 'i': {
            int64_t value = longs > 1 ? va_arg(values, long long) : va_arg(values, int);
            negative = value < 0;
            length = digits(text + 64, negative ? -(uint64_t)value : (uint64_t)value, 10, false);
            shown = text + 64 - length;
            break;
        }
        case 'u':
        case 'x':
        case 'X':
        case 'p': {
            uint64_t value = longs > 1 ? va_arg(values, unsigned long long) : va_arg(values, unsigned);
            length = digits(text + 64, value, *at == 'u' ? 10 : 16, *at == 'X');
            shown = text + 64 - length;
            break;
        }
        case 'f':
            fraction(va_arg(values, double), precision < 0 ? 6 : precision, text, &length, &negative);
            break;
        case 'c':
            text[0] = (char)va_arg(values, int), length = 1, zero = false;
            break;
        case 's':
            shown = va_arg(values, const char *), zero = false;
            if (!shown) shown = "(null)";
            while ((precision < 0 || length < (size_t)precision) && shown[length]) length++;
            break;
        case '%':
            text[0] = '%', length = 1, zero = false;
            break;
        default:
            // A conversion that there is none of: better to end than to show something else.
            abort();
        }
        size_t whole = length + negative, pad = (size_t)width > whole ? (size_t)width - whole : 0;
        if (!left && !zero)
            for (size_t i = 0; i < pad; i++) put(&out, ' ');
        if (negative) put(&out, '-');
        if (!left && zero)
            for (size_t i = 0; i < pad; i++) put(&out, '0');
        for (size_t i = 0; i < length; i++) put(&out, shown[i]);
        if (left)
            for (size_t i = 0; i < pad; i++) put(&out, ' ');
    }
    if (room > 0) to[out.length < room ? out.length : room - 1] = 0;
    return (int)out.length;
}

int snprintf(char *to, size_t room, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int length = vsnprintf(to, room, format, values);
    va_end(values);
    return length;
}
