/*
 * notify_floor COUNT: the bare round trip of a seccomp user notification, with nothing else in it.
 * The child calls getppid in a loop; the parent receives each call and answers 0, which the real call never
 * gives here. What any supervisor adds to this is its own doing.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

static int install_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	int fd;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		die("no_new_privs");
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (fd < 0)
		die("seccomp");
	return fd;
}

union fd_message {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_fd(int sock, int fd)
{
	union fd_message control = { 0 };
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1,
			      .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != 1)
		die("sendmsg");
}

static int receive_fd(int sock)
{
	union fd_message control = { 0 };
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1,
			      .msg_control = &control, .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void child(int sock, long n)
{
	int fd = install_filter();
	struct timing timing = { 0 };

	send_fd(sock, fd);
	close(fd);
	/* One call outside the clock: the parent is then known to be listening. */
	if (syscall(SYS_getppid) != 0)
		die("first answer");
	for (int part = 0; part < PARTS && part_of(n, part) > 0; part++) {
		double start = now_ns();

		for (long i = 0; i < part_of(n, part); i++)
			if (syscall(SYS_getppid) != 0)
				die("answer");
		add_part(&timing, now_ns() - start, part_of(n, part));
	}
	report(&timing, n);
}

static void answer(int fd)
{
	struct seccomp_notif request;
	struct seccomp_notif_resp response = { 0 };

	memset(&request, 0, sizeof(request)); /* the kernel insists on zeroes */
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &request) != 0)
		die("RECV");
	response.id = request.id;
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response) != 0)
		die("SEND");
}

int main(int argc, char **argv)
{
	int socks[2], fd, status = -1;
	pid_t pid;

	if (argc != 2) {
		fprintf(stderr, "usage: notify_floor COUNT\n");
		return 2;
	}
	long n = loop_count(argv[1]);

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks) != 0)
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		child(socks[1], n);
		exit(0);
	}
	close(socks[1]);
	fd = receive_fd(socks[0]);
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) != 0)
		die("SET_FLAGS");
	for (long i = 0; i < n + 1; i++)
		answer(fd);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("child");
	return 0;
}
