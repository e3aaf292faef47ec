/* opath: descriptors that name a file without opening it (O_PATH).
 *
 * Runs in an empty writable directory; every line is a fact that must be the same natively and in sbox. */
#include "check.h"
#include <sys/xattr.h>

int main(void) {
    struct stat st;
    char buf[64], self[64];
    syscall(SYS_close_range, 3, ~0U, 0);
    put("file", "0123456789", 0644);
    put("secret", "no permission", 0000);
    mkdir("dir", 0755);
    put("dir/inner", "inner", 0644);
    symlink("file", "tofile");
    symlink("absent", "dangling");
    mkfifo("fifo", 0600);
    int file = open("file", O_PATH), dir = open("dir", O_PATH | O_DIRECTORY), link = open("tofile", O_PATH | O_NOFOLLOW);
    fact("file", file >= 0), fact("directory", dir >= 0), fact("link itself", link >= 0);
    fact_fd("dangling link itself", open("dangling", O_PATH | O_NOFOLLOW));
    fact_fd("dangling link", open("dangling", O_PATH));
    fact_fd("file without permission", open("secret", O_PATH));
    fact_fd("fifo, at once", open("fifo", O_PATH));
    fact_fd("file as directory", open("file", O_PATH | O_DIRECTORY));
    fact_fd("O_CREAT is ignored", open("new", O_PATH | O_CREAT, 0600));
    fact("F_GETFL", (fcntl(file, F_GETFL) & O_PATH) != 0);
    fact("read", read(file, buf, 1));
    fact("write", write(file, "x", 1));
    fact("fchmod", fchmod(file, 0600));
    fact("fchown", fchown(file, getuid(), -1));
    fact("fgetxattr", fgetxattr(file, "user.x", buf, sizeof buf));
    fact("ftruncate", ftruncate(file, 0));
    fact("lseek", lseek(file, 0, SEEK_SET));
    fact("fstat", fstat(file, &st));
    fact("size", st.st_size);
    fact("getdents64", syscall(SYS_getdents64, dir, buf, sizeof buf));
    fact("fstatat from the directory", fstatat(dir, "inner", &st, 0));
    fact_fd("openat from the directory", openat(dir, "inner", O_RDONLY));
    fact("fstatat from the file", fstatat(file, "inner", &st, 0));
    fact("fstatat, empty path, link", fstatat(link, "", &st, AT_EMPTY_PATH));
    printf("it is the link: %d\n", S_ISLNK(st.st_mode));
    fact("readlinkat, empty path", readlinkat(link, "", buf, sizeof buf));
    fact("fchownat, empty path", fchownat(file, "", getuid(), -1, AT_EMPTY_PATH));
    snprintf(self, sizeof self, "/proc/self/fd/%d", file);
    fact_fd("opened for reading by /proc/self/fd", open(self, O_RDONLY));
    fact_fd("opened for writing by /proc/self/fd", open(self, O_RDWR));
    fact("chmod by /proc/self/fd", chmod(self, 0640));
    fact("fchdir", fchdir(dir));
    char *cwd = getcwd(NULL, 0), *slash = cwd ? strrchr(cwd, '/') : NULL;
    printf("getcwd: %s\n", slash ? slash : errname(errno));
    fact("back", chdir(".."));
    fact("dup", (close(dup(file)), 0));
    rename("dir", "moved");
    fact("fstatat after a rename", fstatat(dir, "inner", &st, 0));
    unlink("file");
    fact("fstat after unlink", fstat(file, &st));
    fact("links", st.st_nlink);
    return finish();
}
