/* attack_list_hidden: lists a directory that holds a hidden name and was never walked into.
 *
 *   attack_list_hidden DIR      must not print the hidden name */
#include "check.h"

/* A record of getdents64(2): its length and its name. */
enum { LENGTH = 16, NAME = 19 };

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    char records[4096];
    int fd = open(argv[1], O_RDONLY | O_DIRECTORY);
    long n = syscall(SYS_getdents64, fd, records, sizeof records);
    unsigned short length;
    for (long at = 0; at < n; at += length) {
        memcpy(&length, records + at + LENGTH, sizeof length);
        puts(records + at + NAME);
    }
    return 0;
}
