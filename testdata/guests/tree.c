/* Tells everything about a tree that a program may rely on: type, mode, links, size, content, time, attributes.
 *
 *     tree TEXT [GLOB ...]    of the current directory; in contents TEXT counts as as many '@'; of files whose
 *                             path matches a GLOB only the type is told
 *     tree set FILE NAME VALUE     sets an extended attribute
 *
 * Times are told where they are old: what has just been made has another one in every run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OLD 1500000000

static const char *text;
static char **globs;
static struct { dev_t dev; ino_t ino; char *path; } *seen;
static size_t seen_count;

static void die(const char *path) {
    printf("FAIL %s: %s\n", path, strerror(errno));
    exit(1);
}

static int is_volatile(const char *path) {
    for (char **glob = globs; *glob; glob++)
        if (fnmatch(*glob, path, 0) == 0)
            return 1;
    return 0;
}

static void print_name(const char *name) {
    for (; *name; name++)
        if (*name == '\n' || *name == '\\')
            printf("\\%03o", *name);
        else
            putchar(*name);
}

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_file(const char *path, size_t size) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        if (errno == EACCES)
            return 0;
        die(path);
    }
    char *bytes = malloc(size + 1);
    size_t have = 0;
    ssize_t n;
    while ((n = read(fd, bytes + have, size - have)) > 0)
        have += n;
    if (n < 0 || have != size)
        die(path);
    close(fd);
    size_t length = strlen(text);
    for (char *at = bytes; length && (at = memmem(at, bytes + size - at, text, length)); at += length)
        memset(at, '@', length);
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, bytes, size);
    free(bytes);
    return hash;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void print_attributes(const char *path) {
    char list[4096], *names[64];
    ssize_t size = llistxattr(path, list, sizeof list);
    if (size < 0 && errno != EOPNOTSUPP)
        die(path);
    int count = 0;
    for (char *name = list; size > 0 && name < list + size; name += strlen(name) + 1)
        if (count < 64)
            names[count++] = name;
    qsort(names, count, sizeof *names, by_text);
    for (int i = 0; i < count; i++) {
        char value[4096];
        ssize_t n = lgetxattr(path, names[i], value, sizeof value);
        if (n < 0)
            die(path);
        printf(" %s=%zd:%llx", names[i], n, (unsigned long long)hash_bytes(0, value, n));
    }
}

static void tell(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0)
        die(path);
    print_name(path);
    const char *kind = S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "directory" : S_ISLNK(st.st_mode) ? "link"
        : S_ISFIFO(st.st_mode) ? "fifo" : S_ISSOCK(st.st_mode) ? "socket" : "device";
    printf(" %s", kind);
    if (is_volatile(path)) {
        printf(" volatile\n");
        return;
    }
    printf(" %o", st.st_mode & 07777);
    if (!S_ISDIR(st.st_mode))
        printf(" links %u", (unsigned)st.st_nlink);
    if (S_ISREG(st.st_mode)) {
        printf(" size %lld %016llx", (long long)st.st_size, (unsigned long long)hash_file(path, st.st_size));
    }
    if (S_ISLNK(st.st_mode)) {
        char target[4096];
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n < 0)
            die(path);
        target[n] = 0;
        printf(" to ");
        print_name(target);
    }
    if (st.st_mtim.tv_sec < OLD)
        printf(" time %lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    print_attributes(path);
    if (S_ISREG(st.st_mode)) {
        for (size_t i = 0; i < seen_count; i++)
            if (seen[i].dev == st.st_dev && seen[i].ino == st.st_ino) {
                printf(" same as ");
                print_name(seen[i].path);
            }
        if (st.st_nlink > 1) {
            seen = realloc(seen, (seen_count + 1) * sizeof *seen);
            seen[seen_count].dev = st.st_dev, seen[seen_count].ino = st.st_ino;
            seen[seen_count++].path = strdup(path);
        }
    }
    putchar('\n');
    if (!S_ISDIR(st.st_mode))
        return;
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, NULL);
    if (count < 0)
        die(path);
    char *names[count];
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, ".."))
            names[kept++] = entries[i]->d_name;
    qsort(names, kept, sizeof *names, by_text);
    for (int i = 0; i < kept; i++) {
        char *below;
        if (asprintf(&below, "%s/%s", path, names[i]) < 0)
            die(path);
        tell(strncmp(below, "./", 2) ? below : below + 2);
        free(below);
    }
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "set")) {
        if (setxattr(argv[2], argv[3], argv[4], strlen(argv[4]), 0) < 0)
            die(argv[2]);
        return 0;
    }
    if (argc < 2)
        return 2;
    text = argv[1];
    globs = argv + 2;
    tell(".");
    return 0;
}
