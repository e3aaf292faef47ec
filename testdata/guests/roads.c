/* Tries every road to two files: "denied", which is there but can't be read, and "gone", which is not there.
   argv: directory. Says which roads led to the text "secret" that both hold natively. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int leaks(int fd) {
    char text[16] = "";
    if (fd < 0) return 0;
    int got = pread(fd, text, sizeof text - 1, 0);
    if (got <= 0) {
        char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) { memcpy(text, map, 8); munmap(map, 4096); }
    }
    /* An O_PATH descriptor is no way in by itself, but may be opened again. */
    if (got < 0 && errno == EBADF) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int again = open(link, O_RDONLY);
        if (again >= 0) { pread(again, text, sizeof text - 1, 0); close(again); }
    }
    close(fd);
    return strstr(text, "secret") != NULL;
}

static void say(const char *road, const char *name, int leaked) {
    if (leaked) printf("%s %s\n", road, name);
}

static void roads(const char *top, const char *name) {
    char path[1024], other[4096];
    snprintf(path, sizeof path, "%s/in/%s", top, name);
    say("open", name, leaks(open(path, O_RDONLY)));
    say("path", name, leaks(open(path, O_PATH)));
    snprintf(other, sizeof other, "%s/in/../in/./%s", top, name);
    say("dots", name, leaks(open(other, O_RDONLY)));
    snprintf(other, sizeof other, "/proc/self/root%s", path);
    say("proc-root", name, leaks(open(other, O_RDONLY)));

    snprintf(other, sizeof other, "%s/symlink", top);
    if (symlink(path, other) == 0) { say("symlink", name, leaks(open(other, O_RDONLY))); unlink(other); }
    snprintf(other, sizeof other, "%s/hard", top);
    if (link(path, other) == 0) { say("link", name, leaks(open(other, O_RDONLY))); unlink(other); }
    if (rename(path, other) == 0) { say("rename", name, leaks(open(other, O_RDONLY))); rename(other, path); }

    char in[1024], out[2048];
    snprintf(in, sizeof in, "%s/in", top);
    snprintf(out, sizeof out, "%s/out", top);
    if (rename(in, out) == 0) {
        snprintf(other, sizeof other, "%s/%s", out, name);
        say("parent", name, leaks(open(other, O_RDONLY)));
        rename(out, in);
    }
    int dir = open(in, O_PATH | O_DIRECTORY);
    say("openat", name, leaks(openat(dir, name, O_RDONLY)));
    snprintf(other, sizeof other, "/proc/self/fd/%d/%s", dir, name);
    say("proc-fd", name, leaks(open(other, O_RDONLY)));
    if (chdir(in) == 0) {
        say("relative", name, leaks(open(name, O_RDONLY)));
        snprintf(other, sizeof other, "/proc/self/cwd/%s", name);
        say("proc-cwd", name, leaks(open(other, O_RDONLY)));
        if (fchdir(dir) != 0 || chdir("/") != 0) printf("chdir %s\n", strerror(errno));
    }
    DIR *list = opendir(in);
    for (struct dirent *entry; list && (entry = readdir(list));)
        if (strcmp(entry->d_name, name) == 0) printf("listed %s\n", name);
    if (list) closedir(list);

    /* Names and parents at another depth, where a wildcard may not reach. */
    char deep[1100];
    snprintf(deep, sizeof deep, "%s/deep", top);
    snprintf(out, sizeof out, "%s/in", deep);
    if (mkdir(deep, 0700) == 0) {
        if (rename(in, out) == 0) {
            snprintf(other, sizeof other, "%s/%s", out, name);
            say("deeper", name, leaks(open(other, O_RDONLY)));
            rename(out, in);
        }
        rmdir(deep);
    }
    int held = open(in, O_PATH | O_DIRECTORY);
    if (mkdir(deep, 0700) == 0) {
        if (renameat2(AT_FDCWD, in, AT_FDCWD, deep, RENAME_EXCHANGE) == 0) {
            snprintf(other, sizeof other, "%s/%s", deep, name);
            say("exchange", name, leaks(open(other, O_RDONLY)));
            say("exchange-held", name, leaks(openat(held, name, O_RDONLY)));
            renameat2(AT_FDCWD, in, AT_FDCWD, deep, RENAME_EXCHANGE);
        }
        rmdir(deep);
    }
    close(held);
    int file = open(path, O_PATH);
    snprintf(out, sizeof out, "%s/hard", top);
    snprintf(other, sizeof other, "/proc/self/fd/%d", file);
    if (linkat(AT_FDCWD, other, AT_FDCWD, out, AT_SYMLINK_FOLLOW) == 0) {
        say("link-fd", name, leaks(open(out, O_RDONLY)));
        unlink(out);
    }
    say("reopen", name, leaks(open(other, O_RDONLY)));
    close(file);
    if (access(path, X_OK) == 0) printf("execute %s\n", name);

    say("truncate", name, truncate(path, 6) == 0);
    say("chmod", name, chmod(path, 0700) == 0);
    close(dir);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    roads(argv[1], "denied");
    roads(argv[1], "gone");
    puts("done");
    return 0;
}
