/* identity: a file is the same one after it was changed, renamed or linked, whoever asks, and has as many links as names.
 *
 * Runs in a directory that was filled before (tests/cow_guests.rs): a copy-on-write mount copies what is changed. */
#include "check.h"
#include <dirent.h>
#include <sys/sysmacros.h>

struct seen { dev_t dev; ino_t ino; nlink_t links; };

static struct seen at(const char *name) {
    struct stat st = {0};
    ok(lstat(name, &st) == 0, "lstat %s", name);
    return (struct seen){ st.st_dev, st.st_ino, st.st_nlink };
}

static int same(struct seen a, struct seen b) { return a.dev == b.dev && a.ino == b.ino; }

/* What a listing says. */
static ino_t listed(const char *name) {
    ino_t found = 0;
    DIR *dir = opendir(".");
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (!strcmp(entry->d_name, name)) found = entry->d_ino;
    if (dir) closedir(dir);
    return found;
}

/* All that tell who a file is agree. `held` was opened when it was `before`. */
static void all_agree(const char *what, const char *name, struct seen before, int held) {
    struct seen now = at(name);
    ok(same(now, before), "%s: stat", what);
    struct statx sx = {0};
    ok(statx(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_NLINK, &sx) == 0 && sx.stx_ino == before.ino &&
       makedev(sx.stx_dev_major, sx.stx_dev_minor) == before.dev && sx.stx_nlink == now.links, "%s: statx", what);
    ok(listed(name) == before.ino, "%s: readdir", what);
    struct stat st = {0};
    if (held >= 0) {
        ok(syscall(SYS_fstat, held, &st) == 0 && st.st_ino == before.ino && st.st_dev == before.dev, "%s: fstat of one held", what);
        ok(fstatat(held, "", &st, AT_EMPTY_PATH) == 0 && st.st_ino == before.ino, "%s: fstatat of one held", what);
    }
    int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) {
        ok(syscall(SYS_fstat, fd, &st) == 0 && st.st_ino == before.ino && st.st_dev == before.dev, "%s: fstat", what);
        ok(st.st_nlink == now.links, "%s: links by fstat", what);
        close(fd);
    }
    printf("%s: %u links\n", what, (unsigned)now.links);
}

static void links(const char *what, const char *name) {
    printf("%s: %s has %u links\n", what, name, (unsigned)at(name).links);
}

static void add_to(const char *name) {
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0644);
    ok(fd >= 0 && write(fd, "more", 4) == 4, "write %s", name);
    close(fd);
}

int main(void) {
    struct { const char *what, *name; int change; } files[] = {
        {"chmod", "a", 0}, {"write", "b", 1}, {"rename", "c", 2}, {"link", "read-only", 3}, {"chmod of a directory", "d", 0},
        {"a new name in a directory", "many", 4}, {"time of a link", "link", 5},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *what = files[i].what, *name = files[i].name;
        struct seen before = at(name);
        int held = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        all_agree("before", name, before, held);
        switch (files[i].change) {
        case 0: ok(chmod(name, 0700) == 0, "%s", what); break;
        case 1: add_to(name); break;
        case 2: ok(rename(name, "moved") == 0, "%s", what); name = "moved"; break;
        case 3: ok(link(name, "linked") == 0 && same(at("linked"), before), "%s", what); break;
        case 4: add_to("many/new"); break;
        case 5: ok(utimensat(AT_FDCWD, name, NULL, AT_SYMLINK_NOFOLLOW) == 0, "%s", what); break;
        }
        all_agree(what, name, before, held);
        close(held);
    }

    /* What is new is nobody else, also where a number is used again. */
    struct seen a = at("a"), b = at("b");
    for (int i = 0; i < 50; i++) {
        add_to("fresh");
        struct seen fresh = at("fresh");
        if (same(fresh, a) || same(fresh, b)) ok(0, "a new file is another one");
        unlink("fresh");
    }
    int old = open("d/one", O_RDONLY);
    struct seen one = at("d/one");
    add_to("d/one");
    unlink("d/one");
    for (int i = 0; i < 20; i++) {
        char name[20];
        snprintf(name, sizeof name, "n%d", i);
        add_to(name);
        if (same(at(name), one)) ok(0, "%s is not what was removed and is still open", name);
    }
    struct stat st;
    ok(fstat(old, &st) == 0 && st.st_ino == one.ino, "removed and open: who it was");

    /* Names of a file with several. */
    struct seen h1 = at("h1");
    ok(same(at("h2"), h1), "h2 is h1");
    links("before", "h1");
    ok(unlink("h3") == 0, "unlink a name of three");
    links("one of three removed", "h1");
    add_to("h1");
    all_agree("one of two written", "h1", h1, -1);
    all_agree("the other", "h2", h1, -1);
    ok(link("h2", "h4") == 0 && same(at("h4"), h1), "link of the other");
    links("linked", "h1"), links("linked", "h2"), links("linked", "h4");
    ok(unlink("h1") == 0, "unlink the written");
    links("removed", "h2");
    ok(rename("fifo", "h2") == 0, "replace a name");
    links("replaced", "h4");
    int last = open("h4", O_RDONLY);
    ok(unlink("h4") == 0, "unlink the last");
    ok(fstat(last, &st) == 0, "fstat of what has no name");
    printf("no name: %u links\n", (unsigned)st.st_nlink);
    return finish();
}
