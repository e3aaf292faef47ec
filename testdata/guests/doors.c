/* doors: makes sockets, one by one: "FAMILY ERROR" for each word of the command line. */
#include "check.h"
#include <sys/socket.h>

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
    for (int i = 1; i < argc; i++)
        for (unsigned n = 0; n < sizeof all / sizeof *all; n++)
            if (!strcmp(all[n].name, argv[i])) {
                long fd = syscall(SYS_socket, all[n].family, all[n].type, 0);
                printf("%s %s\n", argv[i], errname(fd < 0 ? errno : 0));
                fflush(stdout);
                if (fd >= 0) close(fd);
            }
    return 0;
}
