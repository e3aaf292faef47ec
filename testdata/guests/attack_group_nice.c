/* attack_group_nice: renices the process group, in which sbox and its caller are. Must fail. */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(){printf("setpriority %d\n",setpriority(PRIO_PGRP,0,15));printf("ioprio %ld\n",syscall(SYS_ioprio_set,2,0,3<<13));sleep(1);return 0;}
