/* doors: does what the words of the command line say, one by one.
 *
 *   FAMILY         makes a socket: "FAMILY ERROR"
 *   file:PATH      says what is in a file
 *   names:PATH     says what is in a directory */
#include "check.h"
#include <dirent.h>
#include <sys/socket.h>

static void file(const char *path) {
    char text[64];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (n > 0) printf("%.*s\n", (int)n, text);
    else printf("%s\n", errname(n ? errno : 0));
}

static void names(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) printf("%s\n", e->d_name);
    if (!dir) printf("%s\n", errname(errno));
}

int main(int argc, char **argv) {
    static const struct { const char *name; long family; int type; } all[] = {
        {"unix", AF_UNIX, SOCK_STREAM},
        {"datagram", AF_UNIX, SOCK_DGRAM},
        {"inet", AF_INET, SOCK_STREAM},
        {"inet6", AF_INET6, SOCK_DGRAM},
        {"raw", AF_INET, SOCK_RAW},
        {"high", AF_INET | 1L << 32, SOCK_STREAM | SOCK_CLOEXEC},
        {"netlink", AF_NETLINK, SOCK_RAW},
        {"packet", AF_PACKET, SOCK_RAW},
    };
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "file:", 5)) file(argv[i] + 5);
        if (!strncmp(argv[i], "names:", 6)) names(argv[i] + 6);
        fflush(stdout);
        for (unsigned n = 0; n < sizeof all / sizeof *all; n++)
            if (!strcmp(all[n].name, argv[i])) {
                long fd = syscall(SYS_socket, all[n].family, all[n].type, 0);
                printf("%s %s\n", argv[i], errname(fd < 0 ? errno : 0));
                fflush(stdout);
                if (fd >= 0) close(fd);
            }
    }
    return 0;
}
