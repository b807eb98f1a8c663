// What of the C library there is in a procedure; the rest has nothing to work on: no files, no environment, no clock.
#ifndef ROTA_STDLIB_H
#define ROTA_STDLIB_H
#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *pointer, size_t size);
// Memory that is no block of the heap's (a literal, for example) is left as it is.
void free(void *pointer);
// Ends the run as a trap: for what cannot be. What can be is a failure.
_Noreturn void abort(void);
void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *));

#endif
