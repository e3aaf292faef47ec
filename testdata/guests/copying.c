/* copying: files that several processes use while they are copied up.
 *
 * copying: of each file f0 … two processes append lines while one looks at a descriptor and a mapping that it has had
 * from before, and one opens it again and again. What was there stays there, whole; no line is lost or torn.
 * copying endless: appends and renames until it is killed.
 * copying check: what the other left: each file has its text, and whole lines after it. */
#include "check.h"
#include <sys/mman.h>

enum { FILES = 24, SIZE = 1 << 16, LINES = 100, LINE = 32 };

/* What the host's file has at a place. */
static char original(int file, int at) { return "0123456789abcdefghijklmnopqrstuv"[(at * 7 + at / 97 + file) % 32]; }

static int is_original(int file, const char *text) {
    for (int i = 0; i < SIZE; i++)
        if (text[i] != original(file, i)) return 0;
    return 1;
}

static void append(int fd, int writer, int line) {
    char text[64];
    snprintf(text, sizeof text, "line %06d of writer %02d.......\n", line, writer);
    if (write(fd, text, LINE) != LINE) _exit(1);
}

/* Whole lines; each writer's in order, and as many as `lines` if that isn't negative. */
static int are_lines(const char *text, long size, int lines) {
    int seen[3] = {0};
    if (size % LINE) return 0;
    for (long at = 0; at < size; at += LINE) {
        int line, writer;
        if (sscanf(text + at, "line %6d of writer %2d", &line, &writer) != 2 || writer < 0 || writer > 2) return 0;
        if (text[at + LINE - 1] != '\n' || (lines >= 0 && line != seen[writer])) return 0;
        seen[writer]++;
    }
    return lines < 0 || (seen[0] == lines && seen[1] == lines);
}

/* The whole file, in static memory; its size, or -1. */
static long whole(const char *name, char **text) {
    static char room[SIZE + (1 << 20)];
    int fd = open(name, O_RDONLY);
    if (fd < 0) return -1;
    long size = 0, n;
    while ((n = read(fd, room + size, sizeof room - size)) > 0) size += n;
    close(fd);
    *text = room;
    return n < 0 ? -1 : size;
}

static int role(int which, int file, const char *name, int start) {
    char byte, *text;
    int held = open(name, O_RDONLY);
    char *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, held, 0);
    if (read(start, &byte, 1) != 0) return 1; /* all begin when the last writing end is closed */
    if (which < 2) {
        int fd = open(name, O_WRONLY | O_APPEND);
        if (fd < 0) return 2;
        for (int i = 0; i < LINES; i++) append(fd, which, i);
        return 0;
    }
    for (int i = 0; i < 30; i++) {
        if (which == 2) {
            static char now[SIZE];
            if (pread(held, now, SIZE, 0) != SIZE || !is_original(file, now) || !is_original(file, map)) return 3;
        } else if (whole(name, &text) < SIZE || !is_original(file, text)) return 4;
    }
    return 0;
}

static void together(void) {
    for (int file = 0; file < FILES; file++) {
        char name[32], *text;
        int start[2], status, wrong = 0;
        snprintf(name, sizeof name, "f%d", file);
        pipe(start);
        for (int which = 0; which < 4; which++)
            if (fork() == 0) {
                close(start[1]);
                _exit(role(which, file, name, start[0]));
            }
        close(start[0]), close(start[1]);
        for (int i = 0; i < 4; i++) wait(&status), wrong |= status;
        ok(wrong == 0, "%s: nobody saw half a file (%#x)", name, wrong);
        long size = whole(name, &text);
        ok(size == SIZE + 2 * LINES * LINE && is_original(file, text) && are_lines(text + SIZE, size - SIZE, LINES), "%s: all is there", name);
    }
}

static void endless(void) {
    puts("ready"), fflush(stdout);
    for (int which = 0; which < 3; which++)
        if (which == 2 || fork() == 0)
            for (int i = 0;; i++) {
                char name[32], aside[64];
                snprintf(name, sizeof name, "f%d", (i * 5 + which) % FILES);
                snprintf(aside, sizeof aside, "aside-%s", name);
                int fd = open(name, O_WRONLY | O_APPEND);
                if (fd >= 0) append(fd, which, i % 1000000), close(fd);
                if (i % 3 == which) rename(name, aside), rename(aside, name);
            }
}

static void check(void) {
    for (int file = 0; file < FILES; file++) {
        char name[32], *text;
        int found = 0;
        for (int moved = 0; moved < 2; moved++) {
            snprintf(name, sizeof name, "%sf%d", moved ? "aside-" : "", file);
            long size = whole(name, &text);
            if (size < 0) continue;
            found++;
            ok(size >= SIZE && is_original(file, text), "%s: what was there is there", name);
            ok(are_lines(text + SIZE, size - SIZE, -1), "%s: and whole lines after it", name);
        }
        ok(found == 1, "f%d has one of its names", file);
    }
}

int main(int argc, char **argv) {
    const char *order = argc > 1 ? argv[1] : "together";
    if (!strcmp(order, "endless")) endless();
    else if (!strcmp(order, "check")) check();
    else together();
    return finish();
}
