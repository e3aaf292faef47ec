/*
 * burn MS: a forked child spends MS milliseconds of CPU time. If the harness does not find them in the
 * resource usage of the program it started, that program hides CPU time and only its wall time counts.
 */
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	double ms = argc > 1 ? strtod(argv[1], NULL) : 0;
	volatile unsigned long spin = 0;
	int status = -1;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		while (cpu_ms() < ms)
			for (int i = 0; i < 200000; i++)
				spin++;
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("child");
	puts("burnt");
	return 0;
}
