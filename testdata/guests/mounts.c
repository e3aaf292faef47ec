/* mounts: what calls say at, in and across mount points that are nested, lie over files, or show one directory twice.
 *
 *   mounts prepare TOP      fills TOP
 *   mounts jail TOP         natively: mounts below TOP what the flags of the test show there, then tries
 *   mounts try TOP          in sbox
 *   mounts hidden TOP       in sbox, where the kernel has nothing to compare with
 *   mounts devices TOP      natively and in sbox: the nodes in /dev
 *
 *   TOP/rw                  writable: the top itself
 *   TOP/rw/ro               read-only      TOP/rw/ro/rw      writable again     TOP/rw/ro/rw/tmp  private
 *   TOP/rw/tmp              private
 *   TOP/rw/file, TOP/rw/ro/file            TOP/src/file over it, writable; TOP/src/other, read-only
 *   TOP/one, TOP/two        TOP/src/dir, both
 *   TOP/hold/in/mount       a mount two directories down */
#include "check.h"
#include "jail.h"
#include <dirent.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

static const char *top;

static void prepare(void) {
    const char *dirs[] = {"rw", "rw/ro", "rw/ro/rw", "rw/ro/rw/tmp", "rw/tmp", "rw/plain", "src", "src/dir", "src/dir/sub", "one", "two",
                          "hold", "hold/in", "hold/in/mount", "hide", "hide/shown", "hide/shown/deep"};
    const char *files[] = {"rw/f", "rw/ro/f", "rw/ro/rw/f", "rw/file", "rw/ro/file", "src/file", "src/other", "src/dir/f", "src/dir/sub/f",
                           "hold/in/mount/f", "hide/f", "hide/shown/f", "hide/shown/deep/f"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) mkdir(dirs[i], 0755);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) put(files[i], files[i], 0644);
}

static void bind_to(const char *from, const char *to, int ro) {
    struct { uint64_t set, clear, propagation, userns; } attr = {ro ? 1 : 0, ro ? 0 : 1, 0, 0};
    check(mount(from, to, NULL, MS_BIND, NULL) == 0, to);
    check(syscall(442 /* mount_setattr */, AT_FDCWD, to, 0, &attr, sizeof attr) == 0, "mount_setattr");
}

static void mount_all(void) {
    bind_to("rw/ro", "rw/ro", 1);
    bind_to("rw/ro/rw", "rw/ro/rw", 0);
    check(mount("t", "rw/ro/rw/tmp", "tmpfs", 0, "mode=1777") == 0, "tmpfs");
    check(mount("t", "rw/tmp", "tmpfs", 0, "mode=1777") == 0, "tmpfs");
    bind_to("src/file", "rw/file", 0);
    bind_to("src/other", "rw/ro/file", 1);
    bind_to("src/dir", "one", 0);
    bind_to("src/dir", "two", 0);
    bind_to("hold/in/mount", "hold/in/mount", 0);
}

/* "what: result" for a call that takes one name. */
#define FACT(name, call, ...) do { char what[200]; snprintf(what, sizeof what, name, __VA_ARGS__); fact(what, call); } while (0)

static long try_open(const char *path, int flags) {
    int fd = open(path, flags, 0644);
    if (fd >= 0) close(fd);
    return fd < 0 ? -1 : 0;
}

/* Name and type of each entry, in order. */
static void list(const char *path) {
    struct dirent **all;
    int n = scandir(path, &all, NULL, alphasort);
    printf("list %s:", path);
    for (int i = 0; i < n; i++) printf(" %s/%d", all[i]->d_name, all[i]->d_type), free(all[i]);
    puts(n < 0 ? errname(errno) : "");
}

static int same(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static void try_all(void) {
    const char *points[] = {"rw/ro", "rw/ro/rw", "rw/ro/rw/tmp", "rw/tmp", "rw/file", "rw/ro/file", "one", "two"};
    char path[300], other[300];
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        const char *p = points[i];
        FACT("rmdir %s", rmdir(p), p);
        FACT("unlink %s", unlink(p), p);
        snprintf(other, sizeof other, "%s.moved", p);
        FACT("rename %s away", rename(p, other), p);
        FACT("rename a directory over %s", rename("rw/plain", p), p);
        FACT("rename a file over %s", rename("rw/f", p), p);
        FACT("exchange %s", syscall(SYS_renameat2, AT_FDCWD, p, AT_FDCWD, "rw/plain", 2), p);
        FACT("mkdir %s", mkdir(p, 0755), p);
        FACT("symlink %s", symlink("x", p), p);
        FACT("link to %s", link("rw/f", p), p);
        FACT("link from %s", link(p, "rw/linked"), p);
        FACT("open %s O_EXCL", try_open(p, O_CREAT | O_EXCL | O_WRONLY), p);
        FACT("open %s O_WRONLY", try_open(p, O_WRONLY), p);
        FACT("open %s O_TRUNC", try_open(p, O_RDONLY | O_TRUNC), p);
        FACT("access %s", access(p, W_OK), p);
        FACT("chmod %s", chmod(p, 0755), p);
        FACT("truncate %s", truncate(p, 3), p);
        snprintf(path, sizeof path, "%s/new", p);
        FACT("make in %s", try_open(path, O_CREAT | O_WRONLY), p);
        FACT("rename out of %s", rename(path, "rw/new"), p);
        FACT("link out of %s", link(path, "rw/new"), p);
        FACT("rename into %s", rename("rw/f", path), p);
        snprintf(path, sizeof path, "%s/f", p);
        FACT("unlink in %s", unlink(path), p);
        snprintf(path, sizeof path, "%s/..", p);
        if (strchr(p, '/')) snprintf(other, sizeof other, "%.*s", (int)(strrchr(p, '/') - p), p);
        else strcpy(other, ".");
        int isdir = open(p, O_DIRECTORY) >= 0;
        ok(!isdir || same(path, other), "%s/.. is %s", p, other);
        if (isdir) {
            check(chdir(p) == 0, p);
            ok(chdir("..") == 0, "out of %s", p);
            char here[PATH_MAX], want[PATH_MAX];
            snprintf(want, sizeof want, "%s/%s", top, other);
            if (!strcmp(other, ".")) strcpy(want, top);
            ok(getcwd(here, sizeof here) && !strcmp(here, want), "above %s is where it should be", p);
            check(chdir(top) == 0, top);
        }
    }
    const char *lists[] = {".", "rw", "rw/ro", "rw/ro/rw", "rw/ro/rw/tmp", "rw/tmp", "one", "two", "hold", "hold/in"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list(lists[i]);

    put("one/g", "g", 0644);
    ok(same("one/g", "two/g") && same("one", "two") && same("one/g", "src/dir/g"), "one directory at two places");
    fact("rename across", rename("one/g", "two/h"));
    fact("link across", link("one/g", "two/h"));
    fact("rename onto itself across", rename("one/g", "two/g"));
    fact("rename from where it comes from", rename("src/dir/g", "one/h"));
    fact("rename within", rename("one/g", "one/sub/g"));
    ok(access("two/sub/g", F_OK) == 0 && access("one/g", F_OK) < 0, "seen at the other place at once");
    fact("mkdir at one", mkdir("one/made", 0755));
    fact("rmdir at the other", rmdir("two/made"));
    fact("gone at one", rmdir("one/made"));
    int fd = open("two/sub", O_RDONLY | O_DIRECTORY);
    fact("rename the directory at one", rename("one/sub", "one/bus"));
    ok(faccessat(fd, "g", F_OK, 0) == 0 && same("two/bus", "one/bus"), "held at the other");
    ok(fchdir(fd) == 0 && chdir("..") == 0 && same(".", "sub/..") == 0 && same(".", "bus/.."), "above what was renamed");
    check(chdir(top) == 0, top);

    fact("rmdir above a mount", rmdir("hold/in") < 0);
    fact("rmdir two above a mount", rmdir("hold") < 0);
    fact("write through a file mount", try_open("rw/file", O_WRONLY | O_TRUNC));
    ok(same("rw/file", "src/file") && same("rw/ro/file", "src/other"), "a mount over a file");
    fact("rename into tmp across", rename("rw/f", "rw/tmp/f"));
    fact("rename tmp to tmp", rename("rw/ro/rw/tmp/new", "rw/tmp/x"));
}

/* Each device node: type, number, what reading, writing and mapping say. */
static void try_devices(void) {
    const char *devices[] = {"null", "zero", "full", "random", "urandom", "tty", "ptmx"};
    char path[40], byte[4] = "abc";
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        struct stat st;
        snprintf(path, sizeof path, "/dev/%s", devices[i]);
        check(stat(path, &st) == 0, path);
        printf("%s: %o %u:%u\n", path, st.st_mode & (S_IFMT | 0444), major(st.st_rdev), minor(st.st_rdev));
        if (i >= 5) continue;
        int fd = open(path, O_RDWR | O_CLOEXEC);
        FACT("open %s", fd < 0 ? -1 : 0, path);
        FACT("read %s", read(fd, byte, sizeof byte), path);
        if (i < 3) FACT("write %s", write(fd, byte, sizeof byte), path);
        void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        FACT("mmap %s", at == MAP_FAILED ? -1 : *(char *)at, path);
        FACT("truncate %s", ftruncate(fd, 0), path);
        close(fd);
        FACT("open to make %s", try_open(path, O_CREAT | O_WRONLY | O_TRUNC), path);
        FACT("open only to make %s", try_open(path, O_CREAT | O_EXCL | O_WRONLY), path);
    }
}

static void try_hidden(void) {
    ok(fails(open("hide/f", O_RDONLY), ENOENT) && fails(open("rw/plain/../../hide/f", O_RDONLY), ENOENT), "hidden");
    ok(access("hide/shown/f", R_OK) == 0 && fails(open("hide/shown/f", O_WRONLY), EROFS), "shown below what is hidden");
    ok(fails(open("hide/shown/deep/f", O_RDONLY), ENOENT), "and hidden below that");
    ok(chdir("hide/shown") == 0 && chdir("..") == 0 && chdir("..") == 0, "out again");
    check(chdir(top) == 0, top);
    list("hide");
    list("hide/shown");
    ok(fails(rmdir("hide"), EROFS) || errno == EBUSY || errno == ENOENT, "a name on the way stays");
    ok(fails(rename("hide", "rw/hide"), EBUSY) || errno == EXDEV || errno == EROFS, "and can't be moved");
    /* The kernel lets a directory be renamed that holds a mount; here rules go by names, so it stays. */
    ok(fails(rename("hold", "held"), EBUSY) && fails(rename("hold/in", "hold/out"), EBUSY), "what holds a mount can't be moved");
    ok(fails(rmdir("hold"), EBUSY) && fails(rmdir("hold/in"), EBUSY), "nor removed");
    ok(fails(rename("rw/plain", "hold"), EBUSY), "nor replaced");
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    check(chdir(argv[2]) == 0 && (top = realpath(argv[2], NULL)), argv[2]);
    if (!strcmp(argv[1], "prepare")) prepare();
    else if (!strcmp(argv[1], "devices")) try_devices();
    else if (!strcmp(argv[1], "hidden")) try_hidden();
    else {
        if (!strcmp(argv[1], "jail")) {
            enter_jail(top);
            check(chdir(top) == 0, top);
            mount_all();
        }
        drop_capabilities();
        try_all();
    }
    return finish();
}
