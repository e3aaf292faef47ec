/* attrs: attributes by the newer calls: the *xattrat family (Linux 6.13), file_getattr and file_setattr (6.17),
 * fchmodat2 (6.6), statfs. Each by path, by link and by descriptor, with every flag, and each wrong size. */
#include "check.h"
#include <sys/statfs.h>

enum { SETXATTRAT = 463, GETXATTRAT, LISTXATTRAT, REMOVEXATTRAT, FILE_GETATTR = 468, FILE_SETATTR, FCHMODAT2 = 452 };
enum { NODUMP = 0x80 };

struct xattr_args { uint64_t value; uint32_t size, flags; };
struct file_attr { uint64_t xflags; uint32_t extsize, nextents, projid, cowextsize; };

/* Ways to name a file: directory, path, flags. */
static struct { const char *name; int dir; const char *path; int flags; } ways[] = {
    {"file", AT_FDCWD, "file", 0},
    {"through a link", AT_FDCWD, "link", 0},
    {"the link", AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW},
    {"dangling", AT_FDCWD, "dangling", 0},
    {"directory", AT_FDCWD, "dir", 0},
    {"directory/", AT_FDCWD, "dir/", AT_SYMLINK_NOFOLLOW},
    {"fifo", AT_FDCWD, "fifo", 0},
    {"none", AT_FDCWD, "none", 0},
    {"empty", AT_FDCWD, "", 0},
    {"working directory", AT_FDCWD, "", AT_EMPTY_PATH},
    {"descriptor", 50, "", AT_EMPTY_PATH},
    {"descriptor, NULL", 50, NULL, AT_EMPTY_PATH},
    {"O_PATH descriptor", 51, "", AT_EMPTY_PATH},
    {"O_PATH of a link", 52, "", AT_EMPTY_PATH},
    {"closed descriptor", 53, "", AT_EMPTY_PATH},
    {"not a directory", 50, "file", 0},
    {"unknown flag", AT_FDCWD, "file", 0x10000000},
    {"eaccess flag", AT_FDCWD, "file", 0x200},
    {"bad pointer", 50, (char *)8, 0},
};

static void xattrs(int i) {
    int dir = ways[i].dir, flags = ways[i].flags;
    const char *path = ways[i].path;
    char buf[200] = "", name[100];
    struct xattr_args set = {(uintptr_t) "value", 5, 0}, get = {(uintptr_t)buf, sizeof buf, 0};
#define FACT(what, call) (snprintf(name, sizeof name, "%s of %s", what, ways[i].name), fact(name, call))
    FACT("setxattrat", syscall(SETXATTRAT, dir, path, flags, "user.a", &set, sizeof set));
    set.flags = 1; /* XATTR_CREATE */
    FACT("setxattrat, create", syscall(SETXATTRAT, dir, path, flags, "user.a", &set, sizeof set));
    set.flags = 8;
    FACT("setxattrat, wrong flag", syscall(SETXATTRAT, dir, path, flags, "user.a", &set, sizeof set));
    FACT("setxattrat, short", syscall(SETXATTRAT, dir, path, flags, "user.a", &set, sizeof set - 1));
    FACT("setxattrat, long", syscall(SETXATTRAT, dir, path, flags, "user.a", &set, 5000));
    FACT("setxattrat, no name", syscall(SETXATTRAT, dir, path, flags, "", &set, sizeof set));
    long n = FACT("getxattrat", syscall(GETXATTRAT, dir, path, flags, "user.a", &get, sizeof get));
    printf("value %.*s\n", n < 0 ? 0 : (int)n, buf);
    get.size = 2;
    FACT("getxattrat, no room", syscall(GETXATTRAT, dir, path, flags, "user.a", &get, sizeof get));
    get.flags = 1;
    FACT("getxattrat with flags", syscall(GETXATTRAT, dir, path, flags, "user.a", &get, sizeof get));
    /* Linux 6.18 takes the working directory for these two only by ".". */
    if (dir == AT_FDCWD && !*path && flags == AT_EMPTY_PATH) return;
    n = FACT("listxattrat", syscall(LISTXATTRAT, dir, path, flags, buf, sizeof buf));
    printf("first %s\n", n > 0 ? buf : "");
    FACT("removexattrat", syscall(REMOVEXATTRAT, dir, path, flags, "user.a"));
    FACT("removexattrat again", syscall(REMOVEXATTRAT, dir, path, flags, "user.a"));
}

static void file_attributes(int i) {
    int dir = ways[i].dir, flags = ways[i].flags;
    const char *path = ways[i].path;
    char name[100];
    struct { struct file_attr attr; uint64_t more; } a;
    memset(&a, 0xaa, sizeof a);
    long r = FACT("file_getattr", syscall(FILE_GETATTR, dir, path, &a, sizeof a.attr, flags));
    if (r == 0) printf("xflags %llx project %u\n", (long long)a.attr.xflags & NODUMP, a.attr.projid);
    FACT("file_getattr, longer", syscall(FILE_GETATTR, dir, path, &a, sizeof a, flags));
    printf("beyond %llx\n", (long long)a.more);
    FACT("file_getattr, short", syscall(FILE_GETATTR, dir, path, &a, sizeof a.attr - 1, flags));
    FACT("file_getattr, long", syscall(FILE_GETATTR, dir, path, &a, 5000, flags));
    FACT("file_getattr, nowhere", syscall(FILE_GETATTR, dir, path, 8, sizeof a.attr, flags));
    if (r < 0) memset(&a, 0, sizeof a);
    a.attr.xflags ^= NODUMP;
    FACT("file_setattr", syscall(FILE_SETATTR, dir, path, &a, sizeof a.attr, flags));
    memset(&a, 0, sizeof a);
    if (syscall(FILE_GETATTR, dir, path, &a, sizeof a.attr, flags) == 0) printf("then %llx\n", (long long)a.attr.xflags & NODUMP);
    a.attr.xflags ^= NODUMP;
    FACT("file_setattr, longer", syscall(FILE_SETATTR, dir, path, &a, sizeof a, flags));
    a.more = 1;
    FACT("file_setattr, unknown field", syscall(FILE_SETATTR, dir, path, &a, sizeof a, flags));
    FACT("file_setattr, short", syscall(FILE_SETATTR, dir, path, &a, 8, flags));
    FACT("file_setattr, from nowhere", syscall(FILE_SETATTR, dir, path, 8, sizeof a.attr, flags));
}

int main(void) {
    struct statfs fs;
    struct stat st;
    char name[100];
    put("file", "x", 0644);
    mkdir("dir", 0755);
    mkfifo("fifo", 0644);
    symlink("file", "link");
    symlink("none", "dangling");
    dup2(open("file", O_RDWR), 50);
    dup2(open("file", O_PATH), 51);
    dup2(open("link", O_PATH | O_NOFOLLOW), 52);
    int attributes = syscall(FILE_GETATTR, AT_FDCWD, "file", &fs, sizeof(struct file_attr), 0) == 0 || errno != ENOSYS;
    int xattrat = syscall(LISTXATTRAT, AT_FDCWD, "file", 0, NULL, 0) >= 0 || errno != ENOSYS;
    int chmods = syscall(FCHMODAT2, AT_FDCWD, "file", 0644, 0) == 0 || errno != ENOSYS;
    /* An older kernel lacks some; then sbox has nothing to answer with. */
    for (int i = 0; i < (int)(sizeof ways / sizeof *ways); i++) {
        if (xattrat) xattrs(i);
        if (attributes) file_attributes(i);
        if (!chmods) continue;
        FACT("fchmodat2", syscall(FCHMODAT2, ways[i].dir, ways[i].path, 0700 | i, ways[i].flags));
        printf("mode %o\n", lstat("file", &st) ? 0 : st.st_mode);
    }
    for (int i = 0; i < 9; i++) {
        memset(&fs, 0, sizeof fs);
        FACT("statfs", statfs(ways[i].path, &fs));
        printf("type %lx block %ld %ld names %ld flags %lx\n", (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_frsize, (long)fs.f_namelen, (long)fs.f_flags);
    }
    fact("statfs of /proc/self/fd", statfs("/proc/self/fd/50", &fs));
    fact("statfs to nowhere", syscall(SYS_statfs, "file", 8));
    return finish();
}
