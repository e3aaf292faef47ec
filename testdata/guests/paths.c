/* paths: the error of every path call, and which error wins when several apply.
 *
 * Runs in an empty writable directory (a host directory, bound read-write). Every line is a fact that must be the
 * same natively and in sbox. */
#include "check.h"
#include <dirent.h>
#include <sys/statfs.h>

static char long255[300], long256[300], path4095[5000], path4096[5000];

static void scene(void) {
    umask(022);
    put("file", "0123456789", 0644);
    mkdir("dir", 0755);
    mkdir("dir/sub", 0755);
    put("dir/inner", "inner", 0644);
    mkdir("empty", 0755);
    symlink("file", "tofile");
    symlink("dir", "todir");
    symlink("absent", "dangling");
    symlink("loop", "loop");
    symlink("../../../../../../../../../../usr/bin", "far"); /* a directory: nothing below can harm it */
    symlink("file/", "toslash");
    symlink("", "impossible");
    memset(long255, 'a', 255);
    memset(long256, 'a', 256);
    /* "./././…/file", 4095 bytes with its end, and one more */
    for (int i = 0; i < 4096; i++) path4095[i] = i % 2 ? '/' : '.';
    strcpy(path4095 + 4094 - 4, "file");
    for (int i = 0; i < 4096; i++) path4096[i] = i % 2 ? '/' : '.';
    strcpy(path4096 + 4096 - 4, "file");
}

/* The same questions about each of these names. */
static const char *const names[] = {
    "file", "dir", "empty", "absent", "tofile", "todir", "dangling", "loop", "far", "toslash", "impossible", "", ".", "..", "/",
    "file/", "dir/", "absent/", "tofile/", "todir/", "dangling/", "loop/", "file/.", "file/..", "file/x", "absent/x", "absent/..",
    "dir/.", "dir/..", "dir/../file", "todir/..", "todir/inner", "todir/../file", "tofile/x", "loop/x", "dangling/x",
    "dir//inner", "dir/./inner", "dir/sub/../inner", ".//.//file", "/./../file", "//etc///passwd", "/etc/passwd/", "/proc/self/cwd/file",
    "\xff\xfe", "dir/\n", "...", "file\t", " "};

static char label[600];
static const char *lab(const char *call, const char *name) {
    char shown[64];
    int n = 0;
    for (const char *c = name; *c && n < 50; c++) shown[n++] = *c > 31 && *c < 127 ? *c : '?';
    shown[n] = 0;
    snprintf(label, sizeof label, "%s \"%s\"%s", call, shown, strlen(name) > 50 ? "…" : "");
    return label;
}

static void one_name(const char *n) {
    /* Names that lead out of this directory are only looked at: the native run may be root's. */
    int outside = n[0] == '/' || !strcmp(n, "far");
    struct stat st;
    char buf[PATH_MAX];
    if (stat(n, &st) == 0) printf("%s: type %o\n", lab("stat", n), st.st_mode >> 12);
    else fact(lab("stat", n), -1);
    if (lstat(n, &st) == 0) printf("%s: type %o\n", lab("lstat", n), st.st_mode >> 12);
    else fact(lab("lstat", n), -1);
    fact_fd(lab("open", n), open(n, O_RDONLY));
    if (!outside) fact_fd(lab("open O_WRONLY", n), open(n, O_WRONLY));
    fact_fd(lab("open O_DIRECTORY", n), open(n, O_RDONLY | O_DIRECTORY));
    fact_fd(lab("open O_NOFOLLOW", n), open(n, O_RDONLY | O_NOFOLLOW));
    fact_fd(lab("open O_NOFOLLOW O_DIRECTORY", n), open(n, O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
    if (!outside && !strstr(n, "absent")) fact_fd(lab("open O_CREAT O_EXCL", n), open(n, O_RDWR | O_CREAT | O_EXCL, 0600));
    fact(lab("access", n), access(n, F_OK));
    fact(lab("faccessat2 nofollow", n), syscall(SYS_faccessat2, AT_FDCWD, n, R_OK, AT_SYMLINK_NOFOLLOW));
    ssize_t r = readlink(n, buf, sizeof buf);
    fact(lab("readlink", n), strstr(n, "proc") ? 0 : r);
    if (!strcmp(n, "\xff\xfe") || !strcmp(n, "dir/\n") || !strcmp(n, "...") || !strcmp(n, "file\t") || !strcmp(n, " ")) unlink(n);
    struct statfs sf;
    fact(lab("statfs", n), statfs(n, &sf));
    if (outside) return;
    fact(lab("mkdir", n), mkdir(n, 0755));
    if (!strcmp(n, "absent") || !strcmp(n, "absent/")) rmdir("absent");
    fact(lab("rmdir", n), rmdir(n));
    if (strstr(n, "empty")) mkdir("empty", 0755);
    fact(lab("truncate", n), truncate(n, 10));
    fact(lab("rename onto itself", n), rename(n, n));
    fact(lab("rename of absent to", n), rename("nothing-here", n));
    fact(lab("link to", n), link("file", n));
    if (strstr(n, "absent")) unlink("absent");
    fact(lab("symlink at", n), symlink("x", n));
    if (strstr(n, "absent")) unlink("absent");
    fact(lab("mkfifo", n), mkfifo(n, 0600));
    if (strstr(n, "absent")) unlink("absent");
    if (strpbrk(n, "\n\t\xff") || !strcmp(n, " ") || !strcmp(n, "...")) { unlink(n); rmdir(n); }
    fact(lab("unlink of a directory or worse", n),
         strchr(n, '/') || !strcmp(n, "dir") || !strcmp(n, ".") || !strcmp(n, "..") || !*n ? unlink(!strcmp(n, "dir/inner") ? "" : n) : 0);
    put("dir/inner", "inner", 0644);
    put("file", "0123456789", 0644);
}

static void lengths(void) {
    struct stat st;
    fact("component of 255 bytes", stat(long255, &st));
    fact("component of 256 bytes", stat(long256, &st));
    fact("component of 256 bytes, create", open(long256, O_CREAT | O_RDWR, 0600));
    fact("component of 255 bytes, mkdir", mkdir(long255, 0755));
    fact("and rmdir", rmdir(long255));
    char mixed[600];
    snprintf(mixed, sizeof mixed, "absent/%s", long256);
    fact("absent before too long", stat(mixed, &st));
    snprintf(mixed, sizeof mixed, "file/%s", long256);
    fact("not a directory before too long", stat(mixed, &st));
    fact("path of 4094 bytes", stat(path4095, &st));
    memmove(path4095 + 1, path4095, 4095);
    path4095[0] = '.', path4095[1] = '/', path4095[2] = '/';
    printf("strlen %zu\n", strlen(path4095));
    fact("path of 4095 bytes", stat(path4095, &st));
    printf("strlen %zu\n", strlen(path4096));
    fact("path of 4096 bytes", stat(path4096, &st));
    fact_fd("open, 4096 bytes", open(path4096, O_RDONLY));
    fact("mkdir, 4096 bytes", mkdir(path4096, 0755));
    fact("symlink text of 4095 bytes", symlink(path4095, "longlink"));
    fact("stat through it", stat("longlink", &st));
    char buf[5000];
    fact("readlink of it", readlink("longlink", buf, sizeof buf));
    fact("symlink text of 4096 bytes", symlink(path4096, "longlink2"));
    fact("empty symlink text", symlink("", "emptylink"));
    /* links whose texts together exceed one path, and deep directories beyond PATH_MAX */
    int here = open(".", O_RDONLY | O_DIRECTORY), depth = 0;
    for (; depth < 40; depth++)
        if (mkdir(long255, 0755) < 0 || chdir(long255) < 0) break;
    printf("depth reached by chdir: %d\n", depth);
    fact("getcwd beyond PATH_MAX", getcwd(buf, PATH_MAX) ? 0 : -1);
    fact_fd("open relative to it", open("new", O_CREAT | O_RDWR, 0600));
    fact("stat ..", stat("..", &st));
    unlink("new");
    for (int i = 0; i < depth; i++)
        if (chdir("..") < 0 || rmdir(long255) < 0) { fact("way back", -1); break; }
    fact("fchdir back", fchdir(here));
    close(here);
}

static void pointers(void) {
    struct stat st;
    char *bad = (char *)8, buf[10];
    fact("stat, bad path", stat(bad, &st));
    fact("stat, bad buffer", stat("file", (struct stat *)8));
    fact("stat, absent and bad buffer", stat("absent", (struct stat *)8));
    fact("open, bad path", open(bad, O_RDONLY));
    fact("open, NULL", open(NULL, O_RDONLY));
    fact("readlink, bad buffer", syscall(SYS_readlink, "tofile", bad, 10));
    fact("readlink, size 0", syscall(SYS_readlink, "tofile", buf, 0));
    fact("readlink, size -1", syscall(SYS_readlink, "tofile", buf, -1));
    fact("readlink, size 2", syscall(SYS_readlink, "tofile", buf, 2));
    printf("readlink text: %.2s\n", buf);
    fact("readlink of a file, size 0", syscall(SYS_readlink, "file", buf, 0));
    fact("getcwd, bad buffer", syscall(SYS_getcwd, bad, 4096));
    fact("getcwd, size 0", syscall(SYS_getcwd, buf, 0));
    fact("getcwd, size 2", syscall(SYS_getcwd, buf, 2));
    fact("getcwd, NULL and 0", syscall(SYS_getcwd, NULL, 0));
    fact("rename, bad second", rename("absent", bad));
    fact("symlink, bad text", symlink(bad, "x"));
    fact("mkdir, bad", mkdir(bad, 0755));
    fact("execve, bad", syscall(SYS_execve, bad, NULL, NULL));
    fact("utimensat, bad times", utimensat(AT_FDCWD, "file", (struct timespec *)8, 0));
    fact("statfs, bad buffer", syscall(SYS_statfs, "file", bad));
}

static void descriptors(void) {
    struct stat st;
    int dir = open("dir", O_RDONLY | O_DIRECTORY), file = open("file", O_RDONLY);
    fact("fstatat dirfd", fstatat(dir, "inner", &st, 0));
    fact("fstatat ..", fstatat(dir, "../file", &st, 0));
    fact("fstatat of a file descriptor", fstatat(file, "inner", &st, 0));
    fact("fstatat of a closed descriptor", fstatat(999, "inner", &st, 0));
    fact("fstatat of a closed descriptor, absolute", fstatat(999, "/etc/passwd", &st, 0));
    fact("fstatat empty", fstatat(dir, "", &st, 0));
    fact("fstatat empty, closed", fstatat(999, "", &st, 0));
    fact("AT_EMPTY_PATH dir", fstatat(dir, "", &st, AT_EMPTY_PATH));
    fact("AT_EMPTY_PATH file", fstatat(file, "", &st, AT_EMPTY_PATH));
    fact("AT_EMPTY_PATH closed", fstatat(999, "", &st, AT_EMPTY_PATH));
    fact("AT_EMPTY_PATH cwd", fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH));
    fact("AT_EMPTY_PATH NULL", syscall(SYS_newfstatat, dir, NULL, &st, AT_EMPTY_PATH));
    char buf[64];
    fact("readlinkat empty path of a file", readlinkat(file, "", buf, sizeof buf));
    fact("unknown flag", fstatat(dir, "inner", &st, 0x40000));
    fact("fchmodat2 unknown flag", syscall(452, dir, "inner", 0644, 0x40000));
    fact("openat .", openat(dir, ".", O_RDONLY) >= 0);
    fact("openat ..", openat(dir, "..", O_RDONLY) >= 0);
    fact("unlinkat flag 0 on a directory", unlinkat(dir, "sub", 0));
    fact("unlinkat AT_REMOVEDIR on a file", unlinkat(dir, "inner", AT_REMOVEDIR));
    fact("unlinkat unknown flag", unlinkat(dir, "inner", 0x4000));
    fact("faccessat2 empty", syscall(SYS_faccessat2, file, "", R_OK, AT_EMPTY_PATH));
    fact("faccessat2 AT_EACCESS", syscall(SYS_faccessat2, dir, "inner", R_OK, AT_EACCESS));
    fact("faccessat2 bad mode", syscall(SYS_faccessat2, dir, "inner", 077, 0));
    fact("faccessat2 bad flag", syscall(SYS_faccessat2, dir, "inner", R_OK, 0x4));
    fact("rename the directory", rename("dir", "moved"));
    fact("its descriptor still works", fstatat(dir, "inner", &st, 0));
    fact("the old name is gone", stat("dir", &st));
    fact("back", rename("moved", "dir"));
    fact("fchdir", fchdir(dir));
    char *cwd = getcwd(NULL, 0), *slash = cwd ? strrchr(cwd, '/') : NULL;
    printf("getcwd: %s\n", slash ? slash : errname(errno));
    free(cwd);
    fact("up", chdir(".."));
    fact("fchdir to a file", fchdir(file));
    fact("fchdir to nothing", fchdir(999));
    fact("chdir to a file", chdir("file"));
    fact("chdir to nothing", chdir("absent"));
    fact("chdir to a loop", chdir("loop"));
    fact("read of a directory", read(dir, buf, 1));
    fact("write to O_RDONLY", write(file, "x", 1));
    close(dir), close(file);
}

static void vanished(void) {
    struct stat st;
    char buf[PATH_MAX];
    mkdir("gone", 0755);
    int fd = open("gone", O_RDONLY | O_DIRECTORY);
    int back = open(".", O_RDONLY | O_DIRECTORY);
    chdir("gone");
    rmdir("../gone");
    fact("getcwd in a removed directory", getcwd(buf, sizeof buf) ? 0 : -1);
    fact("stat .", stat(".", &st));
    fact("stat ..", stat("..", &st));
    fact("create in it", open("x", O_CREAT | O_RDWR, 0600));
    fact("mkdir in it", mkdir("x", 0755));
    fact("chdir .", chdir("."));
    fact("lookup in it", stat("x", &st));
    fact("fchdir to it", fchdir(fd));
    fact("openat in it", openat(fd, "x", O_CREAT | O_RDWR, 0600));
    fact("fstat of it", fstat(fd, &st));
    printf("its link count: %d\n", (int)st.st_nlink);
    DIR *d = fdopendir(fd);
    int n = 0;
    while (d && readdir(d)) n++;
    printf("entries: %d\n", n);
    if (d) closedir(d);
    fact("home again", fchdir(back));
    close(back);
}

static void chains(void) {
    struct stat st;
    char name[32], to[32];
    put("c0", "end", 0644);
    for (int i = 1; i <= 42; i++) {
        snprintf(name, sizeof name, "c%d", i);
        snprintf(to, sizeof to, "c%d", i - 1);
        symlink(to, name);
    }
    fact("chain of 40 links", stat("c40", &st));
    fact("chain of 41 links", stat("c41", &st));
    fact("lstat at the end of a long chain", lstat("c42", &st));
    /* 41 links in one path count as well as 41 in a row */
    symlink(".", "d");
    char many[200] = "";
    for (int i = 0; i < 40; i++) strcat(many, "d/");
    strcat(many, "c0");
    fact("40 links in one path", stat(many, &st));
    strcpy(many, "");
    for (int i = 0; i < 41; i++) strcat(many, "d/");
    strcat(many, "c0");
    fact("41 links in one path", stat(many, &st));
}

int main(void) {
    syscall(SYS_close_range, 3, ~0U, 0);
    scene();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) one_name(names[i]);
    lengths();
    pointers();
    descriptors();
    vanished();
    chains();
    return finish();
}
