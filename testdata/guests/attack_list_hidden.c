/* attack_list_hidden: lists a directory that holds a hidden name and was never walked into.
 *
 *   attack_list_hidden DIR      must not print the hidden name */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int c,char**v){int fd=open(v[1],O_RDONLY|O_DIRECTORY);char b[4096];long n=syscall(SYS_getdents64,fd,b,4096);for(long o=0;o<n;){unsigned short l=*(unsigned short*)(b+o+16);puts(b+o+19);o+=l;}return 0;}
