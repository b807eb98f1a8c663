/* The one function that QuickJS wants of a header which the headers of its wasm build leave out. */
#include <stddef.h>
size_t malloc_usable_size(void *);
