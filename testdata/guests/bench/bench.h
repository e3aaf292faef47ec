/* Shared by the benchmark guests: the clock, the report line, and how to give up. */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The one line the harness reads. `check` is what the loop saw, so that a loop that did nothing is noticed. */
static inline void report(double ns, long calls, long long check)
{
	printf("ns_per_call=%.3f calls=%ld check=%lld\n", ns / (double)calls, calls, check);
}

static inline _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "wrong result");
	exit(1);
}

static inline long loop_count(const char *text)
{
	long n = strtol(text, NULL, 10);

	if (n < 1) {
		fprintf(stderr, "bad loop count: %s\n", text);
		exit(2);
	}
	return n;
}

#endif
