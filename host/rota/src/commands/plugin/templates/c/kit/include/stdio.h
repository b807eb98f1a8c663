// There is nothing to print to: a procedure reports, and logs with `rota_log`.
#ifndef ROTA_STDIO_H
#define ROTA_STDIO_H
#include <stdarg.h>
#include <stddef.h>

// Of the conversions: d i u x X c s p %, and f with its number of digits; `-`, `0`, a width, a precision, `*`; l, ll, z, h.
int snprintf(char *to, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *to, size_t room, const char *format, va_list values) __attribute__((format(printf, 3, 0)));

#endif
