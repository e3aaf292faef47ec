/*
 * plain_supervisor [-1] NUMBERS PROGRAM [ARG...]: what catching a program's calls costs when nothing is decided.
 *
 * It has the mechanisms of sbox and no others: a filter with a listener, which sends the calls of NUMBERS (ascending,
 * with commas) and no others to a thread that receives them; a tracer that is told of every fork, exec and death, and kills
 * its guests when it dies. stat and open of absolute paths are carried out with the fewest steps that there are, all other calls are
 * let through. It protects nothing. Whatever a supervisor costs on top of this is its own doing; what this costs is the
 * mechanisms'.
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

/* The path that a guest means, if it is absolute. */
static int absolute(pid_t pid, __u64 at, char path[256])
{
	struct iovec here = { path, 255 }, there = { (void *)at, 255 };
	ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);

	if (n <= 0)
		return 0;
	path[n] = 0;
	return path[0] == '/' && memchr(path, 0, (size_t)n);
}

/* True if the guest has got a descriptor as its answer. */
static int opened(const struct seccomp_notif *call)
{
	char path[256];
	struct seccomp_notif_addfd add = { .id = call->id, .flags = SECCOMP_ADDFD_FLAG_SEND };
	int done;

	if ((int)call->data.args[0] != AT_FDCWD || !absolute((pid_t)call->pid, call->data.args[1], path))
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

/* True if the guest has what it asked for in its memory. */
static int looked(const struct seccomp_notif *call)
{
	char path[256];
	struct stat st;
	struct iovec here = { &st, sizeof(st) }, there = { (void *)call->data.args[2], sizeof(st) };

	return (int)call->data.args[0] == AT_FDCWD && absolute((pid_t)call->pid, call->data.args[1], path) &&
	       fstatat(AT_FDCWD, path, &st, (int)call->data.args[3]) == 0 &&
	       process_vm_writev((pid_t)call->pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof(st);
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
		answer.id = call.id;
		if (call.data.nr != SYS_newfstatat || !looked(&call))
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
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

/* Lets guests go on until none is left. The status of the first. */
static int trace(pid_t first)
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
	pid_t pid;

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
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child(go[0], say[1], argv + 2);
	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)options) != 0)
		die("PTRACE_SEIZE");
	if (write(go[1], "g", 1) != 1 || read(say[0], &number, sizeof(number)) != sizeof(number))
		die("the guest's filter");
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (listener < 0 || ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) != 0)
		die("the listener");
	if (pthread_create(&thread, NULL, serve, NULL) != 0)
		die("pthread_create");
	if (write(go[1], "g", 1) != 1)
		die("start");
	exit(trace(pid));
}
