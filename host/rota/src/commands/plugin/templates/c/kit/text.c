// Texts and JSON.
#include "rota.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *block(size_t size) {
    void *made = malloc(size);
    if (!made) abort();
    return made;
}

rota_text rota_t(const char *literal) {
    return (rota_text){(uint8_t *)literal, literal ? strlen(literal) : 0};
}

bool rota_same(rota_text text, const char *literal) {
    size_t length = strlen(literal);
    return text.len == length && memcmp(text.ptr, literal, length) == 0;
}

rota_text rota_copy(rota_text text) {
    if (text.len == 0) return (rota_text){0};
    return (rota_text){memcpy(block(text.len), text.ptr, text.len), text.len};
}

static void room(rota_buffer *buffer, size_t more) {
    if (buffer->len + more <= buffer->room) return;
    size_t wanted = buffer->room ? buffer->room : 128;
    while (wanted < buffer->len + more) wanted *= 2;
    char *grown = realloc(buffer->ptr, wanted);
    if (!grown) abort();
    buffer->ptr = grown;
    buffer->room = wanted;
}

void rota_put_bytes(rota_buffer *buffer, const void *bytes, size_t count) {
    room(buffer, count);
    memcpy(buffer->ptr + buffer->len, bytes, count);
    buffer->len += count;
}

static void put_format(rota_buffer *buffer, const char *format, va_list values) {
    va_list again;
    va_copy(again, values);
    size_t length = (size_t)vsnprintf(NULL, 0, format, values);
    room(buffer, length + 1);
    vsnprintf(buffer->ptr + buffer->len, length + 1, format, again);
    va_end(again);
    buffer->len += length;
}

void rota_put(rota_buffer *buffer, const char *format, ...) {
    va_list values;
    va_start(values, format);
    put_format(buffer, format, values);
    va_end(values);
}

rota_text rota_taken(rota_buffer *buffer) {
    rota_text text = {(uint8_t *)buffer->ptr, buffer->len};
    *buffer = (rota_buffer){0};
    return text;
}

// For rota.h's functions that format.
rota_text rota_formatted(const char *format, va_list values) {
    rota_buffer buffer = {0};
    put_format(&buffer, format, values);
    return rota_taken(&buffer);
}

rota_text rota_format(const char *format, ...) {
    va_list values;
    va_start(values, format);
    rota_text text = rota_formatted(format, values);
    va_end(values);
    return text;
}

void rota_put_json(rota_buffer *buffer, rota_text text) {
    rota_put_bytes(buffer, "\"", 1);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte == '"' || byte == '\\')
            rota_put(buffer, "\\%c", byte);
        else if (byte < 0x20)
            rota_put(buffer, "\\u%04x", byte);
        else
            rota_put_bytes(buffer, &byte, 1);
    }
    rota_put_bytes(buffer, "\"", 1);
}

static size_t blank(rota_json json, size_t at) {
    while (at < json.len && strchr(" \t\r\n", json.ptr[at]) && json.ptr[at]) at++;
    return at;
}

// Behind the string that begins at a place.
static size_t behind_string(rota_json json, size_t at) {
    for (at++; at < json.len && json.ptr[at] != '"'; at++)
        if (json.ptr[at] == '\\') at++;
    return at < json.len ? at + 1 : json.len;
}

// Behind the value that begins at a place: brackets are counted, strings are passed over.
static size_t behind(rota_json json, size_t at) {
    size_t depth = 0;
    while (at < json.len) {
        uint8_t byte = json.ptr[at];
        if (byte == '"') {
            at = behind_string(json, at);
        } else if (byte == '{' || byte == '[') {
            depth++, at++;
        } else if (byte == '}' || byte == ']') {
            if (depth == 0) return at;
            depth--, at++;
        } else if (depth == 0 && (byte == ',' || byte == ':' || byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r')) {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0) return at;
    }
    return at;
}

static rota_json part(rota_json json, size_t from, size_t to) {
    return (rota_json){json.ptr + from, to - from};
}

bool rota_next(rota_json array, size_t *at, rota_json *item) {
    size_t here = blank(array, *at);
    if (here < array.len && (array.ptr[here] == '[' || array.ptr[here] == ',')) here = blank(array, here + 1);
    if (here >= array.len || array.ptr[here] == ']') return false;
    size_t end = behind(array, here);
    if (end == here) return false;
    *item = part(array, here, end);
    *at = blank(array, end);
    return true;
}

rota_json rota_get(rota_json object, const char *key) {
    size_t at = blank(object, 0);
    if (at >= object.len || object.ptr[at] != '{') return (rota_json){0};
    for (at = blank(object, at + 1); at < object.len && object.ptr[at] == '"';) {
        size_t end = behind_string(object, at);
        rota_text name = rota_string(part(object, at, end), rota_t(""));
        at = blank(object, end);
        if (at < object.len && object.ptr[at] == ':') at = blank(object, at + 1);
        end = behind(object, at);
        if (rota_same(name, key)) {
            rota_json found = part(object, at, end);
            return rota_same(found, "null") ? (rota_json){0} : found;
        }
        at = blank(object, end);
        if (at < object.len && object.ptr[at] == ',') at = blank(object, at + 1);
    }
    return (rota_json){0};
}

// A whole number; false where 64 bits do not hold it.
static bool whole(rota_json value, int64_t *found) {
    bool negative = value.ptr[0] == '-';
    bool exponent = memchr(value.ptr, 'e', value.len) || memchr(value.ptr, 'E', value.len);
    uint64_t number = 0, most = (uint64_t)INT64_MAX + negative;
    for (size_t i = negative; i < value.len; i++) {
        uint8_t byte = value.ptr[i];
        // JSON Schema calls 3.0 an integer as well, and 1.5e3.
        if (byte == '.' && !exponent) break;
        if (byte < '0' || byte > '9') {
            double other = rota_number(value, 0);
            if (!(other >= -0x1p63 && other < 0x1p63)) return false;
            *found = (int64_t)other;
            return true;
        }
        uint64_t digit = byte - '0';
        if (number > (most - digit) / 10) return false;
        number = number * 10 + digit;
    }
    *found = (int64_t)(negative ? 0 - number : number);
    return true;
}

int64_t rota_integer(rota_json value, int64_t otherwise) {
    int64_t number;
    if (value.len == 0) return otherwise;
    // Any other number would be a lie, and what is done with it could not be undone.
    if (!whole(value, &number)) abort();
    return number;
}

bool rota_whole(rota_json value, int64_t otherwise, int64_t *number, rota_failure *failure) {
    *number = otherwise;
    if (value.len == 0 || whole(value, number)) return true;
    return rota_fail(failure, NULL, "%.*s does not fit into 64 bits", value.len < 60 ? (int)value.len : 60, (const char *)value.ptr);
}

double rota_number(rota_json value, double otherwise) {
    if (value.len == 0) return otherwise;
    size_t at = value.ptr[0] == '-';
    double number = 0, scale = 1;
    for (; at < value.len && value.ptr[at] >= '0' && value.ptr[at] <= '9'; at++) number = number * 10 + (value.ptr[at] - '0');
    if (at < value.len && value.ptr[at] == '.')
        for (at++; at < value.len && value.ptr[at] >= '0' && value.ptr[at] <= '9'; at++) {
            number = number * 10 + (value.ptr[at] - '0');
            scale *= 10;
        }
    number /= scale;
    if (at < value.len && (value.ptr[at] == 'e' || value.ptr[at] == 'E')) {
        bool down = ++at < value.len && value.ptr[at] == '-';
        if (at < value.len && (value.ptr[at] == '-' || value.ptr[at] == '+')) at++;
        int power = 0;
        for (; at < value.len && power < 400; at++) power = power * 10 + (value.ptr[at] - '0');
        for (; power > 0; power--) number = down ? number / 10 : number * 10;
    }
    return value.ptr[0] == '-' ? -number : number;
}

bool rota_boolean(rota_json value, bool otherwise) {
    return value.len == 0 ? otherwise : rota_same(value, "true");
}

static uint32_t hexadecimal(rota_json json, size_t at) {
    uint32_t value = 0;
    for (size_t i = at; i < at + 4 && i < json.len; i++) {
        uint8_t byte = json.ptr[i] | 0x20;
        value = value * 16 + (byte >= 'a' ? byte - 'a' + 10u : byte - '0');
    }
    return value;
}

rota_text rota_string(rota_json value, rota_text otherwise) {
    if (value.len < 2 || value.ptr[0] != '"') return otherwise;
    if (!memchr(value.ptr, '\\', value.len)) return part(value, 1, value.len - 1);
    rota_buffer out = {0};
    for (size_t i = 1; i + 1 < value.len; i++) {
        uint8_t byte = value.ptr[i];
        if (byte != '\\') {
            rota_put_bytes(&out, &byte, 1);
            continue;
        }
        byte = value.ptr[++i];
        if (byte != 'u') {
            const char *from = "nrtbf", *to = "\n\r\t\b\f", *found = strchr(from, byte);
            uint8_t meant = found && byte ? (uint8_t)to[found - from] : byte;
            rota_put_bytes(&out, &meant, 1);
            continue;
        }
        uint32_t point = hexadecimal(value, i + 1);
        i += 4;
        if (point >= 0xd800 && point < 0xdc00 && i + 6 < value.len && value.ptr[i + 1] == '\\' && value.ptr[i + 2] == 'u') {
            point = 0x10000 + ((point - 0xd800) << 10) + (hexadecimal(value, i + 3) - 0xdc00);
            i += 6;
        }
        uint8_t bytes[4];
        size_t count = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        static const uint8_t heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
        for (size_t n = count; n-- > 1; point >>= 6) bytes[n] = 0x80 | (point & 0x3f);
        bytes[0] = (uint8_t)(heads[count] | point);
        rota_put_bytes(&out, bytes, count);
    }
    return rota_taken(&out);
}
