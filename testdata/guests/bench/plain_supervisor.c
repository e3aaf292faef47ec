/*
 * plain_supervisor [-1] NUMBERS PROGRAM [ARG...]: what catching a program's calls costs when nothing is decided.
 *
 * It has the mechanisms of sbox and no others: a filter with a listener, which sends the calls of NUMBERS (ascending,
 * with commas) and no others to a thread that receives them; a tracer that is told of every fork, exec and death, and kills
 * its guests when it dies. The calls that programs make most (stat, open, access and readlink of paths, stat and listings of
 * descriptors) are carried out with the fewest steps that there are, all others are let through. It protects nothing. Whatever a
 * supervisor costs on top of this is its own doing; what this costs is the mechanisms'.
 *
 * -1: everything on one CPU, for programs that do one thing at a time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

/* Headers older than the kernel lack these. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

#define MOST 512

static struct sock_filter code[4 * MOST];
static unsigned length;

static void emit(struct sock_filter one)
{
	if (length == sizeof(code) / sizeof(code[0]))
		die("too many numbers");
	code[length++] = one;
}

/* A search tree over the sorted numbers: the kernel tries the filter for each number when it is installed. */
static void search(const unsigned *numbers, unsigned n)
{
	if (n <= 4) {
		for (unsigned i = 0; i < n; i++) {
			emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], 0, 1));
			emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
		}
		emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
		return;
	}
	unsigned half = n / 2, jump = length + 1;

	emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, numbers[half], 0, 1));
	emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0));
	search(numbers, half);
	code[jump].k = length - jump - 1;
	search(numbers + half, n - half);
}

static void make_filter(char *list)
{
	unsigned numbers[MOST], n = 0;

	for (char *word = strtok(list, ","); word && n < MOST; word = strtok(NULL, ","))
		numbers[n++] = (unsigned)strtoul(word, NULL, 10);
	emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1));
	emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
	search(numbers, n);
}

static int listener;

/* The first guest. We go where it goes, so that its directory is ours, until another goes somewhere. */
static pid_t first;
static int moved;

/* The path that a guest means, if it means the same to us. */
static int get_path(const struct seccomp_notif *call, __u64 at, char path[256])
{
	struct iovec here = { path, 255 }, there = { (void *)at, 255 };
	ssize_t n = process_vm_readv((pid_t)call->pid, &here, 1, &there, 1, 0);

	if (n <= 0)
		return 0;
	path[n] = 0;
	return memchr(path, 0, (size_t)n) && (path[0] == '/' || !moved);
}

static int put(const struct seccomp_notif *call, __u64 at, void *from, size_t length)
{
	struct iovec here = { from, length }, there = { (void *)at, length };

	return process_vm_writev((pid_t)call->pid, &here, 1, &there, 1, 0) == (ssize_t)length;
}

/* Our duplicate of a guest's descriptor; -1 for those of threads, which have no pidfd of their own. */
static int get_fd(const struct seccomp_notif *call)
{
	static struct { __u32 pid; int pidfd; } known[64];
	unsigned slot = call->pid % 64;
	int fd;

	if (known[slot].pid == call->pid) {
		fd = (int)syscall(SYS_pidfd_getfd, known[slot].pidfd, (int)call->data.args[0], 0);
		if (fd >= 0)
			return fd;
	}
	if (known[slot].pid)
		close(known[slot].pidfd);
	known[slot].pid = 0;
	fd = (int)syscall(SYS_pidfd_open, call->pid, 0);
	if (fd < 0)
		return -1;
	known[slot].pid = call->pid;
	known[slot].pidfd = fd;
	return (int)syscall(SYS_pidfd_getfd, fd, (int)call->data.args[0], 0);
}

/* True if the guest has got a descriptor as its answer. */
static int opened(const struct seccomp_notif *call)
{
	char path[256];
	struct seccomp_notif_addfd add = { .id = call->id, .flags = SECCOMP_ADDFD_FLAG_SEND };
	int done;

	if ((int)call->data.args[0] != AT_FDCWD || !get_path(call, call->data.args[1], path))
		return 0;
	int fd = open(path, (int)call->data.args[2] | O_CLOEXEC, (mode_t)call->data.args[3]);

	if (fd < 0)
		return 0;
	add.srcfd = (__u32)fd;
	add.newfd_flags = (__u32)call->data.args[2] & O_CLOEXEC;
	done = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0;
	close(fd);
	return done;
}

/* What the others answer if the call has to be let through. */
#define PASS (-4096L)

static long looked(const struct seccomp_notif *call)
{
	char path[256];
	struct stat st;
	int fd = (int)call->data.args[0], flags = (int)call->data.args[3], result;

	if (!get_path(call, call->data.args[1], path))
		return PASS;
	if (flags & AT_EMPTY_PATH && !path[0]) {
		fd = get_fd(call);
		if (fd < 0)
			return PASS;
		result = fstat(fd, &st);
		close(fd);
	} else if (fd == AT_FDCWD) {
		result = fstatat(fd, path, &st, flags);
	} else {
		return PASS;
	}
	if (result != 0)
		return -errno;
	return put(call, call->data.args[2], &st, sizeof(st)) ? 0 : PASS;
}

static long listed(const struct seccomp_notif *call)
{
	static char entries[32768];
	size_t room = call->data.args[2] < sizeof(entries) ? call->data.args[2] : sizeof(entries);
	int fd = get_fd(call);
	long n;

	if (fd < 0)
		return PASS;
	n = syscall(SYS_getdents64, fd, entries, room);
	if (n < 0)
		n = -errno;
	close(fd);
	return n <= 0 || put(call, call->data.args[1], entries, (size_t)n) ? n : PASS;
}

static long read_link(const struct seccomp_notif *call)
{
	char path[256], text[256];
	size_t room = call->data.args[2] < sizeof(text) ? call->data.args[2] : sizeof(text);
	long n;

	/* What /proc tells us would be about us. */
	if (!get_path(call, call->data.args[0], path) || strncmp(path, "/proc", 5) == 0)
		return PASS;
	n = readlink(path, text, room);
	if (n < 0)
		return -errno;
	return put(call, call->data.args[1], text, (size_t)n) ? n : PASS;
}

static long accessed(const struct seccomp_notif *call)
{
	char path[256];

	if (!get_path(call, call->data.args[0], path))
		return PASS;
	return access(path, (int)call->data.args[1]) == 0 ? 0 : -errno;
}

static void go_along(const struct seccomp_notif *call)
{
	char path[256];

	if ((pid_t)call->pid != first || !get_path(call, call->data.args[0], path) || chdir(path) != 0)
		moved = 1;
}

static long carried_out(const struct seccomp_notif *call)
{
	switch (call->data.nr) {
	case SYS_newfstatat:
		return looked(call);
	case SYS_getdents64:
		return listed(call);
	case SYS_readlink:
		return read_link(call);
	case SYS_access:
		return accessed(call);
	case SYS_chdir:
		go_along(call);
		break;
	case SYS_fchdir:
		moved = 1;
	}
	return PASS;
}

static void *serve(void *unused)
{
	struct seccomp_notif call;

	for (;;) {
		struct seccomp_notif_resp answer = { 0 };

		memset(&call, 0, sizeof(call));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
			/* ENOENT: a guest is gone, or all are, and then the process ends. */
			if (errno == EINTR || errno == ENOENT)
				continue;
			die("RECV");
		}
		if (call.data.nr == SYS_openat && opened(&call))
			continue;
		long result = carried_out(&call);

		answer.id = call.id;
		if (result == PASS)
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		else if (result < 0)
			answer.error = (int)result;
		else
			answer.val = result;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) != 0 && errno != ENOENT)
			die("SEND");
	}
	return unused;
}

static _Noreturn void child(int go, int say, char **argv)
{
	struct sock_fprog prog = { (unsigned short)length, code };
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	char byte;
	int fd;

	if (read(go, &byte, 1) != 1 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		die("start");
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (fd < 0 || write(say, &fd, sizeof(fd)) != sizeof(fd) || read(go, &byte, 1) != 1)
		die("seccomp");
	close(fd);
	execvp(argv[0], argv);
	die(argv[0]);
}

static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	if (sched_setaffinity(0, sizeof(here), &here) != 0)
		die("sched_setaffinity");
}

/* Lets guests go on until none is left. The status of the first one. */
static int trace(void)
{
	int status, result = 1;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status)) {
			int event = status >> 16, signal = event ? 0 : WSTOPSIG(status);

			/* ESRCH: it was killed. */
			ptrace(PTRACE_CONT, pid, NULL, (void *)(long)signal);
		} else if (pid == first) {
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
	}
	return result;
}

int main(int argc, char **argv)
{
	long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
		       PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP;
	int go[2], say[2], number, pidfd;
	pthread_t thread;

	if (argc > 1 && strcmp(argv[1], "-1") == 0) {
		stay_here();
		argc--, argv++;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: plain_supervisor [-1] NUMBERS PROGRAM [ARG...]\n");
		return 2;
	}
	make_filter(argv[1]);
	if (pipe2(go, O_CLOEXEC) != 0 || pipe2(say, O_CLOEXEC) != 0)
		die("pipe2");
	first = fork();
	if (first < 0)
		die("fork");
	if (first == 0)
		child(go[0], say[1], argv + 2);
	if (ptrace(PTRACE_SEIZE, first, NULL, (void *)options) != 0)
		die("PTRACE_SEIZE");
	if (write(go[1], "g", 1) != 1 || read(say[0], &number, sizeof(number)) != sizeof(number))
		die("the guest's filter");
	pidfd = (int)syscall(SYS_pidfd_open, first, 0);
	listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (listener < 0 || ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) != 0)
		die("the listener");
	if (pthread_create(&thread, NULL, serve, NULL) != 0)
		die("pthread_create");
	if (write(go[1], "g", 1) != 1)
		die("start");
	exit(trace());
}
