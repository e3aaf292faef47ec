/* Does what the lines of its input say, "WORD PATH", and tells for each whether it was allowed.
   For what `sbox policy explain` says of the same lines. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a listing of its directory says: a name is there if stat(2) finds it, and only then. */
static int listed(const char *path) {
    char above[4096];
    snprintf(above, sizeof above, "%s", path);
    char *name = strrchr(above, '/');
    *name++ = 0;
    DIR *list = opendir(above);
    int found = 0;
    for (struct dirent *entry; list && (entry = readdir(list));) found |= strcmp(entry->d_name, name) == 0;
    if (list) closedir(list);
    return found;
}

static int done(const char *word, const char *path) {
    struct stat stat;
    int fd = -1;
    if (strcmp(word, "stat") == 0) return lstat(path, &stat) == 0;
    if (strcmp(word, "list") == 0) return listed(path);
    if (strcmp(word, "meta") == 0) return chmod(path, 0755) == 0;
    if (strcmp(word, "delete") == 0) return unlink(path) == 0;
    if (strcmp(word, "read") == 0) fd = open(path, O_RDONLY);
    if (strcmp(word, "write") == 0) fd = open(path, O_WRONLY);
    if (strcmp(word, "create") == 0) return mkdir(path, 0700) == 0;
    if (fd >= 0) close(fd);
    return fd >= 0;
}

int main(void) {
    char word[16], path[4096];
    while (scanf("%15s %4095s", word, path) == 2) printf("%s %s %s\n", done(word, path) ? "yes" : "no", word, path);
    return 0;
}
