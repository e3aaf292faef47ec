/* attack_deep_readonly: changes a file of a read-only bind whose path is longer than PATH_MAX, by its descriptor.
 *
 *   attack_deep_readonly DIR NAME LEVELS    the file is f, LEVELS directories called NAME below DIR; every call but the
 *                                           first open must fail */
#include "check.h"
#include <sys/xattr.h>

static void refused(const char *name, long r) {
    ok(r < 0 && (errno == EROFS || errno == EPERM || errno == EACCES), "%s is refused", name);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int there = !chdir(argv[1]);
    for (int i = atoi(argv[3]); i > 0 && there; i--) there = !chdir(argv[2]);
    int fd = open("f", O_RDONLY);
    if (!ok(there && fd >= 0, "the file can be read")) return finish();
    char again[40];
    sprintf(again, "/proc/self/fd/%d", fd);
    refused("open", open("f", O_RDWR));
    refused("fchmod", fchmod(fd, 0666));
    refused("futimens", futimens(fd, NULL));
    refused("fsetxattr", fsetxattr(fd, "user.x", "y", 1, 0));
    int writable = open(again, O_RDWR);
    refused("open by descriptor", writable);
    if (writable >= 0) write(writable, "PWN", 3);
    refused("truncate by descriptor", truncate(again, 0));
    refused("chmod by descriptor", chmod(again, 0666));
    return finish();
}
